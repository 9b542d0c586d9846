"""One system in detail: compared with the others, by class, by group, its calibration, its errors.

| table | a row is |
|---|---|
| `comparisons` | the system against another one |
| `classes`, `confusion` | a class; a true and a predicted class |
| `calibration`, `reliability`, `agreement` | a system; one of its bins; a system |
| `groups` | a group of utterances |
| `worst` | a confident wrong prediction |
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from pydantic import FiniteFloat
from pydantic.dataclasses import dataclass

from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.calibration import Calibration, agreement, calibration
from medusa_jax.evaluation.headline import headline_of
from medusa_jax.evaluation.intervals import macro_f1_interval
from medusa_jax.evaluation.metrics import ClassificationScores, f1_of
from medusa_jax.evaluation.significance import compare, difference_columns
from medusa_jax.evaluation.subgroups import GroupScore, subgroup_scores
from medusa_jax.evaluation.tables import Row, SystemScores

WORST = 12  # rows of the table `worst`

Found = tuple[list[Row], str]
"""Rows, and a sentence about those that are missing (empty: none)."""


@dataclass(frozen=True)
class Details:
    """Tables about `system` by name; `missing` gives the reason where a table lacks rows."""

    system: str
    tables: dict[str, list[dict[str, str | int | FiniteFloat | None]]]
    missing: dict[str, str]


def details_of(
    corpus: Corpus,
    posteriors: Mapping[str, np.ndarray],
    shown: SystemScores,
    calibrated: Iterable[str],
) -> Details:
    """Analyse `shown` on the utterances of `corpus`.

    `posteriors` are float64 `[n, c]` of every system; `calibrated` names the systems whose
    calibration is measured.
    """
    own, scores = posteriors[shown.name], shown.classification
    assert scores is not None, "details are of a system with class scores"
    curves = {name: calibration(corpus.labels, posteriors[name]) for name in calibrated}
    found: dict[str, Found] = {
        "comparisons": _comparisons(corpus, posteriors, shown.name),
        "classes": _classes(corpus, own, shown, scores),
        "confusion": (_confusion(scores), ""),
        "calibration": (_calibration(curves), ""),
        "reliability": (_reliability(curves), ""),
        "agreement": _agreement(corpus, posteriors),
        "groups": _groups(corpus, own),
        "worst": _worst(corpus, own),
    }
    tables = {name: list(map(dict, rows)) for name, (rows, _) in found.items()}
    missing = {name: lacking for name, (_, lacking) in found.items() if lacking}
    return Details(shown.name, tables, missing)


def _comparisons(corpus: Corpus, posteriors: Mapping[str, np.ndarray], shown: str) -> Found:
    """The shown system against every other, corrected together."""
    guesses = {name: rows.argmax(axis=1) for name, rows in posteriors.items()}
    pairs = [(shown, name) for name in guesses if name != shown]
    headline = headline_of(corpus)
    try:
        found = compare(
            corpus.labels,
            guesses,
            pairs,
            corpus.classes,
            headline.clusters(corpus),
            metric=headline.metric,
            cluster=headline.cluster,
        )
    except EvaluationError as error:
        return [], f"Differences cannot be tested: {error.what}."
    return [
        {"system": one.one, "against": one.other, **difference_columns(one)} for one in found
    ], ""


def _classes(
    corpus: Corpus, own: np.ndarray, shown: SystemScores, scores: ClassificationScores
) -> Found:
    """Scores of each class that has an example, F1 with its interval."""
    rows: list[Row] = []
    for c, name in enumerate(corpus.classes):
        if name not in scores.absent:
            bounds = _f1_bounds(corpus, own, c) if shown.interval else {}
            rows.append(
                {
                    "class": name,
                    "utterances": sum(scores.confusion[c]),
                    "f1": scores.f1[c],
                    **bounds,
                    "precision": scores.precision[c],
                    "recall": scores.recall[c],
                }
            )
    absent = ", ".join(scores.absent)
    lacking = f"No labelled example of {absent}: counted as F1 = 0 in the means." if absent else ""
    return rows, lacking


def _f1_bounds(corpus: Corpus, own: np.ndarray, c: int) -> dict[str, float]:
    def f1(confusion: np.ndarray) -> np.ndarray:
        return f1_of(confusion)[..., c]

    clusters = headline_of(corpus).clusters(corpus)
    interval = macro_f1_interval(
        corpus.labels, own.argmax(axis=1), corpus.classes, clusters, metric=f1
    )
    return {"f1_low": interval.low, "f1_high": interval.high}


def _confusion(scores: ClassificationScores) -> list[Row]:
    """Counts, and shares of each true class."""
    rows: list[Row] = []
    for true, counts in zip(scores.classes, scores.confusion, strict=True):
        total = sum(counts)
        rows += [
            {
                "true": true,
                "predicted": predicted,
                "utterances": count,
                "share": count / total if total else None,
            }
            for predicted, count in zip(scores.classes, counts, strict=True)
        ]
    return rows


def _calibration(curves: Mapping[str, Calibration]) -> list[Row]:
    return [
        {"system": name, "ece": one.ece, "overconfidence": one.overconfidence}
        for name, one in curves.items()
    ]


def _reliability(curves: Mapping[str, Calibration]) -> list[Row]:
    """The bins of each system's reliability diagram."""
    rows: list[Row] = []
    for name, one in curves.items():
        bins = zip(one.confidence, one.accuracy, one.utterances, strict=True)
        rows += [
            {"system": name, "confidence": x, "accuracy": y, "utterances": n} for x, y, n in bins
        ]
    return rows


