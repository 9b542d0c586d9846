"""Majority and soft votes: every member counts the same, and nothing is learned (paper section 5.3).

Legend: `n` utterance, `m` member, `c` class, `a` attribute.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax, softmax

from medusa_jax.ensemble.predictions import Predictions, stacked


def soft_vote(members: Sequence[Predictions]) -> Predictions:
    """The mean of the members' posteriors (as logarithms) and attributes."""
    logits, attributes = stacked(members)
    with np.errstate(divide="ignore"):
        mean = np.log(np.maximum(softmax(logits, axis=2).mean(axis=1), 1e-30))
    return Predictions(
        members[0].ids, members[0].classes, mean.astype(np.float32), attributes.mean(axis=1)
    )


def majority_vote(members: Sequence[Predictions]) -> Predictions:
    """Shares of the members' first choices; equal shares are told apart by the mean posterior. Attributes: the median."""
    logits, attributes = stacked(members)
    votes = np.eye(logits.shape[2])[logits.argmax(axis=2)].mean(axis=1)
    tie_break = softmax(logits, axis=2).mean(axis=1)
    shares = (votes + 1e-3 * tie_break / len(members)) + 1e-9
    return Predictions(
        members[0].ids,
        members[0].classes,
        log_softmax(np.log(shares), axis=1).astype(np.float32),
        np.median(attributes, axis=1),
    )
