"""The step that combines a run's members: votes, and meta-classifiers or a weighted vote."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medusa_jax.corpus.table import ATTRIBUTES, Corpus
from medusa_jax.ensemble import meta, meta_training
from medusa_jax.ensemble.ensemble_folder import Ensemble, EnsembleRecord, save_ensemble
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.variants import OUT_OF_FOLD, SINGLE, SOUP, taught_and_chosen_on
from medusa_jax.ensemble.weighted import fitted_weights
from medusa_jax.runs.prepare import Prepared


def combine(prepared: Prepared) -> None:
    """Make the systems of `ensemble.kind` in every fold: votes, and those that learn."""
    run = prepared.run
    for fold in range(len(prepared.folds)):
        systems = run.config.ensemble.systems
        if not all(run.ensemble_file(fold, name).exists() for name in systems):
            _combine_fold(prepared, fold)


def _combine_fold(prepared: Prepared, fold: int) -> None:
    """The predictions come last: as long as one is missing, the step is made again."""
    run, config = prepared.run, prepared.run.config
    members = {m.id: run.predictions(prepared.corpus, fold, m.id) for m in config.members}
    taught = taught_outputs(prepared, fold, members)
    learned = _with_weights if config.ensemble.kind == "weighted" else _with_meta_classifiers
    ensemble = learned(prepared, fold, taught)
    save_ensemble(run.ensemble_folder(fold), ensemble)
    for system in ensemble.record.systems:
        reads_taught = system in (SINGLE, SOUP)
        source = dict(zip(members, taught, strict=True)) if reads_taught else members
        ensemble.combine(system, source).save(run.ensemble_file(fold, system))


def _with_meta_classifiers(
    prepared: Prepared, fold: int, taught: Sequence[Predictions]
) -> Ensemble:
    """Stages 3 and 4 of a fold."""
    config, parts, corpus = prepared.run.config, prepared.folds[fold], prepared.corpus
    learn, select = taught_and_chosen_on(config.ensemble.fit_on, parts.fit, parts.held_out)
    found = meta_training.fit(
        meta.inputs_of(taught, config.ensemble.attributes),
        targets_of(corpus),
        corpus.classes,
        learn,
        select,
        config.ensemble,
        config.training,
        config.seed,
    )
    record = EnsembleRecord(
        **_facts(prepared, fold),
        vote_weights=(1 / len(taught),) * len(taught),
        inputs=("posteriors", "attributes") if config.ensemble.attributes else ("posteriors",),
        select=config.ensemble.select,
        seeds=meta_training.seeds_of(config.ensemble, config.seed),
        selection_scores=tuple(None if math.isnan(one) else one for one in found.scores),
        epochs=found.epochs,
    )
    return Ensemble(record, found)


def _with_weights(prepared: Prepared, fold: int, taught: Sequence[Predictions]) -> Ensemble:
    """The weighted vote of a fold."""
    config, parts = prepared.run.config.ensemble, prepared.folds[fold]
    learn, _ = taught_and_chosen_on(config.fit_on, parts.fit, parts.held_out)
    targets = targets_of(prepared.corpus)
    found = fitted_weights(
        [one.where(learn) for one in taught],
        targets.learned(config.targets)[learn],
        targets.labels[learn],
    )
    record = EnsembleRecord(
        **_facts(prepared, fold),
        vote_weights=found.weights,
        targets=config.targets,
        macro_f1=found.macro_f1,
        cross_entropy=found.cross_entropy,
    )
    return Ensemble(record, None)


def _facts(prepared: Prepared, fold: int) -> dict[str, Any]:
    """The fields of a fold's record that every kind of ensemble has."""
    run, config = prepared.run, prepared.run.config.ensemble
    members = tuple(member.id for member in run.config.members)
    return dict(
        classes=tuple(prepared.corpus.classes),
        attributes=ATTRIBUTES,
        members=members,
        member_digests=tuple(_weights_digest(run.record_file(fold, one)) for one in members),
        kind=config.kind,
        fit_on=config.fit_on,
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
    """The predictions of `members` (by id) as the system that learns from them reads them.

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