def _agreement(corpus: Corpus, posteriors: Mapping[str, np.ndarray]) -> Found:
    """Every system's posteriors against the raters' votes."""
    votes_nc = _votes(corpus)
    if not votes_nc.any():
        return [], (
            "These utterances have no votes of several raters, "
            "so agreement with them cannot be measured."
        )
    rows: list[Row] = []
    for name, own in posteriors.items():
        one = agreement(votes_nc, own)
        correlation = one.entropy_correlation
        rows.append(
            {
                "system": name,
                "kl": one.kl,
                "cross_entropy": one.cross_entropy,
                "entropy_correlation": correlation if np.isfinite(correlation) else None,
                "utterances": one.utterances,
            }
        )
    return rows, ""


def _votes(corpus: Corpus) -> np.ndarray:
    """Vote distributions `[n, c]`; zeros for fewer than two votes, which give no distribution."""
    soft_nc = np.nan_to_num(corpus.soft[:, : len(corpus.classes)])
    soft_nc[(soft_nc.max(axis=1) == 1) & (corpus.votes.sum(axis=1) < 2)] = 0
    total_n = soft_nc.sum(axis=1, keepdims=True)
    return np.divide(soft_nc, total_n, out=np.zeros_like(soft_nc), where=total_n > 0)


def _groups(corpus: Corpus, own: np.ndarray) -> Found:
    """Scores by gender, length and agreement of the raters."""
    rows = [_group(one) for one in subgroup_scores(corpus, own)]
    known = {str(row["by"]) for row in rows}
    lacking = [by for by in ("gender", "length", "agreement of raters") if by not in known]
    what = ", ".join(lacking)
    return rows, f"Not known of these utterances, or too few: {what}." if lacking else ""


def _group(one: GroupScore) -> Row:
    interval = one.interval
    bounds = {"macro_f1_low": interval.low, "macro_f1_high": interval.high} if interval else {}
    size = {"utterances": one.utterances, "classes": one.classes, "macro_f1": one.macro_f1}
    return {"by": one.by, "group": one.group, **size, **bounds, "accuracy": one.accuracy}


def _worst(corpus: Corpus, own: np.ndarray) -> Found:
    """The wrong predictions of the highest confidence."""
    guess_n, classes = own.argmax(axis=1), corpus.classes
    wrong = np.flatnonzero((corpus.labels >= 0) & (guess_n != corpus.labels))
    order = np.argsort(-own[wrong, guess_n[wrong]], kind="stable")
    rows: Sequence[Row] = [
        {
            "utterance": str(corpus.frame["id"].iat[n]),
            "label": classes[corpus.labels[n]],
            "prediction": classes[guess_n[n]],
            "confidence": float(own[n, guess_n[n]]),
        }
        for n in wrong[order][:WORST]
    ]
    return list(rows), "" if rows else "No labelled utterance is wrong."
