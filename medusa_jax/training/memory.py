"""How much of a device's memory members need to train, from shapes alone: nothing is allocated or compiled for it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from medusa_jax.batches.examples import Examples
from medusa_jax.config.training import EngineConfig, MemberConfig
from medusa_jax.machines.mesh import devices_of
from medusa_jax.machines.processes import least
from medusa_jax.tasks.hyperparameters import settings_of
from medusa_jax.training.member import outline
from medusa_jax.training.step import losses, new_state

PyTree = Any
_SHARE = 0.8  # of a device's memory: the rest is for programs, fragments and the display
_BATCHES = 4  # the one in use and those that the loader has made ahead


@dataclass(frozen=True)
class Need:
    """Bytes that one member needs of each device. `parameters` counts its weights; `structure` is equal for members that can be stacked."""

    structure: Any
    parameters: int
    state: int  # weights, AdamW's two moments, and the running mean if there is one: kept as long as the member trains
    step: (
        int  # gradients and what the forward pass keeps for the backward one: only during its step
    )
    batch: int  # the device's rows of its group's batch, at the largest shape


def need_of(config: MemberConfig, examples: Examples, devices: int = 1) -> Need:
    """What a member needs of each of the `devices` that share its batches, at the largest padded shape.

    `step` is what automatic differentiation keeps before the compiler saves any of it: what is really used is less, rarely
    under half of it.
    """
    member, training = outline(config, examples), config.training
    state = jax.eval_shape(partial(new_state, ema=training.ema is not None), member.params)
    size, parts = training.batch_size, training.micro_batches
    batch = examples.largest_batch(
        parts * -(-size // (parts * devices))
    )  # each part of a batch is spread over the devices
    key = jax.eval_shape(jax.random.key, 0)
    settings = jax.eval_shape(
        lambda k: settings_of(training, 1, 1, np.ones(examples.soft.shape[1]), k), key
    )

    def kept(parts: int) -> int:
        def backward(
            params: PyTree, statistics: PyTree, own: Any, arrays: Any, k: jax.Array
        ) -> Any:
            return jax.vjp(
                lambda p: losses(member.graph, parts, p, statistics, own, arrays, k),
                params,
                has_aux=True,
            )[1]

        return bytes_of(
            jax.eval_shape(
                backward,
                member.params,
                member.statistics,
                settings,
                batch.of(config.modalities),
                key,
            )
        )

    step = (
        kept(1) if parts == 1 else kept(parts) + kept(1) // parts
    )  # of a batch in parts: the inputs, and one part at a time
    weights = bytes_of(member.params)
    structure = (member.graph, training.micro_batches, jax.tree.structure((state, settings)))
    return Need(
        structure,
        weights // 4,
        bytes_of(state),
        weights + step,
        bytes_of(examples.largest_batch(-(-size // devices))),
    )


def bytes_of(tree: PyTree) -> int:
    """Bytes of all arrays, or shapes of arrays, in a tree; keys count as nothing."""
    return sum(
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
        if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def group_bytes(needs: Sequence[Need], side_by_side: bool) -> int:
    """What members need that train as one group: every state, the batches, and the step of the largest stack."""
    steps: dict[Any, int] = {}
    for place, need in enumerate(needs):
        stack = need.structure if side_by_side else place
        steps[stack] = steps.get(stack, 0) + need.step
    return (
        sum(need.state for need in needs)
        + max(steps.values())
        + _BATCHES * max(need.batch for need in needs)
    )


def budget(engine: EngineConfig) -> int:
    """Bytes that a group may need of each device: as configured, or 80 % of what it has; the least of all hosts.

    A CPU has what is free now; where it is made to look like several devices, each has its share.
    """
    if engine.memory_gb is not None:
        return int(engine.memory_gb * 1e9)
    stats = jax.local_devices()[0].memory_stats() or {}
    free = (
        os.sysconf("SC_PAGE_SIZE")
        * os.sysconf("SC_AVPHYS_PAGES")
        // len(devices_of(engine.devices).mesh.local_devices)
    )
    return int(least(_SHARE * stats.get("bytes_limit", free)))


def runs_side_by_side(engine: EngineConfig) -> bool:
    """Whether members of equal structure train in one program: on a CPU they share its cores, and one after the other is no slower."""
    return engine.side_by_side == "vmap" or (
        engine.side_by_side == "auto" and jax.default_backend() != "cpu"
    )
