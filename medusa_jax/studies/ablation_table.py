"""An ablation's table: each row of changed members against the unchanged, by member and overall."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from medusa_jax.evaluation.headline import SPEECH, Headline
from medusa_jax.evaluation.intervals import RESAMPLES
from medusa_jax.evaluation.seeds import SeedScores, seed_scores
from medusa_jax.evaluation.significance import Comparison, compare, difference_columns
from medusa_jax.evaluation.tables import Row
from medusa_jax.studies.study import score_columns
from medusa_jax.studies.study_file import MEAN

WORDS = {"row": "row", "member": "member"}
Key = tuple[str, str]
"""A row and a member."""
Predictions = Mapping[str, Mapping[str, np.ndarray]]
"""Class indices `[r, n]` of the seeds of each row and member."""


def ablation_rows(
    labels: np.ndarray,
    predictions: Predictions,
    classes: Sequence[str],
    clusters: Sequence[str | None] | pd.Series,
    *,
    headline: Headline = SPEECH,
    resamples: int = RESAMPLES,
) -> list[Row]:
    """A line for each row and member, and one for the mean over the row's members.

    `labels` `[n]` are class indices, −1: not scored. Every row but the first is compared with the
    first one, over the row's own members. Holm's correction runs over the lines of single members,
    and separately over the mean lines. Raises `EvaluationError` where the scores themselves would.
    """

    def compared(pairs: Mapping[Key, tuple[np.ndarray, np.ndarray]]) -> dict[Key, Comparison]:
        names = {key: (f"one {key}", f"other {key}") for key in pairs}
        systems: dict[str, np.ndarray] = {}
        for key, two in pairs.items():
            systems |= dict(zip(names[key], two, strict=True))
        tests = list(names.values())
        found = compare(
            labels,
            systems,
            tests,
            classes,
            clusters,
            metric=headline.metric,
            resamples=resamples,
            cluster=headline.cluster,
        )
        return dict(zip(names, found, strict=True))

    def scored(guess: np.ndarray) -> SeedScores:
        return seed_scores(labels, guess, classes, clusters, headline=headline, resamples=resamples)

    tested = compared(_member_pairs(predictions)) | compared(_mean_pairs(predictions))
    lines: list[Row] = []
    for row, own in predictions.items():
        scores = {member: scored(guess) for member, guess in own.items()}
        by_seed = _mean_by_seed(list(scores.values()))
        scores[MEAN] = replace(scored(_together(own)), by_seed=by_seed)
        for member, found in scores.items():
            difference = difference_columns(tested.get((row, member)))
            lines.append({"row": row, "member": member, **score_columns(found), **difference})
    return lines


def _member_pairs(predictions: Predictions) -> dict[Key, tuple[np.ndarray, np.ndarray]]:
    """Each changed member and the same member of the first row."""
    base, *rows = predictions
    return {
        (row, member): (guess, predictions[base][member])
        for row in rows
        for member, guess in predictions[row].items()
    }


def _mean_pairs(predictions: Predictions) -> dict[Key, tuple[np.ndarray, np.ndarray]]:
    """Each row's members together and the same members of the first row."""
    base, *rows = predictions
    pairs = {}
    for row in rows:
        same = {member: predictions[base][member] for member in predictions[row]}
        pairs[row, MEAN] = _together(predictions[row]), _together(same)
    return pairs


def _together(members: Mapping[str, np.ndarray]) -> np.ndarray:
    """All seeds of all members, `[m·r, n]`: their mean score is that of the members' means."""
    return np.concatenate(list(members.values()))


def _mean_by_seed(members: Sequence[SeedScores]) -> tuple[float, ...]:
    """The mean over members of their k-th seed's score, for each k."""
    return tuple(np.mean([one.by_seed for one in members], axis=0).tolist())
