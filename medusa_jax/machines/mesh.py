"""The devices that share every batch: data-parallel training on one host or several, by JAX's own
engine.

Every device holds all weights and computes on its rows of the global batch; XLA adds what must be
added. Batches, their order and their shapes are those of one device, so another number of devices
is the same run within rounding. Legend: `b` utterance of the global batch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from medusa_jax.errors import ConfigError

PyTree = Any
_ROWS = "rows"


@dataclass(frozen=True)
class Devices:
    """A mesh of one axis, over which the rows of a batch are spread evenly and everything else is
    replicated.
    """

    mesh: Mesh

    @property
    def count(self) -> int:
        """Their number, on all hosts."""
        return self.mesh.size

    @property
    def everywhere(self) -> NamedSharding:
        """The place of weights, settings, losses and predictions: whole, on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def replicated(self, tree: PyTree) -> PyTree:
        """The same arrays on every device. Raises `AssertionError` if they differ between
        processes.
        """
        return (
            jax.device_put(tree, self.everywhere)
            if jax.process_count() == 1
            else jax.tree.map(self._sent, tree)
        )

    def _sent(self, x: Any) -> jax.Array:
        """An array that every process has, on all devices of all of them: JAX takes it from the
        host, and no keys.
        """
        if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                self._sent(jax.random.key_data(x)), impl=jax.random.key_impl(x)
            )
        return jax.device_put(
            np.asarray(x) if getattr(x, "is_fully_addressable", False) else x, self.everywhere
        )

    def rows_here(self, b: int) -> slice:
        """The rows of a global batch of `b` that this process's devices hold. Raises `ConfigError`
        if it cannot be shared.
        """
        self.check(b)
        places = self._spread.addressable_devices_indices_map((b,)).values()
        cuts = [place[0].indices(b)[:2] for place in places if place is not None]
        return slice(min(first for first, _ in cuts), max(stop for _, stop in cuts))

    def spread(self, tree: PyTree, b: int) -> PyTree:
        """Arrays of this process's rows, as of `rows_here`, as the global batch of `b` over all
        devices.
        """
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(self._spread, x, (b, *x.shape[1:])),
            tree,
        )

    def anywhere(self, flag: bool) -> jax.Array:
        """Tell whether any process raises its flag: asked of the devices, not waited for. All
        processes must ask.
        """
        # the one thing that a training loop moves beside its batches and losses
        with jax.transfer_guard("allow"):
            flags = jax.make_array_from_process_local_data(
                self._spread, np.full(len(self.mesh.local_devices), flag), (self.count,)
            )
        return _any(self.everywhere)(flags)

    @property
    def _spread(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(_ROWS))

    def multiple(self, b: int) -> int:
        """The next number from `b` on that can be shared evenly."""
        return -(-b // self.count) * self.count

    def check(self, b: int) -> None:
        """Raise `ConfigError` if a batch of `b` utterances cannot be shared evenly."""
        if b % self.count:
            hint = (
                f"set training.batch_size to a multiple of {self.count}, "
                f"or engine.devices to a divisor of {b}"
            )
            raise ConfigError(
                f"a batch of {b} cannot be shared evenly by {self.count} devices",
                where="engine.devices",
                hint=hint,
            )


@contextmanager
def on_host() -> Iterator[None]:
    """Make arrays on the CPU until they are put in their place.

    Each operation on another shape is a program, and a GPU's compiler takes ten times as long for
    it. Draws are then the same on every machine. Of several CPU devices it is the last, so that
    tests with several see a host apart from the devices that train.
    """
    try:
        host = jax.local_devices(backend="cpu")[-1]
    except RuntimeError:  # JAX_PLATFORMS leaves it out
        yield
    else:
        with jax.default_device(host):
            yield


@lru_cache
def _any(where: NamedSharding) -> Callable[[jax.Array], jax.Array]:
    return jax.jit(jnp.any, out_shardings=where)


def devices_of(wanted: int | Literal["all"]) -> Devices:
    """The first `wanted` devices of this host, or all there are; among several processes always all
    devices of all of them.

    Raises `ConfigError` if there are not so many.
    """
    found = jax.devices()
    if wanted != "all" and wanted > len(found):
        hint = "set engine.devices to that number, or to all"
        raise ConfigError(
            f"there are {len(found)} device(s) here, not {wanted}",
            where="engine.devices",
            hint=hint,
        )
    chosen = found if wanted == "all" or jax.process_count() > 1 else found[:wanted]
    return Devices(Mesh(np.array(chosen), (_ROWS,), axis_types=(AxisType.Auto,)))
