"""Predictions of any number of members for any utterances, on one pass over their features."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from medusa_jax.batches.device_batch import device_batch
from medusa_jax.batches.examples import Batch, Examples
from medusa_jax.batches.prefetch import Loader
from medusa_jax.batches.sampling import every_batch
from medusa_jax.machines.mesh import Devices

PREDICT_BATCH = 32


def prediction_batches(examples: Examples, positions: np.ndarray, devices: Devices) -> np.ndarray:
    """The batches `[step, b]` in which `positions` are predicted."""
    return every_batch(
        positions, examples.rungs, devices.multiple(min(PREDICT_BATCH, len(positions)))
    )


def predicted(
    run: Callable[[Batch], Any], examples: Examples, positions: np.ndarray, devices: Devices
) -> Any:
    """`run(batch)` for all of `positions`: its tree of arrays `[b, …]` as NumPy arrays `[n, …]` in the order of `positions`.

    Batches are spread over `devices`; what `run` returns must lie whole on each of them. Results are fetched one batch late,
    so that the device works on the next one meanwhile.
    """
    rows = prediction_batches(examples, positions, devices)
    found, late = [], None
    with Loader(partial(device_batch, examples, devices), rows) as batches:
        for batch in batches:
            now = run(batch)
            if late is not None:
                found.append(jax.device_get(late))
            late = now
    found.append(jax.device_get(late))
    place = np.empty(len(examples), int)
    place[rows.ravel()] = np.arange(rows.size)
    return jax.tree.map(lambda *parts: np.concatenate(parts)[place[positions]], *found)
