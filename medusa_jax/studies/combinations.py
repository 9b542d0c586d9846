"""The study of ensembles (the paper's Table 3): which members are combined, once for each seed that they were trained with.

With one seed the run's own members are combined. With several, a derived run beside it trains every member with each seed,
by `runs.train.train` as any run; its k-th seed's members are combined among themselves, and the scores are joined afterwards.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from medusa_jax.config.run import RunConfig
from medusa_jax.config.training import MemberConfig
from medusa_jax.corpus.splits import inner_folds
from medusa_jax.ensemble.variants import OUT_OF_FOLD, Combined, Pool, combined
from medusa_jax.errors import ConfigError, EvaluationError
from medusa_jax.runs.combine import targets_of, taught_outputs
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.run import Run
from medusa_jax.studies.derived_run import check_own_run
from medusa_jax.studies.replicates import replicate

TOPS = (5, 7)
"""The paper's sets of best members."""
FOLDS = 3
"""Speaker-disjoint folds by which stacking chooses its regularisation, where there are speakers enough."""


@dataclass(frozen=True)
class EnsembleStudy:
    """What is combined: all members of `base`, and the `tops` best ones, trained with so many `seeds`."""

    base: Prepared
    seeds: int
    tops: tuple[int, ...]

    @property
    def run(self) -> Run:
        """The run whose members are combined: the base run itself, or for several seeds the derived one."""
        config = self.base.run.config
        if self.seeds == 1:
            return self.base.run
        told = {
            "name": f"{config.name}-seeds",
            "about": "what `medusa ensemble --study` trains",
            "study_of": self.base.run.folder.name,
        }
        unused = {
            "submission": None,
            "ablation": RunConfig.model_fields["ablation"].default,
        }  # no number of a member depends on these
        members = tuple(one for each in self.members.values() for one in each)
        return Run(
            config.model_copy(update={**told, **unused, "members": members}), self.base.run.out
        )

    @property
    def members(self) -> dict[str, tuple[MemberConfig, ...]]:
        """By id in the base run: the member with each seed, as it stands in `run`."""
        configs = self.base.run.config.members
        if self.seeds == 1:
            return {one.id: (one,) for one in configs}
        return {
            one.id: tuple(replicate(one, k, f"{one.id}.s{k}") for k in range(1, self.seeds + 1))
            for one in configs
        }


def planned(base: Prepared, seeds: int = 1, tops: Sequence[int] = TOPS) -> EnsembleStudy:
    """The study of all members and of those of the `tops` best that are fewer than all.

    Raises `ConfigError` for a single member, a set of fewer than two, or a run that is a study's own.
    """
    check_own_run(base)
    members = base.run.config.members
    if len(members) < 2:
        raise ConfigError(
            "one member is no ensemble, so there is nothing to compare",
            where="members",
            hint="give the configuration more members",
        )
    if small := [k for k in tops if k < 2]:
        raise ConfigError(
            f"the {small[0]} best member(s) are no ensemble",
            where="--top",
            hint="name sets of two and more, such as --top 5,7",
        )
    return EnsembleStudy(
        base, seeds, tuple(sorted({k for k in tops if k < len(members)}, reverse=True))
    )


def combined_all(study: EnsembleStudy, prepared: Prepared) -> list[list[Combined]]:
    """Every variant by seed and fold; `prepared` is the study's trained run.

    Raises `EvaluationError` if a member is not trained, or lacks the out-of-fold outputs that the run learns from.
    """
    config, folds = study.base.run.config, range(len(prepared.folds))
    ranking = ranking_of(study, prepared)
    return [
        [
            combined(
                _pool(study, prepared, k, fold, ranking),
                study.tops,
                config.ensemble,
                config.training,
                config.seed + k,
            )
            for fold in folds
        ]
        for k in range(study.seeds)
    ]


def ranking_of(study: EnsembleStudy, prepared: Prepared) -> tuple[int, ...]:
    """Places of the members in the configuration, the best first by the mean held-out score of all seeds and folds; equal ones in their order."""
    folds = range(len(prepared.folds))
    means = [
        float(
            np.mean([_held_out_score(prepared.run, fold, one.id) for one in each for fold in folds])
        )
        for each in study.members.values()
    ]
    return tuple(sorted(range(len(means)), key=lambda m: -means[m]))


def _held_out_score(run: Run, fold: int, member: str) -> float:
    """The score that chose a member's epoch."""
    path = run.record_file(fold, member)
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["held_out_macro_f1"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "run `medusa train` with the same configuration first"
        raise EvaluationError(
            f"member {member} is not trained yet, or its record is damaged", where=path, hint=hint
        ) from error


def _pool(
    study: EnsembleStudy, prepared: Prepared, k: int, fold: int, ranking: tuple[int, ...]
) -> Pool:
    """The members of seed number `k` (from 0) in one fold."""
    run, corpus, parts = prepared.run, prepared.corpus, prepared.folds[fold]
    members = {
        each[k].id: run.predictions(corpus, fold, each[k].id) for each in study.members.values()
    }
    taught = (
        tuple(taught_outputs(prepared, fold, members))
        if run.config.ensemble.fit_on == OUT_OF_FOLD
        else None
    )
    return Pool(
        tuple(members.values()),
        taught,
        ranking,
        targets_of(corpus),
        parts.fit,
        parts.held_out,
        partial(_folds_of, prepared),
    )


def _folds_of(prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    """Speaker-disjoint folds of these positions: three, or two where there are two speakers."""
    speakers = prepared.corpus.frame["speaker"].iloc[rows]
    groups = speakers.nunique() + int(speakers.isna().sum())
    return inner_folds(prepared.corpus, rows, min(FOLDS, max(groups, 2)))
