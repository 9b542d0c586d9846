"""Predictions of three members, small enough to combine by hand."""

import numpy as np

from medusa_jax.ensemble.predictions import Predictions

CLASSES = ("angry", "sad", "happy", "neutral")


def outputs(posteriors, attributes=None, ids=None, classes=CLASSES):
    """A member's predictions from its posteriors `[n, c]`."""
    logits = np.log(np.asarray(posteriors, np.float32))
    predictions = (
        np.full((len(logits), 3), 4, np.float32)
        if attributes is None
        else np.asarray(attributes, np.float32)
    )
    return Predictions(
        ids or tuple(f"u{i}" for i in range(len(logits))), classes, logits, predictions
    )


def three_members():
    """Row 0: two against one. Row 1: three ways, the third is surest. Row 2: all agree."""
    return [
        outputs(
            [[0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]], [[1, 2, 3]] * 3
        ),
        outputs(
            [[0.4, 0.3, 0.2, 0.1], [0.3, 0.4, 0.2, 0.1], [0.2, 0.2, 0.2, 0.4]], [[3, 2, 1]] * 3
        ),
        outputs(
            [[0.02, 0.95, 0.02, 0.01], [0.1, 0.1, 0.7, 0.1], [0.1, 0.2, 0.3, 0.4]], [[7, 7, 7]] * 3
        ),
    ]
