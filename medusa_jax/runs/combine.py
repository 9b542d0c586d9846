"""The step that combines a run's members: votes, meta-classifiers, soup."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medusa_jax.corpus.table import ATTRIBUTES, Corpus
from medusa_jax.ensemble import meta, meta_training
from medusa_jax.ensemble.ensemble_folder import Ensemble, EnsembleRecord, save_ensemble
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.variants import (
    ENSEMBLES,
    MAJORITY,
    OUT_OF_FOLD,
    SOFT,
    taught_and_chosen_on,
)
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
    ensemble = Ensemble(_record(prepared, fold, found), found)
    save_ensemble(run.ensemble_folder(fold), ensemble)
    for system in ENSEMBLES:
        votes = system in (MAJORITY, SOFT)
        source = members if votes else dict(zip(members, taught, strict=True))
        ensemble.combine(system, source).save(run.ensemble_file(fold, system))


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


def _record(prepared: Prepared, fold: int, found: meta.MetaClassifiers) -> EnsembleRecord:
    """A fold's ensemble in words."""
    run, config = prepared.run, prepared.run.config.ensemble
    members = tuple(member.id for member in run.config.members)
    return EnsembleRecord(
        classes=tuple(prepared.corpus.classes),
        attributes=ATTRIBUTES,
        members=members,
        member_digests=tuple(_weights_digest(run.record_file(fold, one)) for one in members),
        vote_weights=(1 / len(members),) * len(members),
        inputs=("posteriors", "attributes") if config.attributes else ("posteriors",),
        fit_on=config.fit_on,
        select=config.select,
        seeds=meta_training.seeds_of(config, run.config.seed),
        selection_scores=tuple(None if math.isnan(one) else one for one in found.scores),
        epochs=found.epochs,
        configuration=run.config.digest(),
    )


def _weights_digest(record: Path) -> str | None:
    """SHA-256 of a member's weights from its record; None for a record without it."""
    try:
        digest = json.loads(record.read_text(encoding="utf-8"))["weights"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(digest)


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
        predictions.replaced(fit, run.out_of_fold(corpus, fold, name, fit))
        for name, predictions in members.items()
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
