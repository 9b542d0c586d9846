"""Scores of every member and ensemble on every labelled part outside the training part."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from medusa_jax.corpus.genders import read_genders
from medusa_jax.corpus.table import ATTRIBUTES, Corpus
from medusa_jax.ensemble.ensemble_folder import load_ensemble
from medusa_jax.ensemble.predictions import Predictions, pooled
from medusa_jax.ensemble.variants import SOFT
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.details import Details, details_of
from medusa_jax.evaluation.headline import SPEECH, headline_of
from medusa_jax.evaluation.intervals import Interval, clusters_of, macro_f1_interval
from medusa_jax.evaluation.metrics import (
    accuracy_of,
    attribute_scores,
    classification_scores,
    macro_f1_of,
)
from medusa_jax.evaluation.picked_by_test import PickedByTest, picked_by_test
from medusa_jax.evaluation.published_results import published_on
from medusa_jax.evaluation.scores_file import (
    CorpusFacts,
    ScoresFile,
    read_scores,
    write_scores,
)
from medusa_jax.evaluation.tables import SystemScores
from medusa_jax.files import digest_of, sha256_of
from medusa_jax.runs.inputs import answers_of
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.provenance import provenance
from medusa_jax.runs.run import OUTPUTS

FOLDS = "folds"
"""The part that pools the test folds."""
WATCHED = "test1"
"""The part on which members of conversations are scored after each epoch."""


@dataclass(frozen=True)
class Part:
    """A labelled part (`development`, `test1`, …, `folds`, or `fold-1`).

    `corpus` has its utterances with their labels, `rows` their positions in the run's corpus, one
    array a fold.
    """

    name: str
    corpus: Corpus
    rows: tuple[np.ndarray, ...]
    predicted_genders: int = 0

    @property
    def facts(self) -> CorpusFacts:
        """Corpus and numbers of utterances, of speakers where they are known, and of dialogues."""
        counts = {"scored utterances": int((self.corpus.labels >= 0).sum())}
        if speakers := int(self.corpus.frame["speaker"].nunique()):
            counts["speakers"] = speakers
        if self.corpus.conversational:
            counts["dialogues"] = int(self.corpus.frame["dialogue"].nunique())
        if self.predicted_genders:
            counts["predicted genders"] = self.predicted_genders
        return CorpusFacts(self.corpus.name, self.corpus.synthetic, counts)


def evaluate(prepared: Prepared) -> dict[str, list[SystemScores]]:
    """Score all systems part by part into `evaluation/PART/`; the last part matters most.

    That part's `scores.json` also analyses the run's `system`. Raises `EvaluationError` if no part
    is labelled or a system has no predictions, `CheckpointError` if a weighted vote has no record.
    """
    run, parts = prepared.run, labelled_parts(prepared)
    if not parts:
        raise EvaluationError(
            "no utterance outside the training part is labelled",
            where=f"corpus {prepared.corpus.name!r}",
            hint="score the submission against an answer file: `medusa submit score`",
        )
    made_by = provenance(run) | _inputs(prepared)
    learned = run.config.ensemble
    notes = [f"The {learned.learner} learned from {learned.learned_from}.", *weights_of(prepared)]
    shown, scored = run.config.system, {}
    for part in parts:
        systems = list(_systems(prepared, part))
        scored[part.name] = [_scores(part.corpus, *system) for system in systems]
        write_scores(
            run.evaluation_folder(part.name),
            f"{run.config.name}, {part.name}",
            part.facts,
            scored[part.name],
            shown=shown,
            details=_details(part, systems, scored[part.name], shown)
            if part is parts[-1]
            else None,
            notes=notes,
            picked=picked_epochs(prepared, part),
            published=published_on(part.corpus),
            provenance=made_by,
        )
    return scored


def picked_epochs(prepared: Prepared, part: Part) -> list[PickedByTest]:
    """The epoch of each member that the labels of test1 would pick, if its epochs were scored."""
    run = prepared.run
    if part.name != WATCHED:
        return []
    found = [picked_by_test(run.metrics_file(0, one.id), one.id) for one in run.config.members]
    return [one for one in found if one is not None]


def scores_of(prepared: Prepared) -> dict[str, ScoresFile]:
    """The `scores.json` of each part, the last part with details.

    Scores everything again if a file is missing, damaged, or made from other predictions, labels or
    configuration. Raises what `evaluate` raises.
    """
    paths = {part.name: prepared.run.scores_file(part.name) for part in labelled_parts(prepared)}
    try:
        found = {name: read_scores(path) for name, path in paths.items()}
    except EvaluationError:
        found = {}
    made_from = {"config": prepared.run.config.digest(), **_inputs(prepared)}
    fresh = [made_from.items() <= file.provenance.items() for file in found.values()]
    if not fresh or not all(fresh) or list(found.values())[-1].details is None:
        evaluate(prepared)
        found = {name: read_scores(path) for name, path in paths.items()}
    return found


def weights_of(prepared: Prepared) -> list[str]:
    """The weighted vote of each fold in a sentence; none for other kinds of ensemble.

    Raises `CheckpointError` if one has no record.
    """
    run, folds = prepared.run, range(len(prepared.folds))
    if run.config.ensemble.kind != "weighted":
        return []
    found = [load_ensemble(run.ensemble_folder(fold)).record.summary for fold in folds]
    return found if len(found) == 1 else [f"Fold {n}: {one}" for n, one in enumerate(found, 1)]


def predictions_digest(folder: Path) -> str:
    """Digest of all predictions in a run's folder that scores are made from."""
    paths = [
        path
        for name in (f"members/*/{OUTPUTS}", "ensemble/*.parquet")
        for pattern in (name, f"fold-*/{name}")
        for path in folder.glob(pattern)
    ]
    return digest_of({path.relative_to(folder).as_posix(): sha256_of(path) for path in paths})


