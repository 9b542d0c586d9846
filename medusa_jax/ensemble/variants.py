"""All ways to combine members that the study of ensembles compares: Table 3 and beyond.

Legend: `h` held-out utterance, `c` class.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from medusa_jax.config.ensemble import WEIGHTED, EnsembleConfig
from medusa_jax.config.training import TrainingConfig
from medusa_jax.ensemble import meta, meta_training
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.recalibration import (
    learned_prior,
    rebalanced,
    temperature_of,
    tempered,
)
from medusa_jax.ensemble.stacking import logistic_stacking
from medusa_jax.ensemble.votes import majority_vote, soft_vote
from medusa_jax.ensemble.weighted import fit_weights, weighted_vote
from medusa_jax.errors import CorpusError, EvaluationError
from medusa_jax.evaluation.balanced import selection_score
from medusa_jax.models import meta_classifier

MAJORITY, SOFT, SINGLE, SOUP = "majority_vote", "soft_vote", "meta_classifier", "soup"
ENSEMBLES = (MAJORITY, SOFT, SINGLE, SOUP)
BEST, GREEDY = "best_member", "greedy_soup"
STACKING = "logistic_regression"
SOFT_REBALANCED, SOUP_REBALANCED = "soft_vote_rebalanced", "soup_rebalanced"
SOFT_TEMPERED, SOUP_TEMPERED = "soft_vote_tempered", "soup_tempered"
REFITTED = frozenset({SOFT_REBALANCED, SOUP_REBALANCED, SOFT_TEMPERED, SOUP_TEMPERED})
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
TRAIN, OUT_OF_FOLD, HELD_OUT = "train", "out_of_fold", "held_out"
ALL = "all"


class Variant(NamedTuple):
    """A line of the table: a system, the members that it combines (`all`, `top 5`, …), and the
    predictions that it learned from, if it learned."""

    system: str
    members: str = ALL
    learned_from: str | None = None

    def __str__(self) -> str:
        return ", ".join(filter(None, self))


@dataclass(frozen=True)
class Pool:
    """Members to combine, and the utterances to learn from.

    `members` have predictions of all utterances. So does each of `out_of_fold`, in which the
    positions `fit` are predicted by members trained without the speaker (None: not trained so).
    `ranking` are places in `members`, the best on held-out utterances first; `held_out` are the
    positions that chose the members' epochs. `folds_of` deals positions into speaker-disjoint
    folds, or raises `CorpusError`.
    """

    members: tuple[Predictions, ...]
    out_of_fold: tuple[Predictions, ...] | None
    ranking: tuple[int, ...]
    targets: meta.Targets
    fit: np.ndarray
    held_out: np.ndarray
    folds_of: Callable[[np.ndarray], np.ndarray]

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of all members."""
        return self.members[0].classes

    def top(self, count: int) -> "Pool":
        """The `count` best members, in their own order."""
        places = sorted(self.ranking[:count])
        inner = self.out_of_fold
        return replace(
            self,
            members=tuple(self.members[m] for m in places),
            out_of_fold=None if inner is None else tuple(inner[m] for m in places),
            ranking=tuple(places.index(m) for m in self.ranking[:count]),
        )

    def taught(self, source: str) -> tuple[Predictions, ...]:
        """The members' predictions as a system that learns from `source` reads them.

        Raises `EvaluationError` if these are out of fold and not found.
        """
        if source != OUT_OF_FOLD:
            return self.members
        if self.out_of_fold is None:
            raise EvaluationError(
                "no out-of-fold predictions found",
                hint="train with --set ensemble.fit_on=out_of_fold",
            )
        return self.out_of_fold


@dataclass(frozen=True)
class Combined:
    """Predictions of each variant for all utterances; `left_out`: why the others failed."""

    predictions: dict[Variant, Predictions]
    left_out: dict[Variant, str]


@dataclass(frozen=True)
class _Settings:
    """The run's settings of Stage 3."""

    ensemble: EnsembleConfig
    training: TrainingConfig
    seed: int

    @property
    def sources(self) -> tuple[str, ...]:
        """`fit_on`, and in-sample beside out of fold."""
        fit_on = self.ensemble.fit_on
        return (OUT_OF_FOLD, TRAIN) if fit_on == OUT_OF_FOLD else (fit_on,)


def combined(
    pool: Pool, tops: Sequence[int], config: EnsembleConfig, training: TrainingConfig, seed: int
) -> Combined:
    """All variants: the four of Table 3 for every set of members, the others for all members.

    The meta-classifiers learn from `config.fit_on`; if that is out of fold, in-sample as well, so
    that the two stand side by side.
    """
    settings = _Settings(config, training, seed)
    made = {Variant(BEST, "top 1"): pool.members[pool.ranking[0]]}
    found = {source: _meta_classifiers(pool, source, settings) for source in settings.sources}
    made |= _table_3(pool, ALL, found)
    for k in tops:
        some = pool.top(k)
        those = {source: _meta_classifiers(some, source, settings) for source in settings.sources}
        made |= _table_3(some, f"top {k}", those)
    left_out = {}
    for variant, make in _beyond(pool, made, found[config.fit_on], settings):
        try:
            made[variant] = make()
        except (EvaluationError, CorpusError) as error:
            left_out[variant] = error.what
    order = sorted(made, key=lambda variant: SYSTEMS.index(variant.system))
    return Combined({variant: made[variant] for variant in order}, left_out)


