"""The utterances of batch k: pure functions of (seed, stage, epoch), so that a run can go on
from any step.

Positions are integers into the training part, not ids.
"""

from collections.abc import Sequence

import numpy as np

from medusa_jax.errors import TrainingError


def balanced_subset(
    labels: np.ndarray, classes: Sequence[str], seed: int, epoch: int, no_consensus: bool = False
) -> np.ndarray:
    """Positions of a new random subset with the same number of utterances of each class (Stage 2).

    `labels` `[utterance]` are class indices, −1 without consensus. The number is the size of the
    smallest class; with `no_consensus` as many utterances without one are added. Raises
    `TrainingError` if a class has no utterance.
    """
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    if counts.min() == 0:
        raise TrainingError(
            f"no training utterance has the consensus {classes[int(counts.argmin())]!r}",
            hint="a balanced subset needs every class: use more data, other folds, or "
            "training.stage2.epochs=0",
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


def epoch_batches(
    positions: np.ndarray, rungs: np.ndarray, batch_size: int, seed: int, stage: int, epoch: int
) -> np.ndarray:
    """The epoch's batches `[step, batch_size]`: a permutation of `positions` less the remainder,
    batches of one rung.

    `rungs` `[utterance]` (all utterances, not only `positions`) is each one's padded shape, small
    to large. First chance alone leaves out the remainder, so that it differs from epoch to epoch
    and no length is favoured; then the shuffled utterances of each rung are cut into batches, the
    few that do not fill one go up a rung. A set smaller than a batch is one batch.
    """
    rng = np.random.default_rng((seed, 1, stage, epoch))
    order = rng.permutation(positions)
    size = min(batch_size, len(order))
    order = order[: len(order) // size * size]
    return rng.permutation(_cut(order, rungs, size), axis=0)


def every_batch(positions: np.ndarray, rungs: np.ndarray, batch_size: int) -> np.ndarray:
    """Batches `[step, batch_size]` of one rung that hold each of `positions` once, in order;
    repetitions fill the last one.
    """
    filled = np.concatenate([positions, np.repeat(positions[:1], -len(positions) % batch_size)])
    return _cut(filled, rungs, batch_size)


def _cut(order: np.ndarray, rungs: np.ndarray, size: int) -> np.ndarray:
    """`order`, a multiple of `size`, as rows of one rung each, small to large; what does not fill a
    row goes up a rung.
    """
    rows, left = [], order[:0]
    for rung in np.unique(rungs[order]):
        pool = np.concatenate([left, order[rungs[order] == rung]])
        full = len(pool) // size * size
        rows.append(pool[:full].reshape(-1, size))
        left = pool[full:]
    return np.concatenate(rows)
