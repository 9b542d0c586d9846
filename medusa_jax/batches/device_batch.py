"""A batch on the devices that share it."""

from typing import Any, Protocol, runtime_checkable

import numpy as np

from medusa_jax.machines.mesh import Devices

PyTree = Any


@runtime_checkable
class Batches(Protocol):
    """A maker of batches: a dataset, or the part of one."""

    def batch(self, positions: np.ndarray, rows: slice, when: tuple[int, int] | None) -> PyTree:
        """Arrays `[b, …]` of the units in `rows` of a batch; `when`: phase and epoch, None in
        evaluation.
        """
        ...


def device_batch(
    data: Batches,
    devices: Devices,
    positions_b: np.ndarray,
    when: tuple[int, int] | None = None,
) -> PyTree:
    """The global batch of these units, spread over the devices; only the rows of this process are
    read.

    Raises `ConfigError` if the devices cannot share it evenly.
    """
    b = len(positions_b)
    return devices.spread(data.batch(positions_b, devices.rows_here(b), when), b)
