"""Weights of members, a temperature, and the class prior of posteriors, fitted on held-out speech.

Legend: `n` utterance, `m` member, `c` class.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import OptimizeResult, minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from medusa_jax.ensemble.predictions import Predictions, stacked
from medusa_jax.errors import EvaluationError

_LEAST = 1e-12
"""Posterior of 0 in a logarithm."""


def fit_weights(
    members: Sequence[Predictions], targets: Float[np.ndarray, "n c"]
) -> Float[np.ndarray, " m"]:
    """Weights `w ≥ 0, Σw = 1` of the members' posteriors with the least cross-entropy, by SLSQP.

    `targets` are distributions; rows of zeros are ignored. Raises `EvaluationError` if all are, or
    if the optimiser fails.
    """
    known_n = _with_target(targets, "weights")
    posteriors_nmc = softmax(stacked(members)[0].astype(np.float64), axis=2)[known_n]
    found = _minimised(posteriors_nmc, targets[known_n].astype(np.float64))
    if not found.success:
        raise EvaluationError(f"the members' weights could not be fitted: {found.message}")
    w_m = np.clip(found.x, 0, None)
    return w_m / w_m.sum()


def _minimised(posteriors_nmc: np.ndarray, targets_nc: np.ndarray) -> OptimizeResult:
    """The constrained minimum of the mixture's cross-entropy."""
    count, members, _ = posteriors_nmc.shape

    def loss(w_m: np.ndarray) -> tuple[float, np.ndarray]:
        mixed_nc = np.maximum(np.einsum("nmc,m->nc", posteriors_nmc, w_m), _LEAST)
        gradient_m = -np.einsum("nc,nmc->m", targets_nc / mixed_nc, posteriors_nmc)
        return -(targets_nc * np.log(mixed_nc)).sum() / count, gradient_m / count

    return minimize(
        loss,
        np.full(members, 1 / members),
        jac=True,
        bounds=[(0, 1)] * members,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}],
        method="SLSQP",
        options={"ftol": 1e-10},
    )


def weighted_vote(members: Sequence[Predictions], weights: Float[np.ndarray, " m"]) -> Predictions:
    """The weighted mean of the members' posteriors (as logarithms) and attributes."""
    logits, attributes = stacked(members)
    mixed_nc = np.einsum("nmc,m->nc", softmax(logits, axis=2), weights)
    logits_nc = np.log(np.maximum(mixed_nc, _LEAST)).astype(np.float32)
    attributes_na = np.einsum("nma,m->na", attributes, weights).astype(np.float32)
    return Predictions(members[0].ids, members[0].classes, logits_nc, attributes_na)


def temperature_of(outputs: Predictions, targets: Float[np.ndarray, "n c"]) -> float:
    """T > 0 at which softmax(logits / T) has the least cross-entropy (Guo et al. 2017).

    `targets` as in `fit_weights`. Raises `EvaluationError` if no row has one.
    """
    known_n = _with_target(targets, "a temperature")
    logits_nc, targets_nc = outputs.logits[known_n].astype(np.float64), targets[known_n]

    def loss(log_t: float) -> float:
        return float(-(targets_nc * log_softmax(logits_nc / np.exp(log_t), axis=1)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))


def tempered(outputs: Predictions, temperature: float) -> Predictions:
    """The same predictions at this temperature: first choices stay, confidence changes."""
    return replace(outputs, logits=(outputs.logits / temperature).astype(np.float32))


def learned_prior(outputs: Predictions, labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " c"]:
    """The class prior `[c]` that the posteriors imply, from labelled utterances (−1 is ignored).

    It differs from the frequencies of the training part, because a member learns from balanced
    subsets and a weighted loss. It is the prior that `rebalanced` must divide out so that the mean
    posterior, over utterances weighted to equal classes, is even: the shift of the logits with the
    least cross-entropy. Raises `EvaluationError` if a class has no utterance.
    """
    counts_c = np.bincount(labels[labels >= 0], minlength=len(outputs.classes))
    _refuse(counts_c == 0, outputs, "without an utterance to learn a prior from")
    logits_nc, truth_n = outputs.logits[labels >= 0].astype(np.float64), labels[labels >= 0]
    one_hot_nc = np.eye(len(counts_c))[truth_n]
    weight_n1 = (1 / counts_c[truth_n] / len(counts_c))[:, None]

    def loss(shift_c: np.ndarray) -> tuple[float, np.ndarray]:
        log_p_nc = log_softmax(logits_nc - shift_c, axis=1)
        gradient_c = (weight_n1 * (one_hot_nc - np.exp(log_p_nc))).sum(axis=0)
        return float(-(weight_n1 * one_hot_nc * log_p_nc).sum()), gradient_c

    return np.asarray(softmax(minimize(loss, np.zeros(len(counts_c)), jac=True, method="BFGS").x))


def rebalanced(outputs: Predictions, prior: Float[np.ndarray, " c"]) -> Predictions:
    """Posteriors learned under the class `prior`, as they would be with equally likely classes.

    Raises `EvaluationError` unless `prior` is positive everywhere.
    """
    _refuse(~(np.asarray(prior) > 0), outputs, "with a prior of 0")
    return replace(outputs, logits=(outputs.logits - np.log(prior)).astype(np.float32))


def _with_target(targets: np.ndarray, fitted: str) -> np.ndarray:
    """The rows that have a target `[n]`, as booleans."""
    known_n = targets.sum(axis=1) > 0
    if not known_n.any():
        raise EvaluationError(
            f"no utterance has a target to fit {fitted} on", hint="fit it on a labelled part"
        )
    return known_n


def _refuse(absent_c: np.ndarray, outputs: Predictions, what: str) -> None:
    if absent_c.any():
        names = [c for c, absent in zip(outputs.classes, absent_c, strict=True) if absent]
        raise EvaluationError(f"class(es) {what}: {', '.join(names)}")
