"""The members that train together: what each is, and the lanes in which they step as one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medusa_jax.machines.allocator import return_freed
from medusa_jax.machines.compilations import compilations
from medusa_jax.machines.mesh import Devices, on_host
from medusa_jax.tasks.task import Phase, Task
from medusa_jax.training.step import (
    Epoch,
    State,
    epoch_of,
    new_state,
    predict_step,
    program_of,
    train_step,
)
from medusa_jax.training.weights import Weights, new_weights

PyTree = Any
_INITIAL, _STEPS = 0, 1


@dataclass(frozen=True)
class Member:
    """A task to be trained under a name, from a seed.

    `config` is what its record keeps of its configuration; `digest` names all that its weights
    follow from.
    """

    id: str
    task: Task = field(repr=False)
    seed: tuple[int, int]  # the run's, and its own
    digest: str
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def initial_key(self) -> jax.Array:
        """The key of its untrained weights."""
        return jax.random.fold_in(self._key, _INITIAL)

    @property
    def steps_key(self) -> jax.Array:
        """The key of its steps."""
        return jax.random.fold_in(self._key, _STEPS)

    @property
    def _key(self) -> jax.Array:
        return jax.random.key(int(np.random.SeedSequence(self.seed).generate_state(1)[0]))


@dataclass(frozen=True)
class Lane:
    """A member's place: its weights' structure and constants, its phase, and the state that steps
    change.
    """

    member: Member
    weights: Weights  # without params
    phase: Phase
    state: State

    @property
    def structure(self) -> tuple[Any, ...]:
        """Lanes of equal structure can step as one."""
        task, leaves = self.member.task, jax.tree.leaves((self.state, self.weights.constants))
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        return self.weights.graph, task.traced(self.phase), task.reads, shapes


class Lanes:
    """Members of equal structure that one dispatch trains and scores.

    Those that have finished, or wait for the others, keep their lane and are masked: nothing is
    compiled again when a member ends. A single lane's arrays have no member axis.
    """

    def __init__(self, lanes: Sequence[Lane], devices: Devices) -> None:
        first, self.several = lanes[0], len(lanes) > 1
        self.ids = [lane.member.id for lane in lanes]
        self.task, self.phase, self._devices = first.member.task, first.phase, devices
        graph, where = first.weights.graph, devices.everywhere
        self._train = train_step(program_of(self.task, graph, self.phase, self.several, where))
        self._predict = predict_step(program_of(self.task, graph, None, self.several, where))
        parts = [(lane.state, lane.weights.constants) for lane in lanes]
        self._state, self._constants = devices.replicated(self._joined(parts))
        self._epoch: Epoch | None = None
        self._active: list[str] = []
        self._mask: jax.Array | None = None

    def begin(self, epochs: Mapping[str, Epoch], fresh: bool) -> None:
        """Make these members active for an epoch, with new sums of losses if it is `fresh`; the
        others wait.
        """
        self._active = [name for name in self.ids if name in epochs]
        if not self._active:
            return
        some = next(iter(epochs.values()))
        epochs_m = [epochs.get(name, some) for name in self.ids]
        mask = np.isin(self.ids, self._active)
        self._epoch = self._devices.replicated(self._joined(epochs_m))
        self._mask = self._devices.replicated(mask if self.several else mask[0])
        if fresh:
            zeros = np.zeros(self._state.sums.shape, np.float32)
            self._state = self._state._replace(sums=self._devices.replicated(zeros))

    @property
    def active(self) -> list[str]:
        """Ids of the members that step."""
        return self._active

    def step(self, batch: PyTree) -> jax.Array:
        """Train the active members on a batch; losses `[l]` or `[m, l]`, still on the device."""
        compiled = compilations()
        self._state, losses = self._train(*self.arguments(batch))
        if compilations() > compiled:
            return_freed()
        return losses

    def arguments(self, batch: PyTree) -> tuple[PyTree, ...]:
        """What the compiled step is called with."""
        return self._state, self._constants, self._epoch, self._mask, self.task.view(batch)

    def predict(self, batch: PyTree) -> dict[str, jax.Array]:
        """Outputs `[b, m, …]` by name, without `m` for a single member, of the weights that are
        scored.
        """
        return self._predict(self._state.scored, self._constants, self.task.view(batch))

    def by_member(self, fetched: PyTree, axis: int = 0) -> dict[str, PyTree]:
        """Arrays of all lanes (NumPy, member axis at `axis`) as each active member's own."""
        rows = {name: m for m, name in enumerate(self.ids) if name in self.active}
        if not self.several:
            return dict.fromkeys(rows, fetched)
        return {
            name: jax.tree.map(lambda x, m=m: x.take(m, axis), fetched) for name, m in rows.items()
        }

    def sums(self) -> dict[str, np.ndarray]:
        """Each active member's sums of losses `[l]` since the epoch began."""
        return self.by_member(jax.device_get(self._state.sums))

    def take(self, names: Iterable[str]) -> dict[str, State]:
        """States of these members, on the device."""
        wanted = {name: m for m, name in enumerate(self.ids) if name in set(names)}
        if not self.several:
            return dict.fromkeys(wanted, self._state)
        return {name: jax.tree.map(lambda x, m=m: x[m], self._state) for name, m in wanted.items()}

    def put(self, name: str, state: State) -> None:
        """Replace a member's state by one of the same structure."""
        state = self._devices.replicated(state)
        if not self.several:
            self._state = state
            return
        m = self.ids.index(name)
        self._state = jax.tree.map(lambda x, one: x.at[m].set(one), self._state, state)

    def fetched(self) -> dict[str, State]:
        """Every lane's state in NumPy."""
        state = jax.device_get(self._state)
        if not self.several:
            return {self.ids[0]: state}
        return {name: jax.tree.map(lambda x, m=m: x[m], state) for m, name in enumerate(self.ids)}

    @on_host()
    def _joined(self, trees: Sequence[PyTree]) -> PyTree:
        """The lanes' trees with a leading member axis, or a single one as it is."""
        return jax.tree.map(lambda *x: jnp.stack(x), *trees) if self.several else trees[0]


def lanes_of(lanes: Sequence[Lane], side_by_side: bool, devices: Devices) -> list[Lanes]:
    """Lanes by equal structure if `side_by_side`, else each by itself."""
    if not side_by_side:
        return [Lanes([lane], devices) for lane in lanes]
    alike: dict[tuple[Any, ...], list[Lane]] = {}
    for lane in lanes:
        alike.setdefault(lane.structure, []).append(lane)
    return [Lanes(some, devices) for some in alike.values()]


def one_lane(member: Member, number: int, plan_shape: tuple[int, int], devices: Devices) -> Lanes:
    """A new member in a lane of its own, ready for the steps of its phase `number`; for
    measurements.
    """
    weights, phase = new_weights(member.task, member.initial_key), member.task.phases[number]
    state = new_state(member.task, phase, weights.params)
    lanes = Lanes([Lane(member, replace(weights, params=None), phase, state)], devices)
    key, task = member.steps_key, member.task
    steps, size = plan_shape
    epoch = epoch_of(
        task, weights, phase, key, first=0, start=0, steps=steps, rows=steps, size=size
    )
    lanes.begin({member.id: epoch}, fresh=True)
    return lanes
