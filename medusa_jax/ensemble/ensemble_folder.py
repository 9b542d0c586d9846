"""A trained ensemble on disk, whole: all that another program must know to combine its members.

ensemble/
    ensemble.json                  classes, members, inputs, settings, scores, version, digests
    meta_classifier.safetensors    weights of the meta-classifiers and of their soup
    checkpoints/meta-00000000      the same for plain orbax
    SYSTEM.parquet                 predictions of all utterances

A weighted vote is whole in its record: it has neither the second file nor the third.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from medusa_jax.config.ensemble import WEIGHTED
from medusa_jax.ensemble import meta
from medusa_jax.ensemble.meta import MetaClassifiers, Params
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.variants import ENSEMBLES, MAJORITY, SINGLE, SOFT
from medusa_jax.ensemble.votes import majority_vote, soft_vote
from medusa_jax.ensemble.weighted import weighted_vote
from medusa_jax.errors import CheckpointError
from medusa_jax.files import digest_of, disk_errors, sha256_of, write_text
from medusa_jax.training.tensors import save_tensors
from medusa_jax.version import VERSION

RECORD, WEIGHTS = "ensemble.json", "meta_classifier.safetensors"
_AGAIN = "remove the ensemble folder and run `medusa ensemble` again"


@dataclass(frozen=True, kw_only=True)
class EnsembleRecord:
    """The contents of `ensemble.json` but for its digests.

    `inputs` to `epochs` are of meta-classifiers, `targets` to `cross_entropy` of a weighted vote.
    """

    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    members: tuple[str, ...]  # ids in the order of the weights and the meta-classifier's features
    member_digests: tuple[str | None, ...]  # of their weights
    kind: str = "meta_classifier"
    vote_weights: tuple[float, ...]  # of the members in the vote; they sum to 1
    fit_on: str
    inputs: tuple[str, ...] = ()  # of the meta-classifier: posteriors, attributes
    select: str = ""
    seeds: tuple[int, ...] = ()
    selection_scores: tuple[float | None, ...] = ()  # held-out Macro-F1, maximised if `best`
    epochs: tuple[int, ...] = ()
    targets: str = ""
    # Of the part that the weights were fitted on: with even weights, and with the fitted ones.
    macro_f1: tuple[float, ...] = ()
    cross_entropy: tuple[float, ...] = ()
    configuration: str  # digest of the run's configuration

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems that it can combine its members to."""
        return (MAJORITY, SOFT, WEIGHTED) if self.kind == "weighted" else ENSEMBLES

    @property
    def summary(self) -> str:
        """The weights of a weighted vote and their scores, in a sentence."""
        pairs = zip(self.members, self.vote_weights, strict=True)
        weights = ", ".join(f"{name} {weight:.3f}" for name, weight in pairs)
        (even_f1, own_f1), (even_loss, own_loss) = self.macro_f1, self.cross_entropy
        return (
            f"Weights of the members: {weights}. On the part that they were fitted on they change "
            f"Macro-F1 from {even_f1:.3f} (even weights) to {own_f1:.3f}, and cross-entropy from "
            f"{even_loss:.3f} to {own_loss:.3f}."
        )


@dataclass(frozen=True)
class Ensemble:
    """Votes and a learned system over named members, ready to combine their predictions.

    A weighted vote has no `meta_classifiers`.
    """

    record: EnsembleRecord
    meta_classifiers: MetaClassifiers | None

    def combine(self, system: str, members: Mapping[str, Predictions]) -> Predictions:
        """Predictions of one of the record's `systems` from those of its members, by id.

        Raises `CheckpointError` for a missing member, other classes, or an unknown system.
        """
        ordered = [self._of(name, members) for name in self.record.members]
        if system not in self.record.systems:
            known = ", ".join(self.record.systems)
            raise CheckpointError(f"this ensemble has no {system!r}", hint=f"choose one of {known}")
        if system == MAJORITY:
            return majority_vote(ordered)
        if system == SOFT:
            return soft_vote(ordered)
        found = self.meta_classifiers
        if found is None:
            return weighted_vote(ordered, np.array(self.record.vote_weights))
        return meta.predict(found.single() if system == SINGLE else found.soup(), ordered)

    def _of(self, name: str, members: Mapping[str, Predictions]) -> Predictions:
        if name not in members:
            raise CheckpointError(f"the ensemble needs the predictions of member {name}")
        _refuse_other("classes", members[name].classes, self.record.classes, f"member {name}")
        return members[name]


