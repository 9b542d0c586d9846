"""Majority and soft vote: every member counts alike, and nothing is learned (paper section 5.3).

Legend: `n` utterance, `m` member, `c` class, `a` attribute.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax, softmax

from medusa_jax.ensemble.predictions import Predictions, stacked


def soft_vote(members: Sequence[Predictions]) -> Predictions:
    """The mean of the members' posteriors (as logarithms) and of their attributes."""
    logits, attributes = stacked(members)
    mean = np.log(np.maximum(softmax(logits, axis=2).mean(axis=1), 1e-30))
    first = members[0]
    return Predictions(first.ids, first.classes, mean.astype(np.float32), attributes.mean(axis=1))


def majority_vote(members: Sequence[Predictions]) -> Predictions:
    """Shares of the members' first choices (as logarithms), and the median of their attributes.

    The mean posterior decides between equal shares.
    """
    logits, attributes = stacked(members)
    votes = np.eye(logits.shape[2])[logits.argmax(axis=2)].mean(axis=1)
    tie_break = softmax(logits, axis=2).mean(axis=1)
    shares = (votes + 1e-3 * tie_break / len(members)) + 1e-9
    logits_nc = log_softmax(np.log(shares), axis=1).astype(np.float32)
    first = members[0]
    return Predictions(first.ids, first.classes, logits_nc, np.median(attributes, axis=1))
