"""Results by group: gender, how long the utterance is, how far the raters agreed, speaker."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.balanced import f1_of
from medusa_jax.evaluation.intervals import Interval, macro_f1_interval
from medusa_jax.evaluation.metrics import classification_scores

FEWEST = 10  # below this a group's score says nothing


@dataclass(frozen=True)
class GroupScore:
    """One group: what it is grouped `by`, its name, its scores over `utterances` labelled utterances.

    Macro-F1 runs over the classes that the group has (`classes` of them), so groups with other classes compare only loosely.
    """

    by: str
    group: str
    utterances: int
    classes: int
    macro_f1: float
    accuracy: float
    interval: Interval | None


def subgroup_scores(corpus: Corpus, posteriors: np.ndarray) -> list[GroupScore]:
    """Scores of `posteriors` `[n, c]` in every group with at least ten labelled utterances; groups that the corpus does not know are left out."""
    found = []
    for by, group, member_n in _groups(corpus):
        rows = np.flatnonzero(member_n & (corpus.labels >= 0))
        if len(rows) < FEWEST:
            continue
        labels, chosen = corpus.labels[rows], posteriors[rows]
        scores = classification_scores(labels, chosen, corpus.classes)
        present = [
            f1
            for name, f1 in zip(corpus.classes, scores.f1, strict=True)
            if name not in scores.absent
        ]
        found.append(
            GroupScore(
                by,
                group,
                len(rows),
                len(present),
                float(np.mean(present)),
                scores.accuracy,
                _interval(corpus, rows, chosen),
            )
        )
    return found


def _interval(corpus: Corpus, rows: np.ndarray, posteriors: np.ndarray) -> Interval | None:
    """Interval of the Macro-F1 over the classes present, if there are two speakers."""
    present = np.unique(corpus.labels[rows])

    def metric(confusion: np.ndarray) -> np.ndarray:
        return np.asarray(f1_of(confusion)[..., present].mean(axis=-1))

    speakers = corpus.frame["speaker"].iloc[rows]
    try:
        return macro_f1_interval(
            corpus.labels[rows], posteriors.argmax(axis=1), corpus.classes, speakers, metric=metric
        )
    except EvaluationError:
        return None


def _groups(corpus: Corpus) -> Iterator[tuple[str, str, np.ndarray]]:
    """What it is grouped by, the group's name, and who belongs to it `[n]`."""
    frame = corpus.frame
    for gender in sorted(frame["gender"].dropna().unique()):
        yield "gender", str(gender), (frame["gender"] == gender).to_numpy()
    seconds = frame["seconds"].to_numpy(np.float64)
    known = np.isfinite(seconds)
    if known.any() and np.ptp(seconds[known]) > 0:
        low, high = np.quantile(seconds[known], [1 / 3, 2 / 3])
        yield "length", f"up to {low:.1f} s", known & (seconds <= low)
        yield "length", f"{low:.1f} to {high:.1f} s", known & (seconds > low) & (seconds <= high)
        yield "length", f"over {high:.1f} s", known & (seconds > high)
    votes_nc = frame[[f"votes_{name}" for name in (*corpus.classes, "other")]].to_numpy(np.float64)
    total_n = votes_nc.sum(axis=1)
    share_n = np.divide(
        votes_nc.max(axis=1), total_n, out=np.full(len(frame), np.nan), where=total_n > 1
    )
    if np.isfinite(share_n).any() and np.nanmin(share_n) < 1:
        yield "agreement of raters", "below 60 %", share_n < 0.6
        yield "agreement of raters", "60 to 80 %", (share_n >= 0.6) & (share_n < 0.8)
        yield "agreement of raters", "80 % and more", share_n >= 0.8
