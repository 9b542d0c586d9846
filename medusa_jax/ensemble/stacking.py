"""Stacking: logistic regression on the members' log-posteriors, the usual alternative to a trained meta-classifier.

Legend: `n` utterance, `m` member, `c` class, `f` feature = m·c.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

from medusa_jax.ensemble.predictions import Predictions, stacked

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse strengths of regularisation to choose from."""
_FLOOR = -12.0  # a log-posterior below it says no more: e⁻¹² is one in 160,000


def logistic_stacking(
    taught: Sequence[Predictions],
    labels: np.ndarray,
    learn: np.ndarray,
    folds: np.ndarray,
    members: Sequence[Predictions],
) -> Predictions:
    """Learn from the `taught` outputs at the positions `learn` and apply that to all of `members`' outputs; attributes: the members' mean.

    `labels` `[n]` are class indices of all utterances (−1 does not count), `folds` `[learn]` the speaker-disjoint folds by which
    the regularisation is chosen (Macro-F1). Classes count the same however frequent, as in Stage 3; one that `learn` lacks is
    never said.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, make_scorer
    from sklearn.model_selection import GridSearchCV, PredefinedSplit

    labelled = labels[learn] >= 0
    rows = learn[labelled]
    # Not standardised: a member that hardly varies out of fold would be blown up where the members that heard everybody vary more.
    model = LogisticRegression(class_weight="balanced", max_iter=5000)
    scorer = make_scorer(f1_score, average="macro", zero_division=0)
    search = GridSearchCV(
        model, {"C": STRENGTHS}, scoring=scorer, cv=PredefinedSplit(folds[labelled])
    )
    search.fit(_features(taught)[rows], labels[rows])
    logits_nc = np.full((len(members[0].ids), len(members[0].classes)), 4 * _FLOOR, np.float32)
    logits_nc[:, search.classes_] = np.maximum(
        search.predict_log_proba(_features(members)), 4 * _FLOOR
    )
    return Predictions(
        members[0].ids, members[0].classes, logits_nc, stacked(members)[1].mean(axis=1)
    )


def _features(members: Sequence[Predictions]) -> np.ndarray:
    """Log-posteriors of all members side by side `[n, f]`, float64."""
    logits_nmc = stacked(members)[0].astype(np.float64)
    return np.maximum(log_softmax(logits_nmc, axis=2), _FLOOR).reshape(len(logits_nmc), -1)
