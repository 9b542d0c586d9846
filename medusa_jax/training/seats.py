"""Where the members of a group have their states: in the lanes of a phase, or waiting for one."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import jax

from medusa_jax.machines.mesh import Devices
from medusa_jax.tasks.task import Phase
from medusa_jax.training.group_files import GroupFiles
from medusa_jax.training.members import Lane, Lanes, Member, lanes_of
from medusa_jax.training.schedule import Progress
from medusa_jax.training.step import Epoch, State, epoch_of, new_state, next_phase
from medusa_jax.training.weights import Weights, new_weights

PyTree = Any


class Seats:
    """The states of a group's unfinished members.

    `lanes` are those of the current phase; `weights` hold each member's structure and constants.
    """

    def __init__(
        self, members: Mapping[str, Member], files: GroupFiles, side_by_side: bool, devices: Devices
    ) -> None:
        self.members, self.files, self.devices = members, files, devices
        self.side_by_side = side_by_side
        self.lanes: list[Lanes] = []
        self.weights: dict[str, Weights] = {}
        self._waiting: dict[str, State] = {}  # of members that have no lane yet
        self._seated: set[str] = set()  # members that have one

    def restore(self, progress: Mapping[str, Progress]) -> None:
        """Take in the state of every unfinished member: as it was saved last, or new."""
        for name, member in self.members.items():
            now = progress[name]
            if not now.finished:
                blank = self._new(name, member.task.phases[now.phase])
                self._waiting[name] = self.files.state_of(name, blank, self.weights[name])

    def _new(self, name: str, phase: Phase) -> State:
        """An untrained state; the member's structure and constants are kept."""
        member = self.members[name]
        weights = new_weights(member.task, member.initial_key)
        self.weights[name] = replace(weights, params=None)
        return new_state(member.task, phase, weights.params)

    @property
    def training(self) -> list[Lanes]:
        """The lanes that have an active member."""
        return [lanes for lanes in self.lanes if lanes.active]

    def begin(
        self,
        cohort: Collection[str],
        progress: Mapping[str, Progress],
        plan_shape: tuple[int, int],
        rows: int,
    ) -> None:
        """Seat the cohort in lanes, and give the lanes the needs of their epoch.

        Draws and rates are made ahead for `rows` steps, as many as the longest epoch of any phase.
        """
        first = next(progress[name] for name in cohort)
        if any(name in self._waiting for name in cohort):
            self._assemble(first.phase, progress)
        for lanes in self.lanes:
            epochs = {}
            for name in lanes.ids:
                if name in cohort:
                    epochs[name] = self._epoch(name, progress[name], plan_shape, rows)
            lanes.begin(epochs, fresh=first.done == 0)

    def _assemble(self, number: int, progress: Mapping[str, Progress]) -> None:
        """Build the lanes of a phase, where members step side by side one for each member of the
        group.

        So lanes depend on the group and the phase alone: with idle ones for finished members, a
        resumed run steps in the same programs as one that never stopped, and to the same bits.
        """
        for lanes in self.lanes:
            self._waiting |= lanes.take(self._seated & set(lanes.ids))
        self._seated.clear()
        places = []
        for name, member in self.members.items():
            phase = member.task.phases[min(number, len(member.task.phases) - 1)]
            if name in self._waiting and _fits(member, progress[name], phase):
                self._seated.add(name)
                places.append(Lane(member, self.weights[name], phase, self._waiting.pop(name)))
            elif self.side_by_side:
                state = self._new(name, phase)
                places.append(Lane(member, self.weights[name], phase, state))
        self.lanes = lanes_of(places, self.side_by_side, self.devices)

    def _epoch(self, name: str, now: Progress, plan_shape: tuple[int, int], rows: int) -> Epoch:
        member, (steps, size) = self.members[name], plan_shape
        return epoch_of(
            member.task,
            self.weights[name],
            member.task.phases[now.phase],
            member.steps_key,
            first=now.steps,
            start=now.epoch * steps,
            steps=steps,
            rows=rows,
            size=size,
        )

    def move_on(self, number: int, progress: Mapping[str, Progress]) -> None:
        """Begin the next phase, with a fresh optimiser, of members whose phase `number` is over.

        Finished members leave.
        """
        for lanes in self.lanes:
            for name in lanes.active:
                if progress[name].phase != number:
                    self._seated.discard(name)
                    if not progress[name].finished:
                        self._enter(name, lanes, progress[name].phase)

    def _enter(self, name: str, lanes: Lanes, number: int) -> None:
        """Give a member the state that its phase begins with, in its lane if that fits."""
        member = self.members[name]
        phase = member.task.phases[number]
        state, best = lanes.take([name])[name], None
        if phase.starts_from == "best":
            best = self.files.best_params(name, state.params)
        state = next_phase(member.task, phase, state, best)
        if member.task.traced(phase) == member.task.traced(lanes.phase):
            self._seated.add(name)
            lanes.put(name, state)
        else:
            self._waiting[name] = state

    def fetched(self) -> dict[str, PyTree]:
        """Every unfinished member's state in NumPy."""
        states = {name: jax.device_get(state) for name, state in self._waiting.items()}
        for lanes in self.lanes:
            own = lanes.fetched()
            states |= {name: own[name] for name in own.keys() & self._seated}
        return states


def _fits(member: Member, now: Progress, phase: Phase) -> bool:
    """Tell whether the member's own phase traces like this one."""
    own = member.task.phases[now.phase]
    return member.task.traced(own) == member.task.traced(phase)
