"""Calibration of posteriors against the labels, and their agreement with the raters' votes.

Members train on soft targets so that posteriors reflect how much the raters agreed; Macro-F1
does not measure that.

Legend: `n` utterance, `c` class, `k` bin.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import rel_entr
from scipy.stats import entropy, spearmanr

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.metrics import check_finite


@dataclass(frozen=True)
class Calibration:
    """Reliability of the first choice in bins of equally many utterances.

    `confidence[k]` is a bin's mean highest posterior, `accuracy[k]` the share that was right,
    `utterances[k]` its size. `ece` is the mean distance of the two, weighted by size (0 to 1);
    `overconfidence` is their mean signed difference.
    """

    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    utterances: tuple[int, ...]
    ece: float
    overconfidence: float


@dataclass(frozen=True)
class Agreement:
    """Posteriors against the vote distributions of `utterances` utterances.

    `kl` is the mean of KL(votes ‖ posterior) in nats; `cross_entropy` adds the votes' own entropy.
    `entropy_correlation` is Spearman's ρ between the entropy of the votes and that of the
    posterior; NaN where one of them never varies.
    """

    kl: float
    cross_entropy: float
    entropy_correlation: float
    utterances: int


def calibration(
    labels: np.ndarray, posteriors: Float[np.ndarray, "n c"], bins: int = 10
) -> Calibration:
    """Calibration of the first choice over the utterances whose label (class index) is not −1.

    Bins hold equally many utterances; of equally wide bins most would be nearly empty. Raises
    `EvaluationError` without a labelled utterance, or for rows that do not sum to 1.
    """
    posteriors = _distributions(posteriors, "posteriors")[labels >= 0]
    truth_n = labels[labels >= 0]
    if not len(truth_n):
        raise EvaluationError(
            "no utterance has a label to calibrate against", hint="choose a split that is labelled"
        )
    confidence_n, right_n = posteriors.max(axis=1), posteriors.argmax(axis=1) == truth_n
    groups = [g for g in np.array_split(np.argsort(confidence_n, kind="stable"), bins) if len(g)]
    confidence = np.array([confidence_n[g].mean() for g in groups])
    accuracy = np.array([right_n[g].mean() for g in groups])
    sizes = np.array([len(g) for g in groups])
    return Calibration(
        tuple(confidence.tolist()),
        tuple(accuracy.tolist()),
        tuple(sizes.tolist()),
        ece=float(np.average(np.abs(confidence - accuracy), weights=sizes)),
        overconfidence=float(confidence_n.mean() - right_n.mean()),
    )


def agreement(votes: Float[np.ndarray, "n c"], posteriors: Float[np.ndarray, "n c"]) -> Agreement:
    """Compare posteriors with vote distributions.

    A row of NaN or zeros in `votes` has no votes and is left out. Raises `EvaluationError` if no
    row has votes, or for rows that do not sum to 1.
    """
    voted_n = np.nan_to_num(votes).sum(axis=1) > 0
    if not voted_n.any():
        raise EvaluationError("no utterance has votes to agree with")
    votes_nc = _distributions(votes[voted_n], "votes")
    posteriors_nc = np.maximum(_distributions(posteriors[voted_n], "posteriors"), 1e-12)
    kl_n = rel_entr(votes_nc, posteriors_nc).sum(axis=1)
    votes_n, posteriors_n = entropy(votes_nc, axis=1), entropy(posteriors_nc, axis=1)
    varies = np.ptp(votes_n) > 0 and np.ptp(posteriors_n) > 0
    correlation = float(spearmanr(votes_n, posteriors_n).statistic) if varies else float("nan")
    return Agreement(
        float(kl_n.mean()), float((kl_n + votes_n).mean()), correlation, int(voted_n.sum())
    )


def _distributions(rows_nc: np.ndarray, name: str) -> np.ndarray:
    """The rows in float64. Raises `EvaluationError` unless each is finite, ≥ 0 and sums to 1."""
    rows_nc = np.asarray(rows_nc, np.float64)
    check_finite(rows_nc, name)
    bad_n = (rows_nc < 0).any(axis=1) | (np.abs(rows_nc.sum(axis=1) - 1) > 1e-3)
    if bad_n.any():
        raise EvaluationError(
            f"the {name} of {bad_n.sum()} utterance(s) are no distribution",
            where=f"row {bad_n.argmax()}",
        )
    return rows_nc
