"""The training of a group: members that read one stream of batches, scored each epoch, resumable at
any step.

Batch k of an epoch follows from the dataset, the phase and the epoch; dropout and other draws of
step s from the member's seed and s. So a member ends the same alone or in company, stopped and
resumed or not.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medusa_jax.batches.device_batch import device_batch
from medusa_jax.batches.prefetch import Loader
from medusa_jax.config.training import EngineConfig, TrackingConfig
from medusa_jax.errors import Interrupted, TrainingError
from medusa_jax.machines.compilations import compilations
from medusa_jax.machines.mesh import devices_of
from medusa_jax.machines.processes import StopRequest, known_to_all, wait_for_all
from medusa_jax.machines.stop import stop_requests
from medusa_jax.progress import Report, silent
from medusa_jax.tasks.task import Dataset
from medusa_jax.training.group_files import GroupFiles
from medusa_jax.training.members import Lanes, Member
from medusa_jax.training.memory import need_of, steps_side_by_side
from medusa_jax.training.prediction import predicted
from medusa_jax.training.schedule import Progress, after_epoch, begun, next_cohort, steps_left
from medusa_jax.training.seats import Seats

PyTree = Any


def train(
    members: Sequence[Member],
    data: Dataset,
    folder: Path,
    *,
    engine: EngineConfig | None = None,
    tracking: TrackingConfig | None = None,
    report: Report = silent,
) -> None:
    """Train members into `folder/members/ID`, or go on with what is there.

    Each folder ends with the weights of the epoch that scored best on the held-out part,
    `metrics.jsonl` (a line an epoch) and `member.json`; until all members are finished
    `folder/groups/` holds what is needed to go on. Raises `Interrupted` after SIGTERM or Ctrl-C,
    with the state saved; `TrainingError` for a loss that is not finite, naming member, step and
    units; `CheckpointError` for a checkpoint that is damaged or of another training.
    """
    files = GroupFiles(members, data, folder, tracking or TrackingConfig())
    if files.finished:
        return
    data.check()
    with closing(files), stop_requests() as asked:
        _Group(members, data, files, engine or EngineConfig(), report).train(asked)


class _Group:
    """One call of `train`: the members' progress, their seats and their files."""

    def __init__(
        self,
        members: Sequence[Member],
        data: Dataset,
        files: GroupFiles,
        engine: EngineConfig,
        report: Report,
    ) -> None:
        self.members, self.data, self.files = {one.id: one for one in members}, data, files
        self.engine, self.report, self.devices = engine, report, devices_of(engine.devices)
        needs = (need_of(one.task, data, self.devices.count) for one in members)
        side_by_side = steps_side_by_side(engine, needs)
        shapes = _plan_shapes(members, data)
        self.sizes = {number: steps for number, (steps, _) in shapes.items()}
        for _, size in shapes.values():
            self.devices.check(size)
        self.progress, self.unsaved = files.restored(), 0
        self.seats = Seats(self.members, files, side_by_side, self.devices)
        self.seats.restore(self.progress)
        # Only now, with every member's weights at hand, files appear in their folders.
        files.track(self.progress)

    def train(self, asked: Callable[[], bool]) -> None:
        """Train every epoch of every member."""
        stop = known_to_all(asked, self.devices)
        while cohort := next_cohort(self.progress):
            # The members furthest behind read the same epoch: its batches, draws and learning rates
            # are made first.
            began = time.monotonic()
            now = self.progress[cohort[0]]
            plan = self.data.plan(now.phase, now.epoch)
            self.seats.begin(cohort, self.progress, plan.shape, max(self.sizes.values()))
            compiled = compilations()
            # Steps: dispatch k, then look at the losses of k - 1 while the device works.
            waited = self._steps(plan, now, stop)
            seconds = time.monotonic() - began
            # Score and log before anything moves on, so that a line of metrics is of weights that
            # exist.
            scores = self._scores(now.phase)
            watched = self._watched(now.phase)
            measured = {
                "steps_per_second": (len(plan) - now.done) / seconds,
                "input_wait": waited / seconds,
                "compilations": compilations() - compiled,
                "seconds": time.monotonic() - began,
            }
            self._log(plan, now, scores, watched, measured)
            # The best weights are noted while the state still is of this epoch; then members move
            # on, which changes it.
            self._note_best()
            self.seats.move_on(now.phase, self.progress)
            self._tell()
            # Save when it is time or a member ends. A stop that came while the epoch was scored is
            # honoured here.
            stopped = stop(wait=True)
            ended = any(self.progress[name].finished for name in cohort)
            if stopped or ended or self.files.due(self.engine.save_minutes):
                self._save()
            if stopped:
                raise self._interrupted()
        self.files.wait()

    def _steps(self, plan: np.ndarray, now: Progress, stop: StopRequest) -> float:
        """Step through the rest of the epoch's batches; returns the seconds spent waiting for
        them.
        """
        training = self.seats.training
        names = [name for lanes in training for name in lanes.active]
        late: list[jax.Array] = []
        make = partial(device_batch, self.data, self.devices, when=(now.phase, now.epoch))
        with Loader(make, plan[now.done :]) as batches, jax.transfer_guard("disallow"):
            for batch in batches:
                losses = [lanes.step(batch) for lanes in training]
                self._check(training, late, plan)
                late = losses
                for name in names:
                    self.progress[name] = replace(
                        self.progress[name], done=self.progress[name].done + 1
                    )
                self.unsaved += 1
                self._tell()
                stopped = stop()
                if stopped or self.files.due(self.engine.save_minutes):
                    self._check(training, late, plan)
                    late = []
                    self._save()
                if stopped:
                    raise self._interrupted()
            self._check(training, late, plan)
        self.unsaved += 1  # the epoch's end
        return batches.waited

    def _scores(self, number: int) -> dict[str, float]:
        """Each active member's score on the held-out part."""
        scores = {}
        for name, own in self._predicted(self.data.held_out).items():
            if not all(np.isfinite(values).all() for values in own.values()):
                raise TrainingError(
                    "after this epoch the predictions of the held-out part are not finite",
                    where=f"member {name}",
                    hint="lower the learning rate",
                )
            task = self.members[name].task
            scores[name] = task.score(own, task.phases[number])
        return scores

    def _watched(self, number: int) -> dict[str, dict[str, float]]:
        """Each active member's numbers on the watched part, if there is one."""
        if not len(self.data.watched):
            return {}
        found = {}
        for name, own in self._predicted(self.data.watched).items():
            task = self.members[name].task
            found[name] = task.watch(own, task.phases[number])
        return found

    def _predicted(self, positions: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """Each active member's predictions of these units."""
        training = self.seats.training

        def run(batch: PyTree) -> list[dict[str, jax.Array]]:
            return [lanes.predict(batch) for lanes in training]

        outputs = predicted(run, self.data, positions, self.devices)
        found: dict[str, dict[str, np.ndarray]] = {}
        for lanes, own in zip(training, outputs, strict=True):
            found |= lanes.by_member(own, axis=1)
        return found

    def _log(
        self,
        plan: np.ndarray,
        now: Progress,
        scores: Mapping[str, float],
        watched: Mapping[str, Mapping[str, float]],
        measured: Mapping[str, float],
    ) -> None:
        """Move the progress on by an epoch, and hand its numbers to the trackers."""
        about: dict[str, int | float] = {"steps": len(plan), **self.data.measures(plan)}
        about |= measured
        for lanes in self.seats.training:
            for name, sums in lanes.sums().items():
                task, score = self.members[name].task, scores[name]
                line: dict[str, int | float | str] = {"phase": task.phases[now.phase].name}
                line |= dict(zip(task.losses, (sums / len(plan)).tolist(), strict=True))
                line |= {"selection_score": score, **watched.get(name, {}), **about}
                self.progress[name] = after_epoch(self.progress[name], score, task.phases)
                self.files.log(name, line, self.progress[name].epochs)

    def _note_best(self) -> None:
        """Note the weights of those whose best epoch this is."""
        for lanes in self.seats.training:
            ahead = [self.progress[name] for name in lanes.active]
            names = [
                n
                for n, one in zip(lanes.active, ahead, strict=True)
                if one.best_epoch == one.epochs
            ]
            for name, state in lanes.take(names).items():
                self.files.note_best(name, state.scored, self.seats.weights[name])

    def _check(self, training: Sequence[Lanes], late: list[jax.Array], plan: np.ndarray) -> None:
        """Log and raise `TrainingError` if a loss of the last step that counts as done is not
        finite.
        """
        for lanes, losses in zip(training, jax.device_get(late), strict=False):
            for name, values in lanes.by_member(losses).items():
                if not np.isfinite(values).all():
                    self._raise_not_finite(name, values, plan)

    def _raise_not_finite(self, name: str, values: np.ndarray, plan: np.ndarray) -> None:
        task, now = self.members[name].task, self.progress[name]
        named = {loss: str(value) for loss, value in zip(task.losses, values.tolist(), strict=True)}
        k, phase = now.done - 1, task.phases[now.phase].name
        about: dict[str, int | float | str] = {"phase": phase, "step": k}
        about |= {"stopped": "the loss is not finite", **named}
        self.files.log(name, about, now.epochs + 1)
        said = ", ".join(f"{loss} {value}" for loss, value in named.items())
        units = ", ".join(self.data.names(plan[k], (now.phase, now.epoch)))
        raise TrainingError(
            f"the loss is not finite ({said})",
            where=f"member {name}, step {k} of its epoch, {units}",
            hint="lower the learning rate, or look at the features of these",
        )

    def _save(self) -> None:
        """Write all that is needed to go on from here."""
        self.files.save(self.seats.fetched(), self.progress, self.unsaved)
        self.unsaved = 0

    def _tell(self) -> None:
        """Report the steps done, of all that may come; those that patience spares count as done."""
        total = left = 0
        for name, member in self.members.items():
            phases = member.task.phases
            total += steps_left(begun(phases), phases, self.sizes)
            left += steps_left(self.progress[name], phases, self.sizes)
        best = max(one.best for one in self.progress.values())
        self.report(total - left, total, f"selection score {best:.3f} (best)" if best > -1 else "")

    def _interrupted(self) -> Interrupted:
        self.files.wait()
        wait_for_all("stopped")
        return Interrupted(
            "stopped as asked; the state is saved",
            where=self.files.place,
            hint="run the same command again to go on",
        )


def _plan_shapes(members: Sequence[Member], data: Dataset) -> dict[int, tuple[int, int]]:
    """Steps of an epoch and size of its batches, by phase. Raises `TrainingError` for a member
    without an epoch.
    """
    for member in members:
        if begun(member.task.phases).finished:
            names = " or ".join(phase.name for phase in member.task.phases)
            raise TrainingError(
                "no epoch was asked for",
                where=f"member {member.id}",
                hint=f"set the epochs of {names} above 0",
            )
    wanted = {n for one in members for n, phase in enumerate(one.task.phases) if phase.epochs}
    shapes = {number: data.plan(number, 0).shape for number in sorted(wanted)}
    return {number: (steps, size) for number, (steps, size) in shapes.items()}
