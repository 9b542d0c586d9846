"""A batch of utterances on the devices that share it."""

import numpy as np

from medusa_jax.batches.examples import Batch, Examples
from medusa_jax.machines.mesh import Devices


def device_batch(examples: Examples, devices: Devices, positions_b: np.ndarray) -> Batch:
    """The global batch of these utterances, spread over the devices; only the rows of this process are read.

    Raises `ConfigError` if the devices cannot share it evenly.
    """
    b = len(positions_b)
    batch: Batch = devices.spread(examples.batch(positions_b, devices.rows_here(b)), b)
    return batch
