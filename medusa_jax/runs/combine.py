"""The step that combines a run's members: votes, meta-classifiers, soup."""

from collections.abc import Mapping, Sequence

import numpy as np

from medusa_jax.config.section import DIGEST
from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble import meta, meta_training
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.variants import (
    ENSEMBLES,
    MAJORITY,
    OUT_OF_FOLD,
    SINGLE,
    SOFT,
    SOUP,
    taught_and_chosen_on,
)
from medusa_jax.ensemble.votes import majority_vote, soft_vote
from medusa_jax.files import digest_of
from medusa_jax.runs.prepare import Prepared


def combine(prepared: Prepared) -> None:
    """Make votes, the meta-classifier of one seed, and the soup, in every fold."""
    run = prepared.run
    for fold in range(len(prepared.folds)):
        if not all(run.ensemble_file(fold, name).exists() for name in ENSEMBLES):
            _combine_fold(prepared, fold)


def _combine_fold(prepared: Prepared, fold: int) -> None:
    """The predictions come last: as long as one is missing, the step is made again."""
    run, config = prepared.run, prepared.run.config
    members = {m.id: run.predictions(prepared.corpus, fold, m.id) for m in config.members}
    taught = taught_outputs(prepared, fold, members)
    found = _meta_classifiers(prepared, fold, taught)
    digest = digest_of([config.ensemble.model_dump(mode="json", context=DIGEST), config.digest()])
    found.save(run.meta_folder(fold), digest)
    said = list(members.values())
    for system, predictions in (
        (MAJORITY, majority_vote(said)),
        (SOFT, soft_vote(said)),
        (SINGLE, meta.predict(found.single(), taught)),
        (SOUP, meta.predict(found.soup(), taught)),
    ):
        predictions.save(run.ensemble_file(fold, system))


def _meta_classifiers(
    prepared: Prepared, fold: int, taught: Sequence[Predictions]
) -> meta.MetaClassifiers:
    """Stages 3 and 4 of a fold."""
    config, parts, corpus = prepared.run.config, prepared.folds[fold], prepared.corpus
    learn, select = taught_and_chosen_on(config.ensemble.fit_on, parts.fit, parts.held_out)
    return meta_training.fit(
        meta.inputs_of(taught, config.ensemble.attributes),
        targets_of(corpus),
        corpus.classes,
        learn,
        select,
        config.ensemble,
        config.training,
        config.seed,
    )


def taught_outputs(
    prepared: Prepared, fold: int, members: Mapping[str, Predictions]
) -> list[Predictions]:
    """The predictions of `members` (by id) as the meta-classifier reads them.

    If it learns out of fold, those of the training part are from members trained without the
    speaker.
    """
    if prepared.run.config.ensemble.fit_on != OUT_OF_FOLD:
        return list(members.values())
    run, corpus, fit = prepared.run, prepared.corpus, prepared.folds[fold].fit
    return [
        said.replaced(fit, run.out_of_fold(corpus, fold, name, fit))
        for name, said in members.items()
    ]


def targets_of(corpus: Corpus) -> meta.Targets:
    """Votes for the classes as distributions, zero rows where none is for a class; ratings."""
    soft = np.nan_to_num(corpus.soft[:, : len(corpus.classes)], nan=0.0)
    total = soft.sum(axis=1, keepdims=True)
    rated = np.isfinite(corpus.attributes).astype(np.float32)
    return meta.Targets(
        np.divide(soft, total, out=np.zeros_like(soft), where=total > 0),
        np.nan_to_num(corpus.attributes),
        rated,
        corpus.labels,
    )
