"""The plan of an ablation (as Table 2 of arXiv 2506.09556): members without one thing at a time.

Its run is derived from the base run: its members are all of row × member × seed; corpus, features
and parts are the base run's. `runs.train.train` trains it as any run.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from medusa_jax.config.ensemble import EnsembleConfig
from medusa_jax.config.section import merged
from medusa_jax.config.training import MemberConfig
from medusa_jax.config.yaml_file import explained
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import ConfigError
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.run import Run
from medusa_jax.studies.ablation_changes import Change, known_rows
from medusa_jax.studies.derived_run import check_own_run, derived, opened_beside, replicate

T = TypeVar("T")


@dataclass(frozen=True)
class Trial:
    """A member of the derived run, with its row, the member it changes, and its seed (from 1)."""

    row: str
    member: str
    seed: int
    config: MemberConfig


@dataclass(frozen=True)
class Ablation:
    """The `rows` by name, the unchanged one first, and the `trials` in the order of the table.

    `notes` name what was left out.
    """

    base: Prepared
    rows: Mapping[str, Change]
    seeds: int
    trials: tuple[Trial, ...]
    notes: tuple[str, ...]

    @property
    def unchanged(self) -> str:
        """The row of the members as the run has them."""
        return next(iter(self.rows))

    @property
    def run(self) -> Run:
        """The run that trains all trials, beside the base run."""
        members = [trial.config for trial in self.trials]
        about = "the members of `medusa ablate`"
        return derived(self.base.run, "ablation", about, members, ensemble=EnsembleConfig())


def planned(
    base: Prepared,
    seeds: int = 3,
    members: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
) -> Ablation:
    """The ablation of these members and rows (None: all), each trained with so many seeds.

    A row that changes nothing of a member on this corpus is left out for it, with a note. Raises
    `ConfigError` for an unknown row or member, a change that makes no valid member, a run that
    trains for a study, or if nothing is left to compare.
    """
    check_own_run(base)
    config, known = base.run.config, known_rows(base.run.config)
    every = {member.id: member for member in config.members}
    chosen = _named(members, every, "member", "--members")
    unchanged = next(iter(known))
    wanted = _named([unchanged, *rows] if rows else None, known, "row", "--rows")
    trials, notes, kept = list[Trial](), list[str](), dict[str, Change]()
    for name, change in wanted.items():
        changed = dict(chosen)
        if name != unchanged:
            changed = {one: changed_member(chosen[one], name, change) for one in chosen}
            idle = _idle(base, chosen, changed)
            notes += _left_out(name, idle, changed)
            changed = {one: member for one, member in changed.items() if one not in idle}
        for one, member in changed.items():
            trials += _trials(name, one, member, seeds)
            kept[name] = change
    if len(kept) == 1:
        raise ConfigError(
            "no row changes anything of any member, so there is nothing to compare",
            where="--rows",
            hint="choose other rows or members, or change the members (--set model.fusion=deep)",
        )
    return Ablation(base, kept, seeds, tuple(trials), tuple(notes))


def changed_member(member: MemberConfig, name: str, change: Change) -> MemberConfig:
    """The member after the change of row `name`.

    Raises `ConfigError` if it is not valid or has no epoch to train.
    """
    where = f"row {name}, member {member.id}"
    try:
        changed = MemberConfig.model_validate(_merged(member, change.settings))
    except ValidationError as error:
        raise ConfigError(
            explained(error), where=where, hint="correct ablation.rows in the configuration"
        ) from error
    if not changed.training.stage1.epochs + changed.training.stage2.epochs:
        raise ConfigError(
            "this row leaves no epoch to train",
            where=where,
            hint="give Stage 1 epochs, or leave the row out (--rows)",
        )
    return changed


def _merged(member: MemberConfig, change: Mapping[str, Any]) -> dict[str, Any]:
    """The member's keys after a change; a teacher loses the modalities that the member loses."""
    found = merged(member.model_dump(), change)
    own, changed = found.get("conversation"), change.get("conversation", {})
    if own and "modalities" in change and "teacher" not in changed:
        own["teacher"] = [name for name in own["teacher"] if name in change["modalities"]]
    return found