def labelled_parts(prepared: Prepared) -> list[Part]:
    """The labelled parts outside the training part, the most important one last; may be none."""
    corpus, told = with_answers(prepared.corpus), prepared.run.config.corpus.genders
    predicted = list(read_genders(Path(told).expanduser())) if told else []
    found = []
    for name, rows in _rows_of_parts(prepared, corpus).items():
        frame = corpus.frame.iloc[np.concatenate(rows)].reset_index(drop=True)
        genders = int(frame["id"].isin(predicted).sum())
        found.append(Part(name, replace(corpus, frame=frame), tuple(rows), genders))
    return found


def with_answers(corpus: Corpus) -> Corpus:
    """The corpus with test3's hidden labels, if it has them: to score, never to train."""
    path = answers_of(corpus)
    if path is None:
        return corpus
    from submission.answers import read_answers

    emotion = read_answers(path, "categorical")["emotion"]
    ratings = read_answers(path, "attributes")
    frame = corpus.frame.copy()
    ids, hidden = frame["id"], frame["id"].isin(emotion.index)
    consensus = frame["consensus"].astype(object)
    frame["consensus"] = consensus.where(~hidden, ids.map(emotion.to_dict()))
    for name in ATTRIBUTES:
        given = pd.to_numeric(ids.map(ratings[name].to_dict()))
        frame[name] = frame[name].where(~hidden, given)
    return replace(corpus, frame=frame)


def _rows_of_parts(prepared: Prepared, corpus: Corpus) -> dict[str, list[np.ndarray]]:
    """Rows of `corpus`, with answers, by part; one array a fold."""
    config = prepared.run.config.corpus
    if config.folds is not None:
        name = FOLDS if config.fold is None else f"fold-{config.fold}"
        return {name: [parts.rest for parts in prepared.folds]}
    rest, split = prepared.folds[0].rest, corpus.frame["split"].to_numpy()
    rows = {part: rest[split[rest] == part] for part in ("development", "test1", "test2", "test3")}
    return {part: [found] for part, found in rows.items() if (corpus.labels[found] >= 0).any()}


def _inputs(prepared: Prepared) -> dict[str, object]:
    """Digests of the labels and predictions that scores are made from."""
    answers = answers_of(prepared.corpus)
    return {
        "corpus": prepared.corpus.digest(),
        **({"answers": sha256_of(answers)} if answers else {}),
        "predictions": predictions_digest(prepared.run.folder),
    }


def _systems(prepared: Prepared, part: Part) -> Iterator[tuple[str, str, Predictions]]:
    """Name, kind and predictions of every system; each fold's rows come from its own models."""
    run, corpus, folds = prepared.run, prepared.corpus, list(enumerate(part.rows))
    for member in run.config.members:
        own = [run.predictions(corpus, f, member.id).where(rows) for f, rows in folds]
        yield member.id, " + ".join(member.modalities), pooled(own)
    for system in run.config.ensemble.systems:
        own = [run.ensemble_predictions(corpus, f, system).where(rows) for f, rows in folds]
        yield system, "ensemble", pooled(own)


def _scores(corpus: Corpus, name: str, kind: str, predicted: Predictions) -> SystemScores:
    """One system on the utterances of `corpus`, which are those of `predicted`."""
    labels, headline = corpus.labels, headline_of(corpus)
    intervals = _intervals(corpus, predicted.logits.argmax(axis=1))
    rated = np.isfinite(corpus.attributes).all(axis=1).sum() > 1
    return SystemScores(
        name,
        kind,
        classification_scores(labels, predicted.posteriors, corpus.classes),
        attribute_scores(corpus.attributes, predicted.attributes) if rated else None,
        intervals.pop("macro_f1", None),
        intervals,
        headline,
    )


def _intervals(corpus: Corpus, guess_n: np.ndarray) -> dict[str, Interval]:
    """Intervals of Macro-F1, of conversations of weighted F1 and accuracy too; none for a single
    cluster.
    """
    headline, labels = headline_of(corpus), corpus.labels
    clusters = headline.clusters(corpus)
    if len(np.unique(clusters_of(clusters)[labels >= 0])) < 2:
        return {}
    metrics: dict[str, Callable[[np.ndarray], np.ndarray]] = {"macro_f1": macro_f1_of}
    if headline is not SPEECH:
        metrics = {headline.name: headline.metric, "accuracy": accuracy_of, **metrics}
    return {
        name: macro_f1_interval(labels, guess_n, corpus.classes, clusters, metric=metric)
        for name, metric in metrics.items()
    }


def _details(
    part: Part,
    systems: list[tuple[str, str, Predictions]],
    scored: list[SystemScores],
    shown: str,
) -> Details:
    """Details of the system `shown`; calibration also of the soft vote."""
    # float64: rows of float32 do not sum to 1 exactly enough for calibration.
    posteriors = {
        name: softmax(predicted.logits.astype(np.float64), axis=1) for name, _, predicted in systems
    }
    (scores,) = (one for one in scored if one.name == shown)
    calibrated = [name for name in posteriors if name in (shown, SOFT)]
    return details_of(part.corpus, posteriors, scores, calibrated)
