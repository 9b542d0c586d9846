"""A stack: the members that one dispatch trains, either a single one or several of equal structure side by side under `vmap`.

Legend: in a stack of several every array has a leading `m`; a single member's arrays have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medusa_jax.batches.examples import Batch
from medusa_jax.machines.mesh import Devices
from medusa_jax.tasks.hyperparameters import Settings
from medusa_jax.training.member import Member
from medusa_jax.training.step import State, predict_step, train_step

PyTree = Any


@dataclass(frozen=True)
class Lane:
    """One member within its group: as it was built, the settings of its stage, and the state that its steps change."""

    id: str
    member: Member
    micro_batches: int
    settings: Settings
    state: State

    @property
    def structure(self) -> tuple[Any, ...]:
        """Lanes of equal structure can be stacked."""
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(self.state))
        return (
            self.member.graph,
            self.micro_batches,
            jax.tree.structure((self.state, self.settings)),
            shapes,
        )


class Stack:
    """Lanes of equal structure, trained and scored by one dispatch."""

    def __init__(self, lanes: Sequence[Lane], devices: Devices) -> None:
        first = lanes[0]
        self.ids = [lane.id for lane in lanes]
        self.modalities, self.several = first.member.modalities, len(lanes) > 1
        self._train = train_step(
            first.member.graph, first.micro_batches, self.several, devices.everywhere
        )
        self._predict = predict_step(first.member.graph, self.several, devices.everywhere)
        joined = [
            self._joined(trees)
            for trees in zip(
                *((lane.state, lane.member.statistics, lane.settings) for lane in lanes),
                strict=True,
            )
        ]
        self.state, self._statistics, self._settings = devices.replicated(joined)
        self._devices = devices

    def step(self, batch: Batch) -> jax.Array:
        """Train every member on the batch; their losses `[3]` or `[m, 3]`, still on the device."""
        self.state, losses = self._train(
            self.state, self._statistics, self._settings, batch.of(self.modalities)
        )
        return losses

    def predict(self, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Logits `[b, m, c]` and attributes `[b, m, 3]`, without `m` for a single member."""
        return self._predict(self.state.scored, self._statistics, batch.of(self.modalities))

    def losses(self) -> np.ndarray:
        """Each member's sums of losses since `clear_sums` `[m, 3]`."""
        return np.atleast_2d(jax.device_get(self.state.sums))

    def clear_sums(self) -> None:
        """Begin a new epoch's sums of losses."""
        self.state = self.state._replace(
            sums=self._devices.replicated(np.zeros(self.state.sums.shape, np.float32))
        )

    def fetched(self) -> dict[str, State]:
        """Each member's own state in NumPy."""
        if not self.several:
            return {self.ids[0]: jax.device_get(self.state)}
        state = jax.device_get(self.state)
        return {
            name: jax.tree.map(lambda leaf, m=m: leaf[m], state) for m, name in enumerate(self.ids)
        }

    def states(self) -> dict[str, State]:
        """Each member's own state."""
        if not self.several:
            return {self.ids[0]: self.state}
        return {
            name: jax.tree.map(lambda leaf, m=m: leaf[m], self.state)
            for m, name in enumerate(self.ids)
        }

    def _joined(self, trees: Sequence[PyTree]) -> PyTree:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) if self.several else trees[0]


def stacks_of(lanes: Sequence[Lane], side_by_side: bool, devices: Devices) -> list[Stack]:
    """The lanes in stacks: all of equal structure together if `side_by_side`, else each on its own."""
    if not side_by_side:
        return [Stack([lane], devices) for lane in lanes]
    alike: dict[tuple[Any, ...], list[Lane]] = {}
    for lane in lanes:
        alike.setdefault(lane.structure, []).append(lane)
    return [Stack(group, devices) for group in alike.values()]
