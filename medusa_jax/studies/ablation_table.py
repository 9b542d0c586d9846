"""An ablation's table: each row of changed members against the unchanged ones, member by member and over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from medusa_jax.evaluation.intervals import RESAMPLES
from medusa_jax.evaluation.seeds import SeedScores, seed_scores
from medusa_jax.evaluation.significance import Comparison, compare
from medusa_jax.evaluation.tables import Row
from medusa_jax.studies.study_file import MEAN
from medusa_jax.studies.tables import difference_columns, score_columns

WORDS = {"row": "row", "member": "member"}
Predictions = Mapping[str, Mapping[str, np.ndarray]]
"""By row and member: class indices `[r, n]` of its seeds."""


def ablation_rows(
    labels: np.ndarray,
    predictions: Predictions,
    classes: Sequence[str],
    speakers: Sequence[str | None] | pd.Series,
    *,
    resamples: int = RESAMPLES,
) -> list[Row]:
    """A line for each row and member, and one for the mean over the row's members; `labels` `[n]`, −1: not scored.

    Every row but the first is compared with the first one, over the members that it has. Holm's correction runs over the
    mean lines, and over all members' lines. Raises `EvaluationError` where the scores themselves would.
    """
    base, *rows = predictions
    members = {
        (row, member): guess for row, own in predictions.items() for member, guess in own.items()
    }
    means = {(row, MEAN): _together(own) for row, own in predictions.items()}
    like = {
        (row, MEAN): _together({member: predictions[base][member] for member in predictions[row]})
        for row in rows
    }
    like |= {
        (row, member): predictions[base][member] for row in rows for member in predictions[row]
    }
    tested: dict[tuple[str, str], Comparison] = {}
    for family in (members, means):
        whose = [line for line in family if line[0] != base]
        systems = {
            f"{end} {line}": side[line]
            for end, side in (("one", family), ("other", like))
            for line in whose
        }
        pairs = [(f"one {line}", f"other {line}") for line in whose]
        tested |= dict(
            zip(
                whose,
                compare(labels, systems, pairs, classes, speakers, resamples=resamples),
                strict=True,
            )
        )
    lines: list[Row] = []
    for row, own in predictions.items():
        scores = {
            member: seed_scores(labels, guess, classes, speakers, resamples=resamples)
            for member, guess in own.items()
        }
        whole = seed_scores(labels, means[row, MEAN], classes, speakers, resamples=resamples)
        scores[MEAN] = replace(whole, by_seed=_mean_by_seed(list(scores.values())))
        for member, found in scores.items():
            lines.append(
                {
                    "row": row,
                    "member": member,
                    **score_columns(found),
                    **difference_columns(tested.get((row, member))),
                }
            )
    return lines


def _together(members: Mapping[str, np.ndarray]) -> np.ndarray:
    """All seeds of all members, `[m·r, n]`: their mean score is the mean over members of the means over seeds."""
    return np.concatenate(list(members.values()))


def _mean_by_seed(members: Sequence[SeedScores]) -> tuple[float, ...]:
    """The mean over members of their k-th seed's score, for each k: how far the mean moves when all are trained anew."""
    return tuple(np.mean([one.by_seed for one in members], axis=0).tolist())