def taught_and_chosen_on(
    source: str, fit: np.ndarray, held_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """The positions that meta-classifiers learn from, and those that choose their epoch.

    None for the latter: the last epoch is kept.
    """
    return (held_out, None) if source == HELD_OUT else (fit, held_out)


def _meta_classifiers(pool: Pool, source: str, settings: _Settings) -> meta.MetaClassifiers:
    """Stage 3 on the predictions of `source`."""
    x_nf = meta.inputs_of(pool.taught(source), settings.ensemble.attributes)
    learn, select = taught_and_chosen_on(source, pool.fit, pool.held_out)
    return meta_training.fit(
        x_nf,
        pool.targets,
        pool.classes,
        learn,
        select,
        settings.ensemble,
        settings.training,
        settings.seed,
    )


def _table_3(
    pool: Pool, members: str, found: dict[str, meta.MetaClassifiers]
) -> dict[Variant, Predictions]:
    """The paper's four systems of these members."""
    made = {
        Variant(MAJORITY, members): majority_vote(pool.members),
        Variant(SOFT, members): soft_vote(pool.members),
    }
    for source, one in found.items():
        taught = pool.taught(source)
        made[Variant(SINGLE, members, source)] = meta.predict(one.single(), taught)
        made[Variant(SOUP, members, source)] = meta.predict(one.soup(), taught)
    return made


def _beyond(
    pool: Pool,
    made: dict[Variant, Predictions],
    found: meta.MetaClassifiers,
    settings: _Settings,
) -> Iterator[tuple[Variant, Callable[[], Predictions]]]:
    """Systems of all members that the paper does not have."""
    fit_on = settings.ensemble.fit_on
    soft, soup = made[Variant(SOFT)], made[Variant(SOUP, ALL, fit_on)]
    source = OUT_OF_FOLD if fit_on == OUT_OF_FOLD else HELD_OUT
    yield Variant(GREEDY, ALL, fit_on), partial(_greedy, pool, found, settings)
    yield _weighted(pool, settings.ensemble)
    yield Variant(STACKING, ALL, source), partial(_stacking, pool, source)
    yield Variant(SOFT_REBALANCED, ALL, HELD_OUT), partial(_rebalanced, pool, soft)
    yield Variant(SOUP_REBALANCED, ALL, HELD_OUT), partial(_rebalanced, pool, soup)
    yield Variant(SOFT_TEMPERED, ALL, HELD_OUT), partial(_tempered, pool, soft)
    yield Variant(SOUP_TEMPERED, ALL, HELD_OUT), partial(_tempered, pool, soup)


def _greedy(pool: Pool, found: meta.MetaClassifiers, settings: _Settings) -> Predictions:
    """The greedy soup by the run's selection score."""
    source, training = settings.ensemble.fit_on, settings.training
    if source == HELD_OUT:
        raise EvaluationError(
            "the meta-classifiers learned from the held-out part, so it cannot choose a soup"
        )
    taught, classes = pool.taught(source), len(pool.classes)
    x_nf = meta.inputs_of(taught, settings.ensemble.attributes)
    labels_h, x_hf = pool.targets.labels[pool.held_out], jnp.asarray(x_nf[pool.held_out])

    def score(params: meta.Params) -> float:
        guess_h = np.asarray(meta_classifier.forward(params, x_hf, classes)[0]).argmax(axis=1)
        how, draws = training.selection, training.selection_draws
        return selection_score(labels_h, guess_h, classes, how, draws, settings.seed)

    return meta.predict(meta.greedy_soup(found.params, score)[0], taught)


def _weighted(pool: Pool, config: EnsembleConfig) -> tuple[Variant, Callable[[], Predictions]]:
    """The weighted vote as the run makes it; else fitted to soft targets of the held-out part."""
    own = config.kind == "weighted"
    source, kind = (config.fit_on, config.targets) if own else (HELD_OUT, "soft")

    def make() -> Predictions:
        learn, _ = taught_and_chosen_on(source, pool.fit, pool.held_out)
        taught = [one.where(learn) for one in pool.taught(source)]
        weights = fit_weights(taught, pool.targets.learned(kind)[learn])
        return weighted_vote(pool.members, weights)

    return Variant(WEIGHTED, ALL, source), make


def _stacking(pool: Pool, source: str) -> Predictions:
    learn = pool.fit if source == OUT_OF_FOLD else pool.held_out
    folds = pool.folds_of(learn)
    return logistic_stacking(pool.taught(source), pool.targets.labels, learn, folds, pool.members)


def _rebalanced(pool: Pool, outputs: Predictions) -> Predictions:
    labels_h = pool.targets.labels[pool.held_out]
    return rebalanced(outputs, learned_prior(outputs.where(pool.held_out), labels_h))


def _tempered(pool: Pool, outputs: Predictions) -> Predictions:
    one_hot_hc = pool.targets.learned("one_hot")[pool.held_out]
    return tempered(outputs, temperature_of(outputs.where(pool.held_out), one_hot_hc))
