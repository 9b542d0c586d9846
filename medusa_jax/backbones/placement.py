"""The devices that a ported model runs on, its batches there, and their failures as errors of
inputs.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from medusa_jax.backbones.failures import failure
from medusa_jax.errors import FeatureError, MedusaError
from medusa_jax.machines.mesh import Devices

log = logging.getLogger(__name__)
Input = TypeVar("Input")
Start = Callable[[Sequence[Input], int], jax.Array]
"""Starts the program on inputs padded to a number of rows."""


def devices_for(name: str, compute: str) -> Devices:
    """The devices that share a batch: the named one, or all of a kind.

    Raises `FeatureError` if there is none, or `compute` is not ported.
    """
    if compute == "float16":
        hint = "use bfloat16 or float32"
        raise FeatureError("float16 is not ported to JAX", where="compute", hint=hint)
    kind, _, number = name.partition(":")
    try:
        found = jax.local_devices(backend=None if kind == "auto" else kind)
        chosen = [found[int(number)]] if number else found
    except (RuntimeError, IndexError) as error:
        hint = "set device: auto, or install JAX with CUDA: pip install 'medusa-jax[cuda]'"
        raise FeatureError("there is no such device", where=f"device: {name}", hint=hint) from error
    return Devices(Mesh(np.array(chosen), ("rows",), axis_types=(AxisType.Auto,)))


def kind_of(devices: Devices) -> Literal["cpu", "cuda"]:
    """The kind of devices, by the names of defaults such as the size of a batch."""
    return "cpu" if devices.mesh.devices.flat[0].platform == "cpu" else "cuda"


def computed(
    batches: Iterable[tuple[Sequence[Input], int]], start: Start[Input], devices: Devices
) -> Iterator[tuple[Sequence[Input], np.ndarray | MedusaError]]:
    """Each batch of inputs and rows with its result on the host, or the error that prevented it.

    A batch is fetched after the next one was started, so that the devices have work. One that does
    not fit into memory is halved.
    """
    late: tuple[Sequence[Input], int, jax.Array | Exception] | None = None
    for inputs, rows in batches:
        now = inputs, rows, _attempt(start, inputs, rows)
        if late is not None:
            yield from _fetched(*late, start, devices)
        late = now
    if late is not None:
        yield from _fetched(*late, start, devices)


def _attempt(start: Start[Input], inputs: Sequence[Input], rows: int) -> jax.Array | Exception:
    try:
        return start(inputs, rows)
    except jax.errors.JaxRuntimeError as error:
        return error.with_traceback(None)  # which would keep arrays alive


def _fetched(
    inputs: Sequence[Input],
    rows: int,
    made: jax.Array | Exception,
    start: Start[Input],
    devices: Devices,
) -> Iterator[tuple[Sequence[Input], np.ndarray | MedusaError]]:
    result = made if isinstance(made, Exception) else _on_host(made)
    if isinstance(result, np.ndarray):
        yield inputs, result
        return
    half = devices.multiple(max(1, rows // 2))
    if half == rows or not _out_of_memory(result):
        yield inputs, _explained(result)
        return
    log.warning("a batch of %d is halved: %s", len(inputs), _explained(result).what)
    for first in range(0, len(inputs), half):
        part = inputs[first : first + half]
        yield from _fetched(part, half, _attempt(start, part, half), start, devices)


def _on_host(made: jax.Array) -> np.ndarray | Exception:
    try:
        return np.asarray(made)
    except jax.errors.JaxRuntimeError as error:
        return error.with_traceback(None)


def _out_of_memory(error: Exception) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)


def _explained(error: Exception) -> MedusaError:
    """A failed batch as an error of its inputs."""
    return failure(str(error).splitlines()[0], out_of_memory=_out_of_memory(error))
