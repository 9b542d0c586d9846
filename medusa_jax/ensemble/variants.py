"""Every way to combine members that the study of ensembles compares: the paper's Table 3, and beyond it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from medusa_jax.config.ensemble import EnsembleConfig
from medusa_jax.config.training import TrainingConfig
from medusa_jax.ensemble import meta
from medusa_jax.ensemble.greedy import greedy_soup
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.recalibration import (
    fit_weights,
    learned_prior,
    rebalanced,
    temperature_of,
    tempered,
    weighted_vote,
)
from medusa_jax.ensemble.stacking import logistic_stacking
from medusa_jax.ensemble.votes import majority_vote, soft_vote
from medusa_jax.errors import CorpusError, EvaluationError
from medusa_jax.evaluation.balanced import balanced_macro_f1
from medusa_jax.models import meta_classifier

MAJORITY, SOFT, SINGLE, SOUP = "majority_vote", "soft_vote", "meta_classifier", "soup"
ENSEMBLES = (MAJORITY, SOFT, SINGLE, SOUP)
BEST, GREEDY, WEIGHTED, STACKING = (
    "best_member",
    "greedy_soup",
    "weighted_vote",
    "logistic_regression",
)
SOFT_REBALANCED, SOUP_REBALANCED, SOFT_TEMPERED, SOUP_TEMPERED = (
    "soft_vote_rebalanced",
    "soup_rebalanced",
    "soft_vote_tempered",
    "soup_tempered",
)
SYSTEMS = (
    BEST,
    *ENSEMBLES,
    GREEDY,
    WEIGHTED,
    STACKING,
    SOFT_REBALANCED,
    SOUP_REBALANCED,
    SOFT_TEMPERED,
    SOUP_TEMPERED,
)
"""In the order of the table."""
REFITTED = frozenset({SOFT_REBALANCED, SOUP_REBALANCED, SOFT_TEMPERED, SOUP_TEMPERED})
TRAIN, OUT_OF_FOLD, HELD_OUT = "train", "out_of_fold", "held_out"
ALL = "all"


class Variant(NamedTuple):
    """A line of the table: the system, which members it combines (`all`, `top 5`, …), and from whose outputs it learned, if it did."""

    system: str
    members: str = ALL
    learned_from: str | None = None

    def __str__(self) -> str:
        return ", ".join(filter(None, self))


@dataclass(frozen=True)
class Pool:
    """Members to combine, and who of the utterances may teach what.

    `members` speak of all utterances; so does each of `out_of_fold`, where the positions `fit` are predicted by members that
    never heard the speaker (None: there are no such outputs). `ranking` are places in `members`, the best on held-out
    utterances first; `held_out` the positions that chose the members' epochs. `folds_of` deals positions into speaker-disjoint
    folds, or raises `CorpusError`.
    """

    members: tuple[Predictions, ...]
    out_of_fold: tuple[Predictions, ...] | None
    ranking: tuple[int, ...]
    targets: meta.Targets
    fit: np.ndarray
    held_out: np.ndarray
    folds_of: Callable[[np.ndarray], np.ndarray]

    def top(self, count: int) -> "Pool":
        """The `count` best members, in the order in which they stood."""
        places = sorted(self.ranking[:count])
        out_of_fold = (
            None if self.out_of_fold is None else tuple(self.out_of_fold[m] for m in places)
        )
        ranking = tuple(places.index(m) for m in self.ranking[:count])
        return replace(
            self,
            members=tuple(self.members[m] for m in places),
            out_of_fold=out_of_fold,
            ranking=ranking,
        )

    def taught(self, source: str) -> tuple[Predictions, ...]:
        """The outputs that what learns from `source` meets. Raises `EvaluationError` for out-of-fold outputs that there are not."""
        if source != OUT_OF_FOLD:
            return self.members
        if self.out_of_fold is None:
            raise EvaluationError(
                "there are no out-of-fold outputs to learn from",
                hint="train with --set ensemble.fit_on=out_of_fold",
            )
        return self.out_of_fold


@dataclass(frozen=True)
class Combined:
    """What each variant says of all utterances; `left_out` names those that could not be made, and why."""

    said: dict[Variant, Predictions]
    left_out: dict[Variant, str]


def combined(pool: Pool, tops: Sequence[int], config: EnsembleConfig, seed: int) -> Combined:
    """All variants, system by system: Table 3's four of every set of members, and what goes beyond of all members.

    The meta-classifiers learn as `config.fit_on` says; if that is out of fold, also in-sample, to set the two side by side.
    """
    said: dict[Variant, Predictions] = {Variant(BEST, "top 1"): pool.members[pool.ranking[0]]}
    whole: dict[str, tuple[meta.MetaClassifiers, np.ndarray]] = {}
    for name, some in {ALL: pool, **{f"top {k}": pool.top(k) for k in tops}}.items():
        said |= {
            Variant(MAJORITY, name): majority_vote(some.members),
            Variant(SOFT, name): soft_vote(some.members),
        }
        for source in (config.fit_on, TRAIN) if config.fit_on == OUT_OF_FOLD else (config.fit_on,):
            found, x_nf = _meta_classifiers(some, source, config, seed)
            for system, params in ((SINGLE, found.single()), (SOUP, found.soup())):
                said[Variant(system, name, source)] = meta.outputs_of(params, x_nf, some.members[0])
            if name == ALL:
                whole[source] = found, x_nf
    left_out = {}
    for variant, make in _beyond(pool, said, *whole[config.fit_on], config, seed):
        try:
            said[variant] = make()
        except (EvaluationError, CorpusError) as error:
            left_out[variant] = error.what
    return Combined(
        dict(sorted(said.items(), key=lambda one: SYSTEMS.index(one[0].system))), left_out
    )


def taught_and_chosen_on(
    source: str, fit: np.ndarray, held_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """The positions that meta-classifiers learn from, and those that choose their epoch (None: the last epoch counts)."""
    return (held_out, None) if source == HELD_OUT else (fit, held_out)


def _meta_classifiers(
    pool: Pool, source: str, config: EnsembleConfig, seed: int
) -> tuple[meta.MetaClassifiers, np.ndarray]:
    """Stage 3 on these outputs, and the features of all utterances."""
    x_nf = meta.inputs_of(pool.taught(source), config)
    learn, select = taught_and_chosen_on(source, pool.fit, pool.held_out)
    return meta.fit(x_nf, pool.targets, pool.members[0].classes, learn, select, config, seed), x_nf


def _beyond(
    pool: Pool,
    said: dict[Variant, Predictions],
    found: meta.MetaClassifiers,
    x_nf: np.ndarray,
    config: EnsembleConfig,
    seed: int,
) -> Iterator[tuple[Variant, Callable[[], Predictions]]]:
    """What the paper has not, of all members."""
    soft, soup = said[Variant(SOFT)], said[Variant(SOUP, ALL, config.fit_on)]
    source = OUT_OF_FOLD if config.fit_on == OUT_OF_FOLD else HELD_OUT
    yield Variant(GREEDY, ALL, config.fit_on), partial(_greedy, pool, found, x_nf, config, seed)
    yield Variant(WEIGHTED, ALL, HELD_OUT), partial(_weighted, pool)
    yield Variant(STACKING, ALL, source), partial(_stacking, pool, source)
    yield Variant(SOFT_REBALANCED, ALL, HELD_OUT), partial(_rebalanced, pool, soft)
    yield Variant(SOUP_REBALANCED, ALL, HELD_OUT), partial(_rebalanced, pool, soup)
    yield Variant(SOFT_TEMPERED, ALL, HELD_OUT), partial(_tempered, pool, soft)
    yield Variant(SOUP_TEMPERED, ALL, HELD_OUT), partial(_tempered, pool, soup)


def _greedy(
    pool: Pool, found: meta.MetaClassifiers, x_nf: np.ndarray, config: EnsembleConfig, seed: int
) -> Predictions:
    """The greedy soup, by the score that chose the meta-classifiers' epochs."""
    if config.fit_on == HELD_OUT:
        raise EvaluationError(
            "the held-out part taught the meta-classifiers, and nobody else is there to choose on"
        )
    labels_h, classes, x_hf = (
        pool.targets.labels[pool.held_out],
        len(pool.members[0].classes),
        jnp.asarray(x_nf[pool.held_out]),
    )

    def score(params: meta.Params) -> float:
        guess_h = np.asarray(meta_classifier.forward(params, x_hf)[0]).argmax(axis=1)
        return balanced_macro_f1(labels_h, guess_h, classes, TrainingConfig().selection_draws, seed)

    return meta.outputs_of(greedy_soup(found.params, score)[0], x_nf, pool.members[0])


def _weighted(pool: Pool) -> Predictions:
    held = [one.where(pool.held_out) for one in pool.members]
    return weighted_vote(pool.members, fit_weights(held, pool.targets.soft[pool.held_out]))


def _stacking(pool: Pool, source: str) -> Predictions:
    learn = pool.fit if source == OUT_OF_FOLD else pool.held_out
    return logistic_stacking(
        pool.taught(source), pool.targets.labels, learn, pool.folds_of(learn), pool.members
    )


def _rebalanced(pool: Pool, outputs: Predictions) -> Predictions:
    return rebalanced(
        outputs, learned_prior(outputs.where(pool.held_out), pool.targets.labels[pool.held_out])
    )


def _tempered(pool: Pool, outputs: Predictions) -> Predictions:
    labels_h = pool.targets.labels[pool.held_out]
    one_hot_hc = np.eye(len(outputs.classes))[labels_h] * (labels_h >= 0)[:, None]
    return tempered(outputs, temperature_of(outputs.where(pool.held_out), one_hot_hc))
