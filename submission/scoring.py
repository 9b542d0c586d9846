"""Score a submission against the answers: the numbers a leaderboard shows, by scikit-learn and audmetric."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medusa_jax.errors import SubmissionError
from submission.answers import read_answers
from submission.challenges import ATTRIBUTES, CLASS_OF, CLASSES, COLUMN_OF, Challenge, Kind, Task
from submission.validator import check


@dataclass(frozen=True)
class Scores:
    """`metrics` by name, the ranking metric first; `scored` files, and `left_out` that have no answer (O, X, unrated)."""

    task: Task
    metrics: Mapping[str, float]
    scored: int
    left_out: int

    @property
    def ranking(self) -> float:
        """The number the challenge ranks by."""
        return self.metrics[self.task.ranking_metric]


def score(path: Path, answers: Path, challenge: Challenge, kind: Kind) -> Scores:
    """Check the file at `path` against the file names in `answers`, then score it.

    The answers decide which files belong to the test set (with a column `Split_Set`, those of Test3), so any labelled set
    can be practised on. Raises `SubmissionError`
    for an invalid submission, answers that cannot be read, or none to score by.
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
    """A valid submission, indexed by `FileName`: column `emotion` (a class) or the three attributes, exactly as written."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, index_col="FileName")
    if task.kind == "categorical":
        return pd.DataFrame({"emotion": frame["EmoClass"].map(CLASS_OF)})
    return pd.DataFrame(
        {a: [float(value) for value in frame[c]] for a, c in COLUMN_OF.items()}, index=frame.index
    )


def categorical_metrics(truth: pd.DataFrame, predicted: pd.DataFrame) -> dict[str, float]:
    """Macro-F1 over the 8 classes, Micro-F1, accuracy, UAR and the F1 of each class from two `emotion` columns, rows aligned.

    The means run over all 8 classes: one that nobody has counts 0 in Macro-F1, as on the leaderboard, and in UAR.
    """
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    y_true, y_pred = truth["emotion"].tolist(), predicted["emotion"].tolist()
    each = f1_score(y_true, y_pred, labels=list(CLASSES), average=None, zero_division=0)
    return {
        "macro_f1": float(each.mean()),
        "micro_f1": float(
            f1_score(y_true, y_pred, labels=list(CLASSES), average="micro", zero_division=0)
        ),
        "accuracy": float(accuracy_score(y_true, y_pred)),
        "uar": float(
            recall_score(y_true, y_pred, labels=list(CLASSES), average="macro", zero_division=0)
        ),
        **{f"f1_{name}": float(value) for name, value in zip(CLASSES, each, strict=True)},
    }


def attribute_metrics(truth: pd.DataFrame, predicted: pd.DataFrame) -> dict[str, float]:
    """The mean CCC and the CCC of each attribute over the whole set (population variance), rows aligned.

    Raises `SubmissionError` where a CCC is not defined (a single file, or both sides constant and equal).
    """
    import audmetric

    each = {
        f"ccc_{a}": float(
            audmetric.concordance_cc(truth[a].to_numpy(float), predicted[a].to_numpy(float))
        )
        for a in ATTRIBUTES
    }
    undefined = [name for name, value in each.items() if value != value]
    if undefined:
        raise SubmissionError(
            f"{', '.join(undefined)} is not defined for {len(truth)} file(s) without variation",
            hint="score more files",
        )
    return {"ccc_mean": sum(each.values()) / len(each), **each}
