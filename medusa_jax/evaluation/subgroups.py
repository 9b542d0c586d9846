"""Scores by group: gender, length of the utterance, agreement of the raters."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.headline import headline_of
from medusa_jax.evaluation.intervals import Interval, macro_f1_interval
from medusa_jax.evaluation.metrics import classification_scores, f1_of

FEWEST = 10  # utterances; smaller groups have no meaningful score


@dataclass(frozen=True)
class GroupScore:
    """One group: the grouping `by`, its name, its scores over `utterances` labelled utterances.

    Macro-F1 runs over the `classes` that occur in the group, so groups with other classes compare
    only loosely.
    """

    by: str
    group: str
    utterances: int
    classes: int
    macro_f1: float
    accuracy: float
    interval: Interval | None


def subgroup_scores(corpus: Corpus, posteriors: np.ndarray) -> list[GroupScore]:
    """Scores of `posteriors` `[n, c]` in every group with at least ten labelled utterances.

    Groupings that the corpus has no data for are left out.
    """
    found = []
    for by, group, member_n in _groups(corpus):
        rows = np.flatnonzero(member_n & (corpus.labels >= 0))
        if len(rows) >= FEWEST:
            found.append(_scored(by, group, corpus, rows, posteriors[rows]))
    return found


def _scored(
    by: str, group: str, corpus: Corpus, rows: np.ndarray, posteriors: np.ndarray
) -> GroupScore:
    scores = classification_scores(corpus.labels[rows], posteriors, corpus.classes)
    f1_c = np.array(scores.f1)[np.unique(corpus.labels[rows])]
    return GroupScore(
        by,
        group,
        len(rows),
        len(f1_c),
        float(f1_c.mean()),
        scores.accuracy,
        _interval(corpus, rows, posteriors),
    )


def _interval(corpus: Corpus, rows: np.ndarray, posteriors: np.ndarray) -> Interval | None:
    """Interval of the Macro-F1 over the classes present; None with fewer than two clusters."""
    present = np.unique(corpus.labels[rows])

    def metric(confusion: np.ndarray) -> np.ndarray:
        return np.asarray(f1_of(confusion)[..., present].mean(axis=-1))

    clusters = headline_of(corpus).clusters(corpus).iloc[rows]
    try:
        return macro_f1_interval(
            corpus.labels[rows], posteriors.argmax(axis=1), corpus.classes, clusters, metric=metric
        )
    except EvaluationError:
        return None


def _groups(corpus: Corpus) -> Iterator[tuple[str, str, np.ndarray]]:
    """The grouping, the group's name, and the mask `[n]` of its utterances."""
    frame = corpus.frame
    for gender in sorted(frame["gender"].dropna().unique()):
        yield "gender", str(gender), (frame["gender"] == gender).to_numpy()
    yield from _lengths(frame["seconds"].to_numpy(np.float64))
    yield from _agreements(corpus)


def _lengths(seconds: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """Three groups of equally many utterances."""
    known = np.isfinite(seconds)
    if known.any() and np.ptp(seconds[known]) > 0:
        low, high = np.quantile(seconds[known], [1 / 3, 2 / 3])
        yield "length", f"up to {low:.1f} s", known & (seconds <= low)
        yield "length", f"{low:.1f} to {high:.1f} s", known & (seconds > low) & (seconds <= high)
        yield "length", f"over {high:.1f} s", known & (seconds > high)


def _agreements(corpus: Corpus) -> Iterator[tuple[str, str, np.ndarray]]:
    """Groups by the share of the most frequent vote, where several raters voted."""
    frame = corpus.frame
    votes_nc = frame[[f"votes_{name}" for name in (*corpus.classes, "other")]].to_numpy(np.float64)
    total_n = votes_nc.sum(axis=1)
    share_n = np.divide(
        votes_nc.max(axis=1), total_n, out=np.full(len(frame), np.nan), where=total_n > 1
    )
    if np.isfinite(share_n).any() and np.nanmin(share_n) < 1:
        yield "agreement of raters", "below 60 %", share_n < 0.6
        yield "agreement of raters", "60 to 80 %", (share_n >= 0.6) & (share_n < 0.8)
        yield "agreement of raters", "80 % and more", share_n >= 0.8
