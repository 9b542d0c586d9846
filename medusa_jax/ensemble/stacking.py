"""Stacking: logistic regression on the members' log-posteriors, as an alternative to Stage 3.

Legend: `n` utterance, `m` member, `c` class, `f` feature = m·c.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

from medusa_jax.ensemble.predictions import Predictions, stacked

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse strengths of regularisation to choose from."""
_FLOOR = -12.0
"""Least log-posterior that is distinguished from smaller ones: e⁻¹² is one in 160,000."""


def logistic_stacking(
    taught: Sequence[Predictions],
    labels: np.ndarray,
    learn: np.ndarray,
    folds: np.ndarray,
    members: Sequence[Predictions],
) -> Predictions:
    """Learn from the predictions `taught` at the positions `learn`, and apply it to `members`.

    `labels` `[n]` are class indices of all utterances (−1 is ignored); `folds` `[learn]` are the
    speaker-disjoint folds by which the regularisation is chosen (Macro-F1). Classes count alike
    however frequent, as in Stage 3; a class that `learn` lacks is never predicted. Attributes are
    the members' mean.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, make_scorer
    from sklearn.model_selection import GridSearchCV, PredefinedSplit

    labelled = labels[learn] >= 0
    rows = learn[labelled]
    # Not standardised: a member that hardly varies out of fold would be blown up on all other
    # utterances, which are predicted by the member of the whole training part and vary more.
    model = LogisticRegression(class_weight="balanced", max_iter=5000)
    scorer = make_scorer(f1_score, average="macro", zero_division=0)
    search = GridSearchCV(
        model, {"C": STRENGTHS}, scoring=scorer, cv=PredefinedSplit(folds[labelled])
    )
    search.fit(_features(taught)[rows], labels[rows])
    first, least = members[0], 4 * _FLOOR
    logits_nc = np.full((len(first.ids), len(first.classes)), least, np.float32)
    known = search.predict_log_proba(_features(members))
    logits_nc[:, search.classes_] = np.maximum(known, least)
    return Predictions(first.ids, first.classes, logits_nc, stacked(members)[1].mean(axis=1))


def _features(members: Sequence[Predictions]) -> np.ndarray:
    """Log-posteriors of all members side by side `[n, f]`, float64."""
    logits_nmc = stacked(members)[0].astype(np.float64)
    return np.maximum(log_softmax(logits_nmc, axis=2), _FLOOR).reshape(len(logits_nmc), -1)