def save_ensemble(folder: Path, ensemble: Ensemble) -> None:
    """Write the checkpoint, the weights, and then the record that makes them count.

    Raises `CheckpointError` if the disk is full or the folder cannot be written.
    """
    record, found = ensemble.record, ensemble.meta_classifiers
    content = {**asdict(record), "library": f"medusa-jax {VERSION}"}
    with disk_errors(CheckpointError, "the ensemble", folder, "nothing was replaced"):
        if found is not None:
            content["weights"] = _save_weights(folder, record, found)
        sealed = {**content, "sha256": digest_of(content)}
        write_text(folder / RECORD, json.dumps(sealed, indent=1) + "\n")


def _save_weights(folder: Path, record: EnsembleRecord, found: MetaClassifiers) -> str:
    """Write the checkpoint and the weights; return the SHA-256 of the weights."""
    found.save(folder / "checkpoints", record.configuration)
    about = {"classes": record.classes, "members": record.members}
    save_tensors(folder / WEIGHTS, _named(found.params, found.soup()), about)
    return sha256_of(folder / WEIGHTS)


def load_ensemble(
    folder: Path, *, classes: Sequence[str] | None = None, members: Sequence[str] | None = None
) -> Ensemble:
    """Read an ensemble of `save_ensemble`; expected `classes` and `members` are compared, if given.

    Raises `CheckpointError` if a file is missing or damaged, if classes or members differ (in
    name, number or order), or if the weights have other shapes than these ask for.
    """
    record, sha256 = _read_record(folder / RECORD)
    _refuse_other("classes", record.classes, classes, str(folder / RECORD))
    _refuse_other("members", record.members, members, str(folder / RECORD))
    if record.kind == "weighted":
        _check_weights(record, folder / RECORD)
        return Ensemble(record, None)
    arrays = _read_weights(folder / WEIGHTS, sha256)
    scores = tuple(float("nan") if one is None else one for one in record.selection_scores)
    params: Params = {name: arrays[f"seeds/{name}"] for name in ("w", "b")}
    found = MetaClassifiers(params, scores, record.epochs)
    _check_shapes(record, found, folder / WEIGHTS)
    return Ensemble(record, found)


def _named(seeds: Params, soup: Params) -> dict[str, np.ndarray]:
    """Arrays of the safetensors file by name."""
    groups = {"seeds": seeds, "soup": soup}
    return {
        f"{group}/{name}": np.ascontiguousarray(leaf)
        for group, params in groups.items()
        for name, leaf in params.items()
    }


def _read_record(path: Path) -> tuple[EnsembleRecord, str]:
    """The record, and the SHA-256 of the meta-classifier's weights, empty without one."""
    if not path.exists():
        raise CheckpointError("no ensemble found", where=path, hint="run `medusa ensemble`")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("sha256") != digest_of(content):
            raise ValueError("its content does not match its own digest")
        fields = EnsembleRecord.__dataclass_fields__
        values = {key: content[key] for key in fields if key in content}
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        record = EnsembleRecord(**{**values, **lists})
        return record, "" if record.kind == "weighted" else content["weights"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"the ensemble's record is damaged: {error}", where=path, hint=_AGAIN
        ) from error


def _read_weights(path: Path, sha256: str) -> dict[str, np.ndarray]:
    try:
        if sha256_of(path) != sha256:
            raise ValueError(f"the digest of {path.name} is not the one in {RECORD}")
        arrays: dict[str, np.ndarray] = load_file(path)
        return arrays
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"the meta-classifier's weights are missing or damaged: {error}",
            where=path,
            hint=_AGAIN,
        ) from error


def _refuse_other(
    what: str, found: Sequence[str], expected: Sequence[str] | None, where: str
) -> None:
    if expected is not None and tuple(found) != tuple(expected):
        raise CheckpointError(
            f"{what} differ: {', '.join(found)}, not {', '.join(expected)}", where=where
        )


def _check_weights(record: EnsembleRecord, path: Path) -> None:
    """Raise `CheckpointError` unless each member has a weight, none below 0 and 1 in all."""
    weights_m = np.asarray(record.vote_weights, np.float64)
    whole = np.isclose(weights_m.sum(), 1) and (weights_m >= 0).all()
    if len(weights_m) != len(record.members) or not whole:
        raise CheckpointError(
            f"the weights {', '.join(map(str, record.vote_weights))} are not of "
            f"{len(record.members)} member(s), none below 0 and 1 in all",
            where=path,
            hint=_AGAIN,
        )


def _check_shapes(record: EnsembleRecord, found: MetaClassifiers, path: Path) -> None:
    """Raise `CheckpointError` unless every seed has weights for the record's members and inputs."""
    if len(found.params["w"]) != len(record.seeds) or len(found.params["b"]) != len(record.seeds):
        raise CheckpointError(f"the weights are not of {len(record.seeds)} seed(s)", where=path)
    reads = meta.reads_attributes(found.single(), len(record.members), len(record.classes))
    if reads != ("attributes" in record.inputs):
        raise CheckpointError(
            f"the weights have another width than inputs {', '.join(record.inputs)}", where=path
        )
