"""The devices that a ported model runs on, and their failures as errors of its inputs."""

from typing import Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from medusa_jax.errors import FeatureError, MedusaError
from medusa_jax.machines.mesh import Devices


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


def explained(error: Exception) -> MedusaError:
    """A failed batch as an error of its inputs."""
    if "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error):
        hint = "lower batch_seconds, or for long audio chunk_seconds, or compute in bfloat16"
        return FeatureError(f"the encoder ran out of memory: {hint}", hint=hint)
    return FeatureError(f"the encoder failed: {str(error).splitlines()[0]}")
