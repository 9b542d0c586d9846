"""The weighted vote: members' posteriors summed with weights fitted on speech new to the members.

Legend: `n` utterance, `m` member, `c` class, `a` attribute.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import softmax

from medusa_jax.ensemble.predictions import Predictions, stacked
from medusa_jax.ensemble.recalibration import with_target
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.metrics import check_finite, classification_scores

_LEAST = 1e-12
"""Least posterior of a member. It keeps logarithms finite and the problem convex."""
_GAP = 1e-6
"""Largest distance from the least cross-entropy, in nats."""


@dataclass(frozen=True)
class FittedWeights:
    """Weights of the members, and scores of the part that they were fitted on.

    Each score is a pair: with even weights, and with these.
    """

    weights: tuple[float, ...]
    macro_f1: tuple[float, float]
    cross_entropy: tuple[float, float]


def fitted_weights(
    members: Sequence[Predictions],
    targets: Float[np.ndarray, "n c"],
    labels: Int[np.ndarray, " n"],
) -> FittedWeights:
    """The weights of `fit_weights`; Macro-F1 is that of the `labels`, −1 without consensus.

    Raises `EvaluationError` as `fit_weights` does, or if no utterance has a label.
    """
    fitted_m = fit_weights(members, targets)
    even_m = np.full(len(members), 1 / len(members))

    def macro_f1(weights: np.ndarray) -> float:
        found = weighted_vote(members, weights)
        return classification_scores(labels, found.logits, found.classes).macro_f1

    return FittedWeights(
        tuple(fitted_m.tolist()),
        (macro_f1(even_m), macro_f1(fitted_m)),
        (cross_entropy(members, even_m, targets), cross_entropy(members, fitted_m, targets)),
    )


def fit_weights(
    members: Sequence[Predictions], targets: Float[np.ndarray, "n c"]
) -> Float[np.ndarray, " m"]:
    """Weights `w ≥ 0, Σw = 1` of the members' posteriors with the least cross-entropy, by SLSQP.

    `targets` are distributions; rows of zeros are ignored. The problem is convex and starts from
    even weights, so equal arguments give equal weights. Raises `EvaluationError` if all rows are
    zeros, a member's logits are not finite, or the optimiser stops short of the minimum.
    """
    posteriors_nmc, targets_nc = _labelled(members, targets)
    count = len(members)
    found = minimize(
        _loss,
        np.full(count, 1 / count),
        args=(posteriors_nmc, targets_nc),
        jac=True,
        bounds=[(0, 1)] * count,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    w_m = np.clip(found.x, 0, None)
    w_m /= w_m.sum()
    # The loss is convex and its gradient is −1 along w: no weights are better by more than this.
    gap = -_loss(w_m, posteriors_nmc, targets_nc)[1].min() - 1
    if not gap <= _GAP:
        raise EvaluationError(f"the members' weights could not be fitted: {found.message}")
    return w_m


def cross_entropy(
    members: Sequence[Predictions],
    weights: Float[np.ndarray, " m"],
    targets: Float[np.ndarray, "n c"],
) -> float:
    """Mean of −Σ_c target · log(Σ_m w · posterior) over the rows with a target, in nats.

    Raises `EvaluationError` as `fit_weights` does.
    """
    return _loss(weights, *_labelled(members, targets))[0]


def weighted_vote(members: Sequence[Predictions], weights: Float[np.ndarray, " m"]) -> Predictions:
    """The weighted mean of the members' posteriors (as logarithms) and attributes."""
    logits, attributes = stacked(members)
    mixed_nc = np.einsum("nmc,m->nc", softmax(logits, axis=2), weights)
    logits_nc = np.log(np.maximum(mixed_nc, _LEAST)).astype(np.float32)
    attributes_na = np.einsum("nma,m->na", attributes, weights).astype(np.float32)
    return Predictions(members[0].ids, members[0].classes, logits_nc, attributes_na)


def _labelled(
    members: Sequence[Predictions], targets: np.ndarray
) -> tuple[Float[np.ndarray, "n m c"], Float[np.ndarray, "n c"]]:
    """Posteriors and targets of the rows that have a target, each target's sum 1, in float64."""
    for number, one in enumerate(members, start=1):
        check_finite(one.logits, f"logits of member {number}")
    known_n = with_target(targets, "weights")
    posteriors_nmc = softmax(stacked(members)[0][known_n].astype(np.float64), axis=2)
    targets_nc = targets[known_n].astype(np.float64)
    return np.maximum(posteriors_nmc, _LEAST), targets_nc / targets_nc.sum(axis=1, keepdims=True)


def _loss(
    w_m: np.ndarray, posteriors_nmc: np.ndarray, targets_nc: np.ndarray
) -> tuple[float, np.ndarray]:
    """The mixture's mean cross-entropy, and its gradient by the weights."""
    mixed_nc = np.maximum(np.einsum("nmc,m->nc", posteriors_nmc, w_m), _LEAST)
    gradient_m = -np.einsum("nc,nmc->m", targets_nc / mixed_nc, posteriors_nmc)
    return float(-(targets_nc * np.log(mixed_nc)).sum() / len(mixed_nc)), gradient_m / len(mixed_nc)
