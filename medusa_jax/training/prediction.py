"""Predictions of any number of members, on one pass over the data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from medusa_jax.batches.device_batch import device_batch
from medusa_jax.batches.prefetch import Loader
from medusa_jax.machines.mesh import Devices, devices_of
from medusa_jax.tasks.task import Dataset, Task
from medusa_jax.training.step import predict_step, program_of
from medusa_jax.training.weights import Weights

PyTree = Any
PREDICT_BATCH = 32


@dataclass(frozen=True)
class Trained:
    """A task with the weights that it predicts with."""

    task: Task
    weights: Weights

    def predict(self, data: Dataset, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs `[n, …]` by name, in the order of `positions`."""
        return predict_all([self], data, positions, devices_of(1))[0]


def predict_all(
    members: Sequence[Trained], data: Dataset, positions: np.ndarray, devices: Devices
) -> list[dict[str, np.ndarray]]:
    """The outputs of each member, as `Trained.predict`; the data is read once for all of them."""
    steps, weights = [], []
    for one in members:
        program = program_of(one.task, one.weights.graph, None, where=devices.everywhere)
        steps.append(predict_step(program))
        weights.append(devices.replicated((one.weights.params, one.weights.constants)))

    def run(batch: PyTree) -> list[PyTree]:
        made = zip(members, steps, weights, strict=True)
        return [step(*own, one.task.view(batch)) for one, step, own in made]

    found: list[dict[str, np.ndarray]] = predicted(run, data, positions, devices)
    return found


def prediction_batches(data: Dataset, positions: np.ndarray, devices: Devices) -> np.ndarray:
    """The batches `[step, b]` in which `positions` are predicted."""
    size = min(PREDICT_BATCH, 1 << (len(positions) - 1).bit_length())  # of few programs
    return data.cover(positions, devices.multiple(size))


def predicted(
    run: Callable[[PyTree], PyTree], data: Dataset, positions: np.ndarray, devices: Devices
) -> Any:
    """`run(batch)` for all of `positions`: its tree of arrays `[b, …]` as NumPy `[n, …]` in the
    order of `positions`.

    Results are fetched one batch late, so that the device works on the next one meanwhile.
    """
    rows = prediction_batches(data, positions, devices)
    found, late = [], None
    with Loader(partial(device_batch, data, devices), rows) as batches:
        for batch in batches:
            now = run(batch)
            if late is not None:
                found.append(jax.device_get(late))
            late = now
    found.append(jax.device_get(late))
    place = np.empty(len(data), int)
    place[rows.ravel()] = np.arange(rows.size)
    return jax.tree.map(lambda *parts: np.concatenate(parts)[place[positions]], *found)
