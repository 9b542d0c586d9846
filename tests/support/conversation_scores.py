"""Weighted F1 of logistic regressions on generated dialogues, with and without context."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def posteriors(table: pd.DataFrame, inputs: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Log posteriors `[turn, class]` learned from the training part.

    Those of the training part are out of fold, whole circles of speakers at a time.
    """
    train = (table["split"] == "Train").to_numpy()
    circles = (table["speaker"] // 5)[train]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
    labels = table["emotion"][train]
    posterior = np.zeros((len(table), labels.nunique()))
    posterior[train] = cross_val_predict(
        model, inputs[train], labels, groups=circles, cv=GroupKFold(3), method="predict_proba"
    )
    posterior[~train] = model.fit(inputs[train], labels).predict_proba(inputs[~train])
    return np.log(posterior + 1e-3)


def context_of(table: pd.DataFrame, posterior: np.ndarray) -> np.ndarray:
    """Log posteriors from a turn's own, those of its neighbours, and the mean of its dialogue's."""
    dialogue = table["dialogue"].to_numpy()
    parts = [posterior]
    for step in (-2, -1, 1, 2):
        same = dialogue == np.roll(dialogue, step)
        parts.append(np.roll(posterior, step, axis=0) * same[:, None])
    for by in ("dialogue", ["dialogue", "speaker"]):
        means = pd.DataFrame(posterior).groupby([table[key] for key in np.atleast_1d(by)])
        parts.append(means.transform("mean").to_numpy())
    return posteriors(table, np.concatenate(parts, axis=1), strength=0.03)


def weighted_f1(table: pd.DataFrame, posterior: np.ndarray) -> float:
    """Weighted F1 on the test part."""
    test = (table["split"] == "Test1").to_numpy()
    names = np.array(sorted(table["emotion"].unique()))
    predicted = names[posterior[test].argmax(axis=1)]
    return float(f1_score(table["emotion"][test], predicted, average="weighted"))
