"""Memory that members need of a device to train, from shapes alone: nothing is allocated or
compiled for it.
"""

import os
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.extend.core import Literal, jaxprs_in_params

from medusa_jax.config.training import EngineConfig
from medusa_jax.machines.mesh import devices_of
from medusa_jax.machines.processes import least
from medusa_jax.tasks.task import Dataset, Phase, Task
from medusa_jax.training.prediction import PREDICT_BATCH
from medusa_jax.training.step import new_state
from medusa_jax.training.weights import Weights, outline

PyTree = Any
_SHARE = 0.8  # of a device's memory: the rest is for programs, fragments and the display
_BATCHES = 4  # the one in use and those that the loader has made ahead
_WIDE = 2**28
"""Bytes that a member's step keeps from which on it fills a GPU by itself: members then step one
after the other. On an H200 four of 12 GB each gained 15 % side by side; smaller were not measured.
"""


@dataclass(frozen=True)
class Need:
    """Bytes that one member needs of each device; `program` is equal for members that share
    compiled steps.
    """

    program: Hashable
    reads: Hashable
    parameters: int  # a count, not bytes
    state: int  # weights, optimiser, running mean and constants: held as long as the member trains
    step: (
        int  # gradients and what the forward pass keeps for the backward one: only during its step
    )
    batch: int  # the device's rows of its group's batch, at the largest shape
    predicting: int = 0  # arrays of a prediction: only while it runs

    @property
    def structure(self) -> Hashable:
        """Equal for members that can be stacked: one program, on the same inputs."""
        return self.program, self.reads


def need_of(task: Task, data: Dataset, devices: int = 1) -> Need:
    """A member's need of each of the `devices` that share its batches, at the largest padded shape.

    `step` is what automatic differentiation keeps before the compiler saves any of it, `predicting`
    what is alive at once before any of it is fused: what is really used is less, rarely under half
    of it.
    """
    weights, phase, parts = outline(task), task.phases[0], task.parts
    state = jax.eval_shape(lambda params: new_state(task, phase, params), weights.params)
    rows = parts * -(-data.size // (parts * devices))  # each part of a batch is spread over devices
    batch = data.shapes(rows)
    kept = bytes_of(_backward(task, phase, weights, batch))
    if parts > 1:  # the inputs of all parts, and what one part keeps
        kept += bytes_of(_backward(task.undivided(), phase, weights, batch)) // parts
    held = bytes_of((state, weights.constants))
    count = sum(leaf.size for leaf in jax.tree.leaves(weights.params))
    program = weights.graph, task.traced(phase)
    shared = bytes_of(data.shapes(-(-data.size // devices)))
    predicting = _predicting(task, weights, data.shapes(-(-PREDICT_BATCH // devices)))
    step = bytes_of(weights.params) + kept
    return Need(program, task.reads, count, held, step, shared, predicting)


def _backward(task: Task, phase: Phase, weights: Weights, batch: PyTree) -> PyTree:
    """Shapes of all that the backward pass of a step on a batch of these shapes reads."""
    size = jax.tree.leaves(batch)[0].shape[0]
    key = jax.eval_shape(lambda: jax.random.key(0))
    knobs = jax.eval_shape(lambda: task.knobs(phase))
    drawn = jax.eval_shape(lambda k, own: task.draw(k, own, size), key, knobs)

    def backward(
        params: PyTree, constants: PyTree, own: PyTree, draws: PyTree, k: Any, x: PyTree
    ) -> Any:
        trained, rest = nnx.split_state(params, task.trained(phase), ...)

        def loss(some: PyTree) -> tuple[jax.Array, jax.Array]:
            model = nnx.merge(weights.graph, nnx.merge_state(some, rest), *constants)
            return task.loss(model, task.view(x), own, draws, k)

        return jax.vjp(loss, trained, has_aux=True)[1]

    return jax.eval_shape(backward, weights.params, weights.constants, knobs, drawn, key, batch)


def _predicting(task: Task, weights: Weights, batch: PyTree) -> int:
    """Bytes that a prediction of a batch of these shapes holds at once, weights and inputs aside.

    Longer inputs, of whole utterances, are predicted in windows as long as those of training, one
    after the other.
    """

    def predict(params: PyTree, constants: PyTree, x: PyTree) -> Any:
        return task.predict(nnx.merge(weights.graph, params, *constants), task.view(x))

    return _live(jax.make_jaxpr(predict)(weights.params, weights.constants, batch).jaxpr)


def _live(program: Any) -> int:
    """The most bytes of its own arrays that a program holds at once, each from the operation that
    makes it to the last that reads it.
    """
    last: dict[Any, int] = {}
    for place, equation in enumerate(program.eqns):
        last |= dict.fromkeys(_variables(equation.invars), place)
    last |= dict.fromkeys(_variables(program.outvars), len(program.eqns))
    held, most, ends = 0, 0, dict[int, int]()
    for place, equation in enumerate(program.eqns):
        made = {x: bytes_of(x.aval) for x in equation.outvars}
        inner = [_live(one) for one in jaxprs_in_params(equation.params)]
        most = max(most, held + max([sum(made.values()), *inner]))
        for x, size in made.items():
            if last.get(x, place) > place:
                held += size
                ends[last[x]] = ends.get(last[x], 0) + size
        held -= ends.pop(place, 0)
    return most


def _variables(atoms: Iterable[Any]) -> list[Any]:
    """Those of a program's inputs that are no constants."""
    return [x for x in atoms if not isinstance(x, Literal)]


def bytes_of(tree: PyTree) -> int:
    """Bytes of all arrays, or shapes of arrays, in a tree; keys count as nothing."""
    leaves = [
        leaf
        for leaf in jax.tree.leaves(tree)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    ]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def group_bytes(needs: Sequence[Need], side_by_side: bool) -> int:
    """The need of members that train as one group: every state, the batches, and the step or the
    prediction of the largest stack.
    """
    stacks: dict[Any, list[Need]] = {}
    for place, need in enumerate(needs):
        stacks.setdefault(need.structure if side_by_side else place, []).append(need)
    most = 0
    for some in stacks.values():
        most = max(most, sum(one.step for one in some), sum(one.predicting for one in some))
    states = sum(need.state for need in needs)
    return states + most + _BATCHES * max(need.batch for need in needs)


def budget(engine: EngineConfig) -> int:
    """Bytes that a group may need of each device: as configured, or 80 % of what it has; the least
    of all hosts.

    A CPU has what is free now; where it is made to look like several devices, each has its share.
    """
    if engine.memory_gb is not None:
        return int(engine.memory_gb * 1e9)
    stats = jax.local_devices()[0].memory_stats() or {}
    devices = len(devices_of(engine.devices).mesh.local_devices)
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") // devices
    return int(least(_SHARE * stats.get("bytes_limit", free)))


def steps_side_by_side(engine: EngineConfig, needs: Iterable[Need]) -> bool:
    """Tell whether members of equal structure step in one program, as the configuration says or
    else as their needs say.

    On a CPU they share its cores, and one after the other is no slower; on a GPU only small members
    gain by it. `needs` are asked for only where they decide: each takes a second to reckon.
    """
    if engine.side_by_side != "auto":
        return engine.side_by_side == "vmap"
    return jax.default_backend() != "cpu" and max(need.step for need in needs) < _WIDE
