"""Which utterances make batch k: pure functions of (seed, epoch), so that a run can go on from any step (house promise 2).

Positions are integers into the training part, not ids.
"""

from collections.abc import Sequence

import numpy as np

from medusa_jax.errors import TrainingError

WINDOW = 16  # batches sorted by length together: long enough to cut padding, short enough to keep epochs different


def balanced_subset(labels: np.ndarray, classes: Sequence[str], seed: int, epoch: int, no_consensus: bool = False) -> np.ndarray:
    """Positions of a new random subset with the same number of utterances of each class (Stage 2, spec section 6).

    `labels` `[utterance]` are class indices, −1 without consensus. The number is the size of the smallest class; with
    `no_consensus` as many utterances without one are added. Raises `TrainingError` if a class has no utterance.
    """
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    if counts.min() == 0:
        raise TrainingError(
            f"no training utterance has the consensus {classes[int(counts.argmin())]!r}",
            mend="a balanced subset needs every class: use more data, other folds, or training.stage2.epochs=0",
        )
    rng = np.random.default_rng((seed, 2, epoch))
    groups = list(range(len(classes)))
    if no_consensus and (labels < 0).any():
        groups.append(-1)
    chosen = []
    for group in groups:
        members = np.flatnonzero(labels == group) if group >= 0 else np.flatnonzero(labels < 0)
        chosen.append(rng.choice(members, min(counts.min(), len(members)), replace=False))
    return np.sort(np.concatenate(chosen))


def epoch_batches(positions: np.ndarray, costs: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """The epoch's batches `[step, batch_size]`: a permutation of `positions` less the remainder, batches alike in length.

    `costs` `[utterance]` (all utterances, not only `positions`) is what batches are sorted by within a window of shuffled
    ones. Which utterances the remainder leaves out differs from epoch to epoch. A set smaller than a batch is one batch.
    """
    rng = np.random.default_rng((seed, 1, epoch))
    order = rng.permutation(positions)
    size = min(batch_size, len(order))
    order = order[: len(order) // size * size]
    windows = [order[i : i + WINDOW * size] for i in range(0, len(order), WINDOW * size)]
    batches = np.concatenate([w[np.argsort(costs[w], kind="stable")].reshape(-1, size) for w in windows])
    return rng.permutation(batches, axis=0)
