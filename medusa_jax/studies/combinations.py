"""The plan of the study of ensembles (Table 3 of arXiv 2506.09556), and its combinations.

With one seed the run's own members are combined. With several, a derived run beside it trains every
member with each seed, as any run; the k-th seed's members are combined among themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from medusa_jax.config.training import MemberConfig
from medusa_jax.corpus.groups import groups_of
from medusa_jax.corpus.splits import inner_folds
from medusa_jax.ensemble.variants import OUT_OF_FOLD, Combined, Pool, combined
from medusa_jax.errors import ConfigError
from medusa_jax.runs.combine import targets_of, taught_outputs
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.run import Run
from medusa_jax.studies.derived_run import check_own_run, derived, replicate
from medusa_jax.studies.ranking import Ranking, ranked

TOPS = (5, 7)
"""The paper's sets of best members."""
FOLDS = 3
"""Speaker-disjoint folds that choose the regularisation of stacking, given enough speakers."""


@dataclass(frozen=True)
class EnsembleStudy:
    """All members of `base`, and the `tops` best ones, each trained with `seeds` seeds."""

    base: Prepared
    seeds: int
    tops: tuple[int, ...]

    @property
    def run(self) -> Run:
        """The run whose members are combined: with several seeds the derived one."""
        if self.seeds == 1:
            return self.base.run
        members = [one for each in self.members.values() for one in each]
        about = "the members of `medusa ensemble --study`"
        return derived(self.base.run, "seeds", about, members)

    @property
    def members(self) -> dict[str, tuple[MemberConfig, ...]]:
        """By id in the base run: the member with each seed, as in `run`."""
        configs = self.base.run.config.members
        if self.seeds == 1:
            return {one.id: (one,) for one in configs}
        return {
            one.id: tuple(replicate(one, k, f"{one.id}.s{k}") for k in range(1, self.seeds + 1))
            for one in configs
        }


def planned(base: Prepared, seeds: int = 1, tops: Sequence[int] = TOPS) -> EnsembleStudy:
    """The study of all members and of the sets of `tops` best that are smaller.

    Raises `ConfigError` for a single member, a set of fewer than two, or a run that trains for a
    study.
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
    sets = sorted({k for k in tops if k < len(members)}, reverse=True)
    return EnsembleStudy(base, seeds, tuple(sets))


def combined_all(
    study: EnsembleStudy, prepared: Prepared, ranking: Ranking
) -> list[list[Combined]]:
    """Every variant by seed and fold; `prepared` is the study's trained run.

    Raises `EvaluationError` if a member is not trained or lacks out-of-fold predictions that the
    run learns from.
    """
    config = study.base.run.config

    def of_fold(k: int, fold: int) -> Combined:
        pool = _pool(study, prepared, k, fold, ranking)
        return combined(pool, study.tops, config.ensemble, config.training, config.seed + k)

    folds = range(len(prepared.folds))
    return [[of_fold(k, fold) for fold in folds] for k in range(study.seeds)]


def ranking_of(study: EnsembleStudy, prepared: Prepared) -> Ranking:
    """The study's members, best first."""
    members = [[one.id for one in seeds] for seeds in study.members.values()]
    return ranked(prepared, members)


def _pool(study: EnsembleStudy, prepared: Prepared, k: int, fold: int, ranking: Ranking) -> Pool:
    """The members of seed number `k` (from 0) in one fold."""
    run, corpus, parts = prepared.run, prepared.corpus, prepared.folds[fold]
    ids = [seeds[k].id for seeds in study.members.values()]
    members = {name: run.predictions(corpus, fold, name) for name in ids}
    taught = None
    if run.config.ensemble.fit_on == OUT_OF_FOLD:
        taught = tuple(taught_outputs(prepared, fold, members))
    return Pool(
        tuple(members.values()),
        taught,
        ranking.places,
        targets_of(corpus),
        parts.fit,
        parts.held_out,
        partial(_folds_of, prepared),
    )


def _folds_of(prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    """Folds of whole speakers or dialogues at these positions: three, or two for two of them."""
    speakers = prepared.run.config.corpus.speakers
    groups = groups_of(prepared.corpus.frame.iloc[rows], speakers).nunique()
    return inner_folds(prepared.corpus, rows, min(FOLDS, max(groups, 2)), speakers)
