"""The ablation (the paper's Table 2): every member once more without one thing at a time, all in one run, and what that costs.

The run of an ablation is derived from the base run: its members are all of row × member × seed, and everything else
(corpus, features, parts) is the base run's. `runs.train.train` trains it as it trains any run.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from medusa_jax.config.run import RunConfig
from medusa_jax.config.section import merged
from medusa_jax.config.training import MemberConfig
from medusa_jax.config.yaml_file import explained
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import ConfigError
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.run import Run
from medusa_jax.studies.derived_run import check_own_run, opened_beside
from medusa_jax.studies.replicates import replicate

BASE = "deepser"
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One row of the table: what it changes of a member, in words and as configuration; the paper's mean Macro-F1 and change in percent."""

    about: str
    change: Mapping[str, Any]
    paper: tuple[float, float | None] | None = None


ROWS: Mapping[str, Row] = MappingProxyType(
    {
        BASE: Row("the members as the run has them", {}, (0.421, None)),
        "one_hot": Row(
            "the consensus class in place of the soft labels",
            {"training": {"targets": "one_hot"}},
            (0.389, -8.23),
        ),
        "late_fusion": Row("no fusion encoders", {"model": {"fusion": "late"}}, (0.396, -6.31)),
        "no_mixup": Row(
            "no Manifold MixUp", {"training": {"mixup_probability": 0}}, (0.409, -2.93)
        ),
        "no_multitask": Row(
            "no attribute loss", {"training": {"attribute_loss": 0}}, (0.412, -2.18)
        ),
        "no_stage2": Row(
            "no balanced second stage", {"training": {"stage2": {"epochs": 0}}}, (0.416, -1.20)
        ),
    }
)


@dataclass(frozen=True)
class Trial:
    """A member of the derived run: which row, member and seed (from 1) it is."""

    row: str
    member: str
    seed: int
    config: MemberConfig


@dataclass(frozen=True)
class Ablation:
    """What is compared: `rows` by name, the unchanged one first; `trials` in the order of the table; `notes` on what was left out."""

    base: Prepared
    rows: Mapping[str, Row]
    seeds: int
    trials: tuple[Trial, ...]
    notes: tuple[str, ...]

    @property
    def run(self) -> Run:
        """The run that trains all trials, beside the base run."""
        config = self.base.run.config
        own = {
            "name": f"{config.name}-ablation",
            "about": "what `medusa ablate` trains",
            "study_of": self.base.run.folder.name,
            "submission": None,
        }
        neutral = {
            name: RunConfig.model_fields[name].default for name in ("ensemble", "ablation")
        }  # no number of a member depends on them
        members = tuple(trial.config for trial in self.trials)
        return Run(
            config.model_copy(update={**own, **neutral, "members": members}), self.base.run.out
        )


def planned(
    base: Prepared,
    seeds: int = 3,
    members: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
) -> Ablation:
    """The ablation of these members and rows (none: all), each trained with so many seeds.

    A row that does nothing to a member on this corpus is left out for it, with a note. Raises `ConfigError` for an unknown
    row or member, a change that makes no valid member, a run that is a study's own, or if nothing is left to compare.
    """
    config = base.run.config
    check_own_run(base)
    known = known_rows(config)
    chosen = _named(
        members, {member.id: member for member in config.members}, "member", "--members"
    )
    wanted = _named(
        [BASE, *(name for name in rows if name != BASE)] if rows else None, known, "row", "--rows"
    )
    fit = np.unique(np.concatenate([parts.fit for parts in base.folds]))
    data = _same_targets(base.corpus, fit), bool(np.isfinite(base.corpus.attributes[fit]).any())
    notes: list[str] = []
    trials = [
        Trial(BASE, one.id, seed, replicate(one, seed, f"{BASE}.{one.id}.s{seed}"))
        for one in chosen.values()
        for seed in range(1, seeds + 1)
    ]
    kept = {BASE: known[BASE]}
    for name, row in wanted.items():
        changed = (
            {one.id: changed_member(one, name, row) for one in chosen.values()}
            if name != BASE
            else {}
        )
        idle = [
            one
            for one in changed
            if _effective(changed[one], *data) == _effective(chosen[one], *data)
        ]
        if idle:
            notes.append(
                f"{name} changes nothing of {'any member' if len(idle) == len(changed) else ', '.join(idle)} here, and is left out for it."
            )
        for one in (one for one in changed if one not in idle):
            trials += [
                Trial(name, one, seed, replicate(changed[one], seed, f"{name}.{one}.s{seed}"))
                for seed in range(1, seeds + 1)
            ]
            kept[name] = row
    if len(kept) == 1:
        hint = "choose other rows or members, or change what the members have of it (--set model.fusion=deep)"
        raise ConfigError(
            "no row changes anything of any member, so there is nothing to compare",
            where="--rows",
            hint=hint,
        )
    return Ablation(base, kept, seeds, tuple(trials), tuple(notes))


def known_rows(config: RunConfig) -> dict[str, Row]:
    """The rows above and those of the configuration. Raises `ConfigError` if one of these takes the name of one of those."""
    own = {
        name: Row(change.about, change.model_dump(exclude={"about"}))
        for name, change in config.ablation.rows.items()
    }
    if twice := sorted(own.keys() & ROWS.keys()):
        raise ConfigError(
            f"there is a row {twice[0]!r} already",
            where=f"ablation.rows.{twice[0]}",
            hint="give it another name",
        )
    return {**ROWS, **own}


def changed_member(member: MemberConfig, name: str, row: Row) -> MemberConfig:
    """The member as the row wants it. Raises `ConfigError` if that is no valid member or leaves no epoch to train."""
    where = f"row {name}, member {member.id}"
    try:
        changed = MemberConfig.model_validate(merged(member.model_dump(), row.change))
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


@contextmanager
def opened_ablation(ablation: Ablation, *, features: bool = True) -> Iterator[Prepared]:
    """The derived run, its folder held by this process, on the very table of utterances that the base run has."""
    with opened_beside(ablation.base, ablation.run, features=features) as prepared:
        yield prepared


def _named(
    wanted: Sequence[str] | None, known: Mapping[str, T], what: str, option: str
) -> dict[str, T]:
    """Those of `known` that are wanted, in the order in which they are known."""
    for name in wanted or ():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? There are: " if near else "choose among: "
            raise ConfigError(
                f"there is no {what} {name!r}", where=option, hint=hint + ", ".join(known)
            )
    return {name: one for name, one in known.items() if wanted is None or name in wanted}


def _same_targets(corpus: Corpus, fit: np.ndarray) -> bool:
    """Whether every soft label to learn from is a single class, the consensus: then one-hot targets are no change."""
    soft, labels = np.nan_to_num(corpus.soft[fit]), corpus.labels[fit]
    return np.array_equal(soft, np.eye(soft.shape[1])[labels] * (labels >= 0)[:, None])


def _effective(member: MemberConfig, same_targets: bool, rated: bool) -> dict[str, Any]:
    """What of a member's configuration has any effect: equal for two that learn the same from the same seed."""
    told = member.model_dump(exclude={"id", "seed"})
    training = told["training"]
    if same_targets:
        training["targets"] = "soft"
    if not rated:
        training["attribute_loss"] = 0
    if not training["mixup_probability"]:
        training["mixup_alpha"] = 0
    if not training["stage2"]["epochs"]:
        training["stage2"] = training["no_consensus"] = None
    return told
