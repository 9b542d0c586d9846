"""Several processes, on one host or many, that train one run together. The first one leads: it
alone writes files.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from medusa_jax.errors import ConfigError, Interrupted
from medusa_jax.machines.mesh import Devices

PyTree = Any
StopRequest = Callable[..., bool]
"""Was the run asked to stop? With `wait=True`: as of now, see `known_to_all`."""


@contextmanager
def joined() -> Iterator[None]:
    """Work with the other processes of this run; under SLURM and Open MPI nothing needs to be said.

    Elsewhere JAX_COORDINATOR_ADDRESS (host:port of the first process), JAX_NUM_PROCESSES and
    JAX_PROCESS_ID say who is who. Raises `ConfigError` if the others cannot be known.
    """
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is ours
    try:
        count, place = (
            int(value) if (value := os.environ.get(name)) else None
            for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        )
        jax.distributed.initialize(num_processes=count, process_id=place)
    except (ValueError, RuntimeError) as error:
        hint = (
            "start it with srun or mpirun, or set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES "
            "and JAX_PROCESS_ID"
        )
        raise ConfigError(
            f"this process cannot find the others: {error}", where="--distributed", hint=hint
        ) from error
    try:
        yield
    except Interrupted:
        jax.distributed.shutdown()  # together, so that none takes the others for dead
        raise
    jax.distributed.shutdown()


def several() -> bool:
    """Tell whether there are any others."""
    # Counting them starts JAX's backend, which takes most of a GPU: too early for extraction.
    return jax.distributed.is_initialized() and jax.process_count() > 1


def leads() -> bool:
    """Tell whether this process writes the files: the only one, or the first of several."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def wait_for_all(reason: str) -> None:
    """Go on once every process has come here."""
    if several():
        multihost_utils.sync_global_devices(reason)


def of_the_first(make: Callable[[], PyTree], shapes: PyTree) -> PyTree:
    """The result of `make` in the first process, sent to all: none reads files that the first one
    has just written.
    """
    if not several():
        return make()
    return multihost_utils.broadcast_one_to_all(
        make() if leads() else jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    )


def least(value: float) -> float:
    """The smallest of the numbers that the processes have here, to float32's precision."""
    return float(multihost_utils.process_allgather(np.float32(value)).min()) if several() else value


def known_to_all(asked: Callable[[], bool], devices: Devices) -> StopRequest:
    """Tell whether any process was asked to stop, answered alike in all of them; each must call it
    equally often.

    Among several processes the answer may be that of the call before: by then it has come, and no
    step waits for it. With `wait` it is that of now.
    """
    late: list[jax.Array] = []

    def known(wait: bool = False) -> bool:
        if not several():
            return asked()
        late.append(devices.anywhere(asked()))
        due = [late.pop(0) for _ in range(len(late) - (not wait))]
        return any(map(bool, jax.device_get(due)))

    return known
