"""Trained meta-classifiers: one a seed (Stage 3), their soups (Stage 4), and their predictions.

Legend: `n` utterance, `m` member, `f` feature, `c` class, `s` seed, `o` output.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from medusa_jax.ensemble.predictions import Predictions, stacked
from medusa_jax.errors import CheckpointError
from medusa_jax.models import meta_classifier
from medusa_jax.training import checkpoint

Params = meta_classifier.Params


@dataclass(frozen=True)
class Targets:
    """Labels of all utterances that the members predicted."""

    soft: np.ndarray  # [n, c], zero rows without a class target
    attributes: np.ndarray  # [n, 3]
    rated: np.ndarray  # [n, 3]
    labels: np.ndarray  # [n], −1 without consensus

    def learned(self, kind: str) -> np.ndarray:
        """The class targets `[n, c]` of `training.targets`: `soft`, or `one_hot` of the labels."""
        if kind == "soft":
            return self.soft
        one_hot_nc = np.zeros_like(self.soft)
        rows = np.flatnonzero(self.labels >= 0)
        one_hot_nc[rows, self.labels[rows]] = 1
        return one_hot_nc


@dataclass(frozen=True)
class MetaClassifiers:
    """One set of weights a seed, `w [s, f, o]` and `b [s, o]`, of the epoch that was kept.

    `scores` are selection scores: Macro-F1 of the held-out part at those epochs, NaN without one.
    """

    params: Params
    scores: tuple[float, ...]
    epochs: tuple[int, ...]

    def single(self, seed: int = 0) -> Params:
        """Stage 3: the meta-classifier of one seed."""
        return jax.tree.map(lambda leaf: leaf[seed], self.params)

    def soup(self) -> Params:
        """Stage 4: the mean of all."""
        return meta_classifier.soup(self.params)

    def save(self, folder: Path, digest: str) -> None:
        """Save an orbax checkpoint with `seeds` and `soup`."""
        tree = {"seeds": self.params, "soup": self.soup()}
        about = {"scores": self.scores, "epochs": self.epochs}
        checkpoint.save(folder, "meta", 0, tree, about, digest)

    @classmethod
    def load(cls, folder: Path) -> "MetaClassifiers":
        """Read a checkpoint of `save`. Raises `CheckpointError` if it is missing or damaged."""
        found = checkpoint.restore(folder, "meta")
        if found is None:
            raise CheckpointError(
                "no meta-classifier found", where=folder, hint="train it with `medusa ensemble`"
            )
        return cls(found[0]["seeds"], tuple(found[1]["scores"]), tuple(found[1]["epochs"]))


def inputs_of(members: Sequence[Predictions], attributes: bool) -> np.ndarray:
    """The meta-classifier's features `[n, f]`: posteriors and, if asked for, attributes."""
    logits, rated = stacked(members)
    x_nf = meta_classifier.features_of(
        jnp.asarray(logits), jnp.asarray(rated) if attributes else None
    )
    return np.asarray(x_nf)


def predict(params: Params, members: Sequence[Predictions]) -> Predictions:
    """Predictions of one meta-classifier or soup (`w [f, o]`, `b [o]`) from its members' own.

    A meta-classifier of posteriors alone has no attribute output: attributes are then the
    members' mean. Raises `CheckpointError` if its weights are for other members or classes.
    """
    first, attributes = members[0], stacked(members)[1]
    reads = reads_attributes(params, len(members), len(first.classes))
    x_nf = jnp.asarray(inputs_of(members, reads))
    logits_nc, own_na = meta_classifier.forward(params, x_nf, len(first.classes))
    attributes_na = np.asarray(own_na) if reads else attributes.mean(axis=1)
    return Predictions(first.ids, first.classes, np.asarray(logits_nc), attributes_na)


def reads_attributes(params: Params, members: int, classes: int) -> bool:
    """True for weights 11·M → 11, False for 8·M → 8 (with 8 classes).

    Raises `CheckpointError` for any other shape.
    """
    shape = np.shape(params["w"])
    if shape == (members * (classes + 3), classes + 3):
        return True
    if shape == (members * classes, classes):
        return False
    raise CheckpointError(
        f"the meta-classifier's weights are {' × '.join(map(str, shape))}, which does not fit "
        f"{members} member(s) with {classes} classes",
        hint="combine the members that it was trained with",
    )


def greedy_soup(many: Params, score: Callable[[Params], float]) -> tuple[Params, tuple[int, ...]]:
    """The greedy soup of `many` (leading axis: seeds) and its seeds (Wortsman et al. 2022).

    The best seed comes first; each next one joins unless `score` falls. `score` rates one set of
    weights on utterances that it did not learn from. Of equal scores the earlier seed goes first.
    """
    seeds = range(len(next(iter(many.values()))))
    alone = [score(_soup(many, [s])) for s in seeds]
    first, *others = sorted(seeds, key=lambda s: -alone[s])
    chosen, best = [first], alone[first]
    for s in others:
        together = score(_soup(many, [*chosen, s]))
        if together >= best:
            chosen, best = [*chosen, s], together
    return _soup(many, chosen), tuple(chosen)


def _soup(many: Params, chosen: Sequence[int]) -> Params:
    return meta_classifier.soup(jax.tree.map(lambda leaf: np.asarray(leaf)[list(chosen)], many))
