"""Scores of every member and every ensemble on every labelled part that no member learned from, and their reports."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from medusa_jax.corpus.table import ATTRIBUTES, Corpus
from medusa_jax.ensemble.predictions import Predictions, pooled
from medusa_jax.ensemble.variants import ENSEMBLES
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.intervals import clusters_of, macro_f1_interval
from medusa_jax.evaluation.metrics import attribute_scores, classification_scores
from medusa_jax.evaluation.report import CorpusFacts, write_report
from medusa_jax.evaluation.tables import SystemScores
from medusa_jax.runs.inputs import answers_of
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.provenance import provenance

FOLDS = "folds"
"""The part that pools the test folds."""


@dataclass(frozen=True)
class System:
    """A member or an ensemble, what it said of a part's utterances, and how that scores."""

    name: str
    kind: str
    outputs: Predictions
    scores: SystemScores


@dataclass(frozen=True)
class Part:
    """A labelled part (`development`, `test1`, …, `folds`, or `fold-1`): its utterances, and every system on them in the same order."""

    name: str
    corpus: Corpus
    systems: tuple[System, ...]


def evaluate(prepared: Prepared) -> dict[str, list[SystemScores]]:
    """Score all systems part by part and write a report of each to `evaluation/PART/`.

    The last part is the one that matters most. Raises `EvaluationError` if no part is labelled.
    """
    made_by = provenance(prepared.run) | {"corpus": prepared.corpus.digest()}
    notes = [f"The meta-classifier learned from {prepared.run.config.ensemble.learned_from}."]
    scored = {}
    for part in scored_parts(prepared):
        scored[part.name] = [system.scores for system in part.systems]
        folder = prepared.run.evaluation_folder(part.name)
        write_report(
            folder,
            f"{prepared.run.config.name}, {part.name}",
            facts_of(part),
            scored[part.name],
            notes=notes,
            provenance=made_by,
        )
    return scored


def scored_parts(prepared: Prepared) -> list[Part]:
    """Every system on every labelled part that no member learned from. Raises `EvaluationError` if no part is labelled."""
    corpus = with_answers(prepared.corpus)
    parts = parts_to_score(prepared, corpus)
    if not parts:
        hint = "score the submission against an answer file: `medusa submit score`"
        raise EvaluationError(
            "no utterance outside the training part is labelled",
            where=f"corpus {corpus.name!r}",
            hint=hint,
        )
    found = []
    for name, rows_of_folds in parts.items():
        labelled = replace(
            corpus, frame=corpus.frame.iloc[np.concatenate(rows_of_folds)].reset_index(drop=True)
        )
        systems = [
            System(who, kind, said, _scores(labelled, who, kind, said))
            for who, kind, said in _systems(prepared, rows_of_folds)
        ]
        found.append(Part(name, labelled, tuple(systems)))
    return found


def facts_of(part: Part) -> CorpusFacts:
    """What a reader must know of a part."""
    speakers = int(
        part.corpus.frame["speaker"].nunique()
    )  # none where the corpus does not say who speaks
    counts = {"scored utterances": int((part.corpus.labels >= 0).sum())} | (
        {"speakers": speakers} if speakers else {}
    )
    return CorpusFacts(part.corpus.name, part.corpus.synthetic, counts)


def with_answers(corpus: Corpus) -> Corpus:
    """The corpus with test3's hidden labels, if its folder keeps them: for scoring only, never seen by training."""
    path = answers_of(corpus)
    if path is None:
        return corpus
    from submission.answers import read_answers

    classes, ratings = (
        read_answers(path, "categorical")["emotion"],
        read_answers(path, "attributes"),
    )
    frame = corpus.frame.copy()
    hidden = frame["id"].isin(classes.index)
    frame["consensus"] = (
        frame["consensus"].astype(object).where(~hidden, frame["id"].map(classes.to_dict()))
    )
    for name in ATTRIBUTES:
        frame[name] = frame[name].where(
            ~hidden, pd.to_numeric(frame["id"].map(ratings[name].to_dict()))
        )
    return replace(corpus, frame=frame)


def parts_to_score(prepared: Prepared, corpus: Corpus) -> dict[str, list[np.ndarray]]:
    """Rows of `corpus` (see `with_answers`) to score by part, one array a fold; empty if nothing but the training part is labelled."""
    config = prepared.run.config.corpus
    if config.folds is not None:
        return {
            FOLDS if config.fold is None else f"fold-{config.fold}": [
                parts.rest for parts in prepared.folds
            ]
        }
    rest, split = prepared.folds[0].rest, corpus.frame["split"].to_numpy()
    rows = {part: rest[split[rest] == part] for part in ("development", "test1", "test2", "test3")}
    return {part: [found] for part, found in rows.items() if (corpus.labels[found] >= 0).any()}


def _systems(
    prepared: Prepared, rows_of_folds: list[np.ndarray]
) -> Iterator[tuple[str, str, Predictions]]:
    """Name, kind and outputs of every member and ensemble, each fold's rows predicted by that fold's own models."""
    run, corpus = prepared.run, prepared.corpus
    folds = list(enumerate(rows_of_folds))
    for member in run.config.members:
        yield (
            member.id,
            " + ".join(member.modalities),
            pooled([run.predictions(corpus, f, member.id).where(rows) for f, rows in folds]),
        )
    for system in ENSEMBLES:
        yield (
            system,
            "ensemble",
            pooled([run.ensemble_predictions(corpus, f, system).where(rows) for f, rows in folds]),
        )


def _scores(corpus: Corpus, name: str, kind: str, outputs: Predictions) -> SystemScores:
    """One system on the utterances of `corpus`, which are those of `outputs`."""
    speakers = corpus.frame["speaker"].astype(object).where(corpus.frame["speaker"].notna(), None)
    several = (
        len(np.unique(clusters_of(speakers)[corpus.labels >= 0])) > 1
    )  # one speaker tells nothing of the next
    interval = (
        macro_f1_interval(corpus.labels, outputs.logits.argmax(axis=1), corpus.classes, speakers)
        if several
        else None
    )
    rated = np.isfinite(corpus.attributes).all(axis=1).sum() > 1
    attributes = attribute_scores(corpus.attributes, outputs.attributes) if rated else None
    return SystemScores(
        name,
        kind,
        classification_scores(corpus.labels, outputs.posteriors, corpus.classes),
        attributes,
        interval,
    )
