"""The files of a group: one checkpoint to go on from, and for each member its metrics and its
folder.

`groups/NAME/last-N` is one atomic thing: all members at the same moment, with their best weights so
far and their place in the data. A member's own folder gets its weights once, when it is finished.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medusa_jax.config.training import TrackingConfig
from medusa_jax.files import digest_of
from medusa_jax.machines.processes import leads
from medusa_jax.tasks.task import Dataset
from medusa_jax.training import checkpoint
from medusa_jax.training.member_folder import MemberFolder
from medusa_jax.training.members import Member
from medusa_jax.training.schedule import Progress, begun
from medusa_jax.training.step import State
from medusa_jax.training.tracking import Metrics, Tracker, trackers_of
from medusa_jax.training.weights import Weights

PyTree = Any


class GroupFiles:
    """The files of one group below `place`: `groups/NAME/` while it trains, `members/ID/` for
    good.
    """

    def __init__(
        self, members: Sequence[Member], data: Dataset, place: Path, tracking: TrackingConfig
    ) -> None:
        self.members, self.place = {one.id: one for one in members}, place
        self.folders = {one.id: MemberFolder(place / "members" / one.id) for one in members}
        self._digest = digest_of({one.id: one.digest for one in members} | {"data": data.digest})
        self._group = place / "groups" / digest_of(sorted(self.members))[:8]
        self._best: dict[str, PyTree] = {}
        self._frozen: dict[str, str | None] = {}
        self._saved: dict[str, PyTree] = {}
        self._tracking, self._trackers = tracking, dict[str, Tracker]()
        self._steps, self._last_save = 0, time.monotonic()
        self._writer: checkpoint.Writer | None = None

    @property
    def finished(self) -> bool:
        """Tell whether every member has come to its end. Raises `CheckpointError` for one of
        another training.
        """
        ended = [name for name, folder in self.folders.items() if folder.finished]
        for name in ended:
            self.folders[name].check(self.members[name].digest)
        return len(ended) == len(self.members)

    def restored(self) -> dict[str, Progress]:
        """Every member's progress: as saved last, or new; a member whose folder was removed starts
        anew.
        """
        found = checkpoint.restore(self._group, "last", self._digest)
        arrays, about = found if found is not None else ({}, {"members": {}, "steps": 0})
        self._steps = about["steps"]
        progress = {}
        for name, member in self.members.items():
            saved = Progress(**about["members"].get(name, {}))
            there = name in about["members"] and (not saved.finished or self.folders[name].finished)
            progress[name] = saved if there else begun(member.task.phases)
            if there and not saved.finished:
                self._saved[name] = arrays["states"][name]
                if name in arrays.get("best", {}):
                    self._best[name] = arrays["best"][name]
        return progress

    def track(self, progress: Mapping[str, Progress]) -> None:
        """Open every member's trackers; metrics of epochs that will be trained again are
        dropped.
        """
        if not leads():
            return
        for name, member in self.members.items():
            folder, epochs = self.folders[name].path, progress[name].epochs
            self._trackers[name] = trackers_of(self._tracking, folder, member.digest, epochs)

    def state_of(self, name: str, blank: State, weights: Weights) -> State:
        """A member's state as restored, or `blank`, a new one of its structure; `weights` are its
        constants.
        """
        self._frozen[name] = weights.frozen_digest()
        saved = self._saved.pop(name, None)
        return blank if saved is None else jax.device_put(checkpoint.fill(blank, saved))

    def note_best(self, name: str, scored: PyTree, weights: Weights) -> None:
        """Keep a copy of a member's best weights: the next step consumes them."""
        tree = {"params": scored, "statistics": weights.measured}
        self._best[name] = jax.tree.map(np.array, jax.device_get(checkpoint.as_dicts(tree)))

    def best_params(self, name: str, like: PyTree) -> PyTree:
        """A member's best parameters so far."""
        return jax.device_put(checkpoint.fill(like, self._best[name]["params"]))

    def save(
        self, states: Mapping[str, PyTree], progress: Mapping[str, Progress], steps: int
    ) -> None:
        """Write finished members' folders, then in the background all that is needed to go on.

        `states` are those of unfinished members, in NumPy; `steps` counts the steps since the last
        save (an epoch's scoring is one). Only the first of several processes writes.
        """
        for name, one in progress.items():
            if one.finished and name in self._best:
                best = self._best.pop(name)
                if leads():
                    self.folders[name].write(self.members[name], one, best, self._frozen[name])
        self._steps += steps
        if states and leads():
            about = {"members": {name: asdict(one) for name, one in progress.items()}}
            best = {name: tree for name, tree in self._best.items() if name in states}
            own = {name: checkpoint.as_dicts(state) for name, state in states.items()}
            self._writer = self._writer or checkpoint.Writer()
            self._writer.save(
                self._group,
                "last",
                self._steps,
                {"states": own, **({"best": best} if best else {})},
                {**about, "steps": self._steps},
                self._digest,
            )
        self._last_save = time.monotonic()

    def wait(self) -> None:
        """Go on once everything is on disk."""
        if self._writer is not None:
            self._writer.wait()

    def due(self, minutes: float) -> bool:
        """Tell whether it is time to save, in the process that saves."""
        return leads() and time.monotonic() - self._last_save >= 60 * minutes

    def log(self, name: str, metrics: Metrics, epoch: int) -> None:
        """Hand a member's metrics of an epoch to its trackers."""
        if leads():
            self._trackers[name].log(metrics, epoch)

    def close(self) -> None:
        """End the trackers; once every member is finished, remove what was only needed to go on."""
        for tracker in self._trackers.values():
            tracker.close()
        if self._writer is not None:
            self._writer.close()
        if not (leads() and all(folder.finished for folder in self.folders.values())):
            return
        shutil.rmtree(self._group, ignore_errors=True)
        if self._group.parent.is_dir() and not any(self._group.parent.iterdir()):
            self._group.parent.rmdir()


def begun_groups(folder: Path) -> list[list[str]]:
    """The ids of each group below `folder` that was begun and has not come to its end."""
    found = [checkpoint.newest_about(group, "last") for group in sorted(folder.glob("groups/*"))]
    return [list(about["members"]) for about in found if about is not None]
