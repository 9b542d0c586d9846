"""One training step and one prediction of any task, each a single compiled program for one member
or a stack of them.

Programs are kept by what they trace; all that members of equal structure differ in is an argument.
Legend: `k` step of an epoch, `l` loss, `b` unit of a batch; in a stack every array of a member has
a leading `m`.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding
from jaxtyping import Array

from medusa_jax.machines.mesh import on_host
from medusa_jax.machines.xla import compiler_options
from medusa_jax.tasks.task import Phase, Task
from medusa_jax.training.weights import Weights

PyTree = Any


class State(NamedTuple):
    """All that a step changes: what a checkpoint holds."""

    params: PyTree
    optimiser: PyTree  # optax's, with the hyperparameters of the last step
    mean: PyTree | None  # running mean of params, if there is one
    step: Array  # int32, counts over all phases
    sums: Array  # [l] this epoch's sums of losses

    @property
    def scored(self) -> PyTree:
        """The weights that are scored and kept."""
        return self.params if self.mean is None else self.mean


class Epoch(NamedTuple):
    """Needs of one epoch's steps beside state and batch, computed ahead of them; row k is of
    step `first` + k.
    """

    key: Array  # step s draws from fold_in(key, s)
    first: Array  # int32
    knobs: PyTree
    drawn: PyTree  # [k, …]
    rates: dict[str, Array]  # [k] each
    decay: Array | None  # [k] of the running mean


@dataclass(frozen=True)
class Program:
    """The parts that a compiled step depends on: equal for members that share it."""

    graph: nnx.GraphDef
    traced: Hashable
    several: bool
    where: NamedSharding | None
    task: Task = field(compare=False, repr=False)
    phase: Phase | None = field(compare=False, repr=False)


def program_of(
    task: Task,
    graph: nnx.GraphDef,
    phase: Phase | None,
    several: bool = False,
    where: NamedSharding | None = None,
) -> Program:
    """The program of a task's steps in `phase`, or of its predictions (None)."""
    return Program(graph, task.traced(phase), several, where, task, phase)


@on_host()
def new_state(task: Task, phase: Phase, params: PyTree) -> State:
    """The state before the first step of `phase`, the training's first; it takes `params` over."""
    optimiser = task.optimiser(phase, 1)
    mean = None if optimiser.mean_decay is None else jax.tree.map(jnp.copy, params)
    moments = optimiser.transform.init(_trained(task, phase, params)[0])
    return State(params, moments, mean, jnp.zeros((), jnp.int32), jnp.zeros(len(task.losses)))


def next_phase(task: Task, phase: Phase, state: State, best: PyTree | None) -> State:
    """The state before the first step of a later phase: a fresh optimiser on the last weights, or
    on the `best`.
    """
    if best is not None:
        mean = None if state.mean is None else jax.tree.map(jnp.copy, best)
        state = state._replace(params=best, mean=mean)
    trained = _trained(task, phase, state.params)[0]
    return state._replace(optimiser=task.optimiser(phase, 1).transform.init(trained))


def _trained(task: Task, phase: Phase, params: PyTree) -> tuple[PyTree, PyTree]:
    """The variables that the phase trains, and the others."""
    trained, rest = nnx.split_state(params, task.trained(phase), ...)
    return trained, rest