@contextmanager
def opened_ablation(ablation: Ablation, *, features: bool = True) -> Iterator[Prepared]:
    """The derived run, its folder locked, on the base run's table of utterances."""
    with opened_beside(ablation.base, ablation.run, features=features) as prepared:
        yield prepared


def _named(
    wanted: Sequence[str] | None, known: Mapping[str, T], what: str, option: str
) -> dict[str, T]:
    """The wanted entries of `known`, in its order; None: all."""
    for name in wanted or ():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? There are: " if near else "choose among: "
            raise ConfigError(
                f"there is no {what} {name!r}", where=option, hint=hint + ", ".join(known)
            )
    return {name: one for name, one in known.items() if wanted is None or name in wanted}


def _trials(row: str, member: str, config: MemberConfig, seeds: int) -> list[Trial]:
    """The member of a row with each seed."""
    return [
        Trial(row, member, seed, replicate(config, seed, f"{row}.{member}.s{seed}"))
        for seed in range(1, seeds + 1)
    ]


def _left_out(row: str, idle: Sequence[str], changed: Mapping[str, MemberConfig]) -> list[str]:
    """A note on the members that a row leaves out, if any."""
    which = "any member" if len(idle) == len(changed) else ", ".join(idle)
    return [f"{row} changes nothing of {which} here, and is left out for it."] if idle else []


def _idle(
    base: Prepared, members: Mapping[str, MemberConfig], changed: Mapping[str, MemberConfig]
) -> list[str]:
    """The members that learn the same before and after the change on this corpus."""
    fit = np.unique(np.concatenate([parts.fit for parts in base.folds]))
    data = _same_targets(base.corpus, fit), bool(np.isfinite(base.corpus.attributes[fit]).any())
    pairs = {one: (member, changed[one]) for one, member in members.items()}
    return [
        one
        for one, (before, after) in pairs.items()
        if _effective(before, *data) == _effective(after, *data)
    ]


def _same_targets(corpus: Corpus, fit: np.ndarray) -> bool:
    """True if every soft label to learn from is one-hot at the consensus already."""
    soft, labels = np.nan_to_num(corpus.soft[fit]), corpus.labels[fit]
    return np.array_equal(soft, np.eye(soft.shape[1])[labels] * (labels >= 0)[:, None])


def _effective(member: MemberConfig, same_targets: bool, rated: bool) -> dict[str, Any]:
    """The settings that have an effect: equal for two members that learn the same from one seed."""
    own = {"deepser": "model"}.get(member.task, member.task)
    unused = {"model", "finetuning", "conversation"} - {own}
    settings = member.model_dump(exclude={"id", "seed", *unused})
    training = settings["training"]
    if same_targets:
        training["targets"] = "soft"
    if not rated:
        training["attribute_loss"] = 0
    if not training["mixup_probability"]:
        training["mixup_alpha"] = 0
    if not training["stage2"]["epochs"]:
        training["stage2"] = training["no_consensus"] = None
    return _effective_dialogues(settings) if member.task == "conversation" else settings


def _effective_dialogues(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a member on conversations that have an effect."""
    own, training = settings["conversation"], settings["training"]
    unused = {"mixup_probability", "mixup_alpha", "class_loss", "no_consensus"}
    settings["training"] = {key: value for key, value in training.items() if key not in unused}
    own["teacher"] = own["teacher"] or settings["modalities"][:1]
    streams = [own["teacher"], settings["modalities"]]
    idle = {"test_scores"}
    if training["stage2"] is None:  # the teacher is the result
        settings["modalities"] = own["teacher"]
        streams = streams[:1]
        idle |= {"distillation", "feature_loss", "temperature", *_CORRECTION}
    if max(map(len, streams)) == 1:
        idle |= {"fusion", *_CORRECTION}
    idle |= {"alpha"} if own["routing"] != "dynamic" else set()
    idle |= {"top_k"} if own["routing"] != "top_k" else set()
    idle |= {"smoothing"} if not own["smoothed_loss"] else set()
    settings["conversation"] = {key: value for key, value in own.items() if key not in idle}
    return settings


_CORRECTION = ("correction", "correction_beyond", "corrected")
