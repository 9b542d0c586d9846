"""A temperature, and the class prior of posteriors, fitted on held-out speech.

Legend: `n` utterance, `c` class.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.errors import EvaluationError


def temperature_of(outputs: Predictions, targets: Float[np.ndarray, "n c"]) -> float:
    """T > 0 at which softmax(logits / T) has the least cross-entropy (Guo et al. 2017).

    `targets` are distributions; rows of zeros are ignored. Raises `EvaluationError` if all are.
    """
    known_n = with_target(targets, "a temperature")
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


def with_target(targets: np.ndarray, fitted: str) -> np.ndarray:
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