@lru_cache(maxsize=64)
def train_step(program: Program) -> Callable[..., tuple[State, Array]]:
    """A program `(state, constants, epoch, active, batch) → (state, losses [l])`; it consumes
    `state`.

    A member that is not `active` keeps its state; its losses mean nothing. In a stack all but the
    batch have a leading member axis.
    """
    task, phase = program.task, program.phase
    assert phase is not None
    transform = task.optimiser(phase, 1).transform

    def step(
        state: State, constants: PyTree, epoch: Epoch, active: Array, batch: PyTree
    ) -> tuple[State, Array]:
        row = state.step - epoch.first
        rates, decay, drawn = jax.tree.map(
            lambda x: jax.lax.dynamic_index_in_dim(x, row, keepdims=False),
            (epoch.rates, epoch.decay, epoch.drawn),
        )
        key = jax.random.fold_in(epoch.key, state.step)
        trained, rest = _trained(task, phase, state.params)

        def loss(trained: PyTree) -> tuple[Array, Array]:
            model = nnx.merge(program.graph, nnx.merge_state(trained, rest), *constants)
            return task.loss(model, batch, epoch.knobs, drawn, key)

        gradients, losses = jax.grad(loss, has_aux=True)(trained)
        settings = {**state.optimiser.hyperparams, **rates}
        before = state.optimiser._replace(hyperparams=settings)
        updates, optimiser = transform.update(gradients, before, trained)
        params = nnx.merge_state(optax.apply_updates(trained, updates), rest)
        mean = state.mean
        if mean is not None:
            mean = optax.incremental_update(params, mean, 1 - decay)
        new = State(params, optimiser, mean, state.step + 1, state.sums + losses)
        if program.several:
            new = jax.tree.map(lambda now, old: jnp.where(active, now, old), new, state)
        return new, losses

    run = jax.vmap(step, in_axes=(0, 0, 0, 0, None)) if program.several else step
    return jax.jit(
        run,
        donate_argnums=0,
        out_shardings=program.where,
        compiler_options=compiler_options(),
    )


@lru_cache(maxsize=64)
def predict_step(program: Program) -> Callable[..., dict[str, Array]]:
    """A program `(params, constants, batch) → outputs [b, …]` by name; of a stack, `[b, m, …]`."""

    def step(params: PyTree, constants: PyTree, batch: PyTree) -> dict[str, Array]:
        return program.task.predict(nnx.merge(program.graph, params, *constants), batch)

    run = jax.vmap(step, in_axes=(0, 0, None), out_axes=1) if program.several else step
    return jax.jit(run, out_shardings=program.where, compiler_options=compiler_options())


@lru_cache(maxsize=64)
def draw_ahead(program: Program, steps: int, size: int) -> Callable[..., PyTree]:
    """A program `(key, knobs, first) → draws [k, …]` of `steps` steps on batches of `size`, from
    step `first` on.
    """

    def draw(key: Array, knobs: PyTree, first: Array) -> PyTree:
        def one(step: Array) -> PyTree:
            return program.task.draw(jax.random.fold_in(key, step), knobs, size)

        return jax.vmap(one)(first + jnp.arange(steps))

    return jax.jit(draw)


@on_host()
def epoch_of(
    task: Task,
    weights: Weights,
    phase: Phase,
    key: Array,
    *,
    first: int,
    start: int,
    steps: int,
    rows: int,
    size: int,
) -> Epoch:
    """The needs of an epoch of `steps` steps on batches of `size`.

    `first` counts the steps of the whole training before this epoch, `start` those of its phase.
    Draws and rates have `rows` rows, of which the first `steps` are used: with as many in every
    phase, phases share a program.
    """
    optimiser = task.optimiser(phase, steps * phase.epochs)
    rates = {name: _values(of, start, rows) for name, of in optimiser.schedules.items()}
    decay = optimiser.mean_decay
    knobs = task.knobs(phase)
    draw = draw_ahead(program_of(task, weights.graph, phase), rows, size)
    return Epoch(
        key=key,
        first=jnp.int32(first),
        knobs=knobs,
        drawn=draw(key, knobs, jnp.int32(first)),
        rates=rates,
        decay=None if decay is None else _values(decay, first, rows),
    )


def _values(schedule: optax.Schedule, first: int, rows: int) -> Array:
    """A schedule's values `[k]` from step `first` on."""
    counts = np.arange(first, first + rows)
    return jnp.broadcast_to(jnp.asarray(schedule(counts), jnp.float32), (rows,))
