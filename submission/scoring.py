"""Score a submission against the answers, by scikit-learn and audmetric."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medusa_jax.errors import SubmissionError
from submission.answers import read_answers
from submission.challenges import ATTRIBUTES, CLASS_OF, CLASSES, COLUMN_OF, Challenge, Kind, Task
from submission.validator import check


@dataclass(frozen=True)
class Scores:
    """`metrics` by name, the ranking metric first, over `scored` files.

    `left_out` files have no answer (O, X, unrated).
    """

    task: Task
    metrics: Mapping[str, float]
    scored: int
    left_out: int

    @property
    def ranking(self) -> float:
        """The value of the challenge's ranking metric."""
        return self.metrics[self.task.ranking_metric]


def score(path: Path, answers: Path, challenge: Challenge, kind: Kind) -> Scores:
    """Check the file at `path` against the file names in `answers`, then score it.

    The answers are the test set (with a column `Split_Set`, those of Test3), so any labelled set
    can be scored. Raises `SubmissionError` for an invalid submission, answers that cannot be read,
    or no answer.
    """
    truth = read_answers(answers, kind, test_only=True)
    task = challenge.with_names(truth.index).task(kind)
    check(path, task)
    predicted = read_submission(path, task).loc[truth.index]
    answered = truth.notna().all(axis=1)
    if not answered.any():
        raise SubmissionError(
            "no file has an answer to score by",
            where=answers,
            hint="give a file with the true labels",
        )
    measure = categorical_metrics if kind == "categorical" else attribute_metrics
    return Scores(
        task,
        measure(truth[answered], predicted[answered]),
        int(answered.sum()),
        int((~answered).sum()),
    )


def read_submission(path: Path, task: Task) -> pd.DataFrame:
    """A valid submission, indexed by `FileName`: column `emotion` (a class) or three attributes."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, index_col="FileName")
    if task.kind == "categorical":
        return pd.DataFrame({"emotion": frame["EmoClass"].map(CLASS_OF)})
    return pd.DataFrame(
        {a: [float(value) for value in frame[c]] for a, c in COLUMN_OF.items()}, index=frame.index
    )


def categorical_metrics(truth: pd.DataFrame, predicted: pd.DataFrame) -> dict[str, float]:
    """Macro-F1, Micro-F1, accuracy, UAR and the F1 of each class from two `emotion` columns.

    Rows are aligned. The means run over all 8 classes: an absent class counts 0 in Macro-F1, as on
    the challenge's leaderboard, and in UAR.
    """
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    y_true, y_pred = truth["emotion"].tolist(), predicted["emotion"].tolist()
    over: dict[str, Any] = {"labels": list(CLASSES), "zero_division": 0}
    each = f1_score(y_true, y_pred, average=None, **over)
    return {
        "macro_f1": float(each.mean()),
        "micro_f1": float(f1_score(y_true, y_pred, average="micro", **over)),
        "accuracy": float(accuracy_score(y_true, y_pred)),
        "uar": float(recall_score(y_true, y_pred, average="macro", **over)),
        **{f"f1_{name}": float(value) for name, value in zip(CLASSES, each, strict=True)},
    }


def attribute_metrics(truth: pd.DataFrame, predicted: pd.DataFrame) -> dict[str, float]:
    """The mean CCC and the CCC of each attribute over the whole set (population variance).

    Rows are aligned. Raises `SubmissionError` where a CCC is not defined (a single file, or both
    sides constant and equal).
    """
    from audmetric import concordance_cc

    each = {
        f"ccc_{a}": float(concordance_cc(truth[a].to_numpy(float), predicted[a].to_numpy(float)))
        for a in ATTRIBUTES
    }
    undefined = [name for name, value in each.items() if value != value]
    if undefined:
        raise SubmissionError(
            f"{', '.join(undefined)} is not defined for {len(truth)} file(s) without variation",
            hint="score more files",
        )
    return {"ccc_mean": sum(each.values()) / len(each), **each}
