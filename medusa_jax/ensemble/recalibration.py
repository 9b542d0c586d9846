"""What is fitted to held-out utterances: weights of the members (as the WavLM paper does), a temperature, the prior behind posteriors.

Legend: `n` utterance, `m` member, `c` class.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from medusa_jax.ensemble.predictions import Predictions, stacked
from medusa_jax.errors import EvaluationError

_LEAST = 1e-12  # what a posterior of 0 counts as in a logarithm


def fit_weights(
    members: Sequence[Predictions], targets: Float[np.ndarray, "n c"]
) -> Float[np.ndarray, " m"]:
    """Weights `w ≥ 0, Σw = 1` of the members' posteriors that minimise the cross-entropy with `targets`, by SLSQP.

    `targets` are distributions; rows that sum to 0 do not count. Raises `EvaluationError` if none counts, or if the
    optimiser gives up.
    """
    posteriors_nmc = softmax(stacked(members)[0].astype(np.float64), axis=2)
    told_n = targets.sum(axis=1) > 0
    if not told_n.any():
        raise EvaluationError(
            "no utterance has a target to fit weights on", hint="fit them on a labelled part"
        )
    posteriors_nmc, targets_nc = posteriors_nmc[told_n], targets[told_n].astype(np.float64)

    def loss(w_m: np.ndarray) -> tuple[float, np.ndarray]:
        mixed_nc = np.maximum(np.einsum("nmc,m->nc", posteriors_nmc, w_m), _LEAST)
        gradient_m = -np.einsum("nc,nmc->m", targets_nc / mixed_nc, posteriors_nmc)
        return -(targets_nc * np.log(mixed_nc)).sum() / len(targets_nc), gradient_m / len(
            targets_nc
        )

    even_m = np.full(len(members), 1 / len(members))
    sums_to_one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    found = minimize(
        loss,
        even_m,
        jac=True,
        bounds=[(0, 1)] * len(members),
        constraints=[sums_to_one],
        method="SLSQP",
        options={"ftol": 1e-10},
    )
    if not found.success:
        raise EvaluationError(f"the members' weights could not be fitted: {found.message}")
    w_m = np.clip(found.x, 0, None)
    return w_m / w_m.sum()


def weighted_vote(members: Sequence[Predictions], weights: Float[np.ndarray, " m"]) -> Predictions:
    """The weighted mean of the members' posteriors (as logarithms) and attributes."""
    logits, attributes = stacked(members)
    mixed_nc = np.einsum("nmc,m->nc", softmax(logits, axis=2), weights)
    said = np.log(np.maximum(mixed_nc, _LEAST)).astype(np.float32)
    return Predictions(
        members[0].ids,
        members[0].classes,
        said,
        np.einsum("nma,m->na", attributes, weights).astype(np.float32),
    )


def temperature_of(outputs: Predictions, targets: Float[np.ndarray, "n c"]) -> float:
    """The temperature T > 0 at which softmax(logits / T) has the least cross-entropy with `targets` (Guo et al. 2017)."""
    told_n = targets.sum(axis=1) > 0
    if not told_n.any():
        raise EvaluationError(
            "no utterance has a target to fit a temperature on", hint="fit it on a labelled part"
        )
    logits_nc, targets_nc = outputs.logits[told_n].astype(np.float64), targets[told_n]

    def loss(log_t: float) -> float:
        return float(-(targets_nc * log_softmax(logits_nc / np.exp(log_t), axis=1)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))


def tempered(outputs: Predictions, temperature: float) -> Predictions:
    """The same outputs at this temperature: first choices stay, confidence changes."""
    return Predictions(
        outputs.ids,
        outputs.classes,
        (outputs.logits / temperature).astype(np.float32),
        outputs.attributes,
    )


def learned_prior(outputs: Predictions, labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " c"]:
    """The class prior `[c]` that the posteriors seem to have been learned under, from utterances with labels (−1 does not count).

    Frequencies of the training part are not it: a member learns from balanced subsets and a weighted loss (spec section 6).
    It is the prior that `rebalanced` must undo for the mean posterior to be even over utterances of which every class counts
    the same; the least cross-entropy of a shift of the logits. Raises `EvaluationError` if a class has no utterance.
    """
    counts_c = np.bincount(labels[labels >= 0], minlength=len(outputs.classes))
    if not counts_c.all():
        absent = ", ".join(
            c for c, count in zip(outputs.classes, counts_c, strict=True) if not count
        )
        raise EvaluationError(f"class(es) without an utterance to learn a prior from: {absent}")
    logits_nc, truth_n = outputs.logits[labels >= 0].astype(np.float64), labels[labels >= 0]
    one_hot_nc = np.eye(len(counts_c))[truth_n]
    weight_n1 = (1 / counts_c[truth_n] / len(counts_c))[:, None]

    def loss(shift_c: np.ndarray) -> tuple[float, np.ndarray]:
        said_nc = log_softmax(logits_nc - shift_c, axis=1)
        return float(-(weight_n1 * one_hot_nc * said_nc).sum()), (
            weight_n1 * (one_hot_nc - np.exp(said_nc))
        ).sum(axis=0)

    return np.asarray(softmax(minimize(loss, np.zeros(len(counts_c)), jac=True, method="BFGS").x))


def rebalanced(outputs: Predictions, prior: Float[np.ndarray, " c"]) -> Predictions:
    """Posteriors learned under the class `prior`, as they would be if every class were equally likely (a test set that is balanced).

    Raises `EvaluationError` unless `prior` is positive everywhere.
    """
    if not (np.asarray(prior) > 0).all():
        absent = ", ".join(c for c, p in zip(outputs.classes, prior, strict=True) if not p > 0)
        raise EvaluationError(
            f"class(es) without a training utterance: {absent}",
            hint="posteriors cannot be re-balanced for them",
        )
    return Predictions(
        outputs.ids,
        outputs.classes,
        (outputs.logits - np.log(prior)).astype(np.float32),
        outputs.attributes,
    )
