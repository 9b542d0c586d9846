"""Votes, meta-classifier and soup of a run."""

from collections.abc import Mapping

import numpy as np

from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble import meta
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
    """Votes, the meta-classifier of one seed, and the soup, in every fold."""
    run, corpus = prepared.run, prepared.corpus
    config = run.config.ensemble
    for fold, parts in enumerate(prepared.folds):
        if all(run.ensemble_file(fold, name).exists() for name in ENSEMBLES):
            continue
        members = {
            member.id: run.predictions(corpus, fold, member.id) for member in run.config.members
        }
        x_nf = meta.inputs_of(taught_outputs(prepared, fold, members), config)
        learn, select = taught_and_chosen_on(config.fit_on, parts.fit, parts.held_out)
        found = meta.fit(
            x_nf, targets_of(corpus), corpus.classes, learn, select, config, run.config.seed
        )
        found.save(
            run.meta_folder(fold), digest_of([config.model_dump(mode="json"), run.config.digest()])
        )
        said = list(members.values())
        majority_vote(said).save(run.ensemble_file(fold, MAJORITY))
        soft_vote(said).save(run.ensemble_file(fold, SOFT))
        for name, params in ((SINGLE, found.single()), (SOUP, found.soup())):
            meta.outputs_of(params, x_nf, said[0]).save(run.ensemble_file(fold, name))


def taught_outputs(
    prepared: Prepared, fold: int, members: Mapping[str, Predictions]
) -> list[Predictions]:
    """The outputs of `members` (by id) as the meta-classifier meets them: of the training part out of fold if it learns from those."""
    if prepared.run.config.ensemble.fit_on != OUT_OF_FOLD:
        return list(members.values())
    run, corpus, fit = prepared.run, prepared.corpus, prepared.folds[fold].fit
    return [
        said.replaced(fit, run.out_of_fold(corpus, fold, name, fit))
        for name, said in members.items()
    ]


def targets_of(corpus: Corpus) -> meta.Targets:
    """The eight classes' share of the soft labels, normalised; zero rows where there is none."""
    soft = np.nan_to_num(corpus.soft[:, : len(corpus.classes)], nan=0.0)
    total = soft.sum(axis=1, keepdims=True)
    rated = np.isfinite(corpus.attributes).astype(np.float32)
    return meta.Targets(
        np.divide(soft, total, out=np.zeros_like(soft), where=total > 0),
        np.nan_to_num(corpus.attributes),
        rated,
        corpus.labels,
    )
