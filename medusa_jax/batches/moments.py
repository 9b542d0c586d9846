"""Mean and deviation of the frames, or vectors, that a member learns from, for models that
standardise their features.

Legend: `t` frame, `d` feature.
"""

import numpy as np

from medusa_jax.batches.examples import Examples

ENOUGH = 4096
"""Utterances that are measured. More would move the deviations by less than a thousandth, and take
minutes to read.
"""


LEAST = 1e-5
"""A feature that varies less is not scaled."""


def scale_of(deviation_d: np.ndarray) -> np.ndarray:
    """One over each feature's deviation `[d]`, float32; 1 where it hardly varies."""
    scale_d = np.where(deviation_d > LEAST, 1 / np.maximum(deviation_d, LEAST), 1.0)
    return scale_d.astype(np.float32)


def vector_statistics(vector_nd: np.ndarray, there_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation `[d]`, float32, of the vectors of a mask."""
    known_nd = vector_nd[there_n > 0].astype(np.float64)
    if not len(known_nd):
        return np.zeros(vector_nd.shape[1], np.float32), np.ones(vector_nd.shape[1], np.float32)
    return known_nd.mean(axis=0).astype(np.float32), known_nd.std(axis=0).astype(np.float32)


def frame_statistics(
    examples: Examples, modality: str, positions: np.ndarray, enough: int = ENOUGH
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation `[d]`, float32, of a modality's frames over these utterances.

    Of more than `enough` utterances that have frames, as many evenly spaced ones are measured:
    always the same, on every machine. Sums of float64 are exact enough for any float32 frames.
    """
    k = examples.modalities.index(modality)
    store = examples.stores[k]
    known = np.sort(positions[examples.lengths[positions, k] > 0])
    if len(known) > enough:
        known = known[np.linspace(0, len(known) - 1, enough).astype(int)]
    count, total_d, squares_d = 0, np.zeros(store.width), np.zeros(store.width)
    for position in known:
        x_td = store.frames(examples.ids[position]).astype(np.float64)
        count, total_d, squares_d = (
            count + len(x_td),
            total_d + x_td.sum(axis=0),
            squares_d + np.einsum("td,td->d", x_td, x_td),
        )
    mean_d = total_d / max(count, 1)
    deviation_d = np.sqrt(np.maximum(squares_d / max(count, 1) - mean_d**2, 0))
    return mean_d.astype(np.float32), deviation_d.astype(np.float32)
