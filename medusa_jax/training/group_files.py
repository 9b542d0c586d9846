"""What a group keeps on disk: one checkpoint to go on from, and for each member its metrics, its best weights and its end.

`groups/NAME/last-N` is one atomic thing: all members at the same moment, with their place in the data. Best weights wait in
memory until the next save, so that they are never newer than it by more than one save.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medusa_jax.batches.examples import Examples
from medusa_jax.config.training import MemberConfig, TrackingConfig
from medusa_jax.errors import TrainingError
from medusa_jax.files import digest_of, disk_errors, write_text
from medusa_jax.machines.processes import leads
from medusa_jax.training import checkpoint
from medusa_jax.training.member import digests_of_training
from medusa_jax.training.schedule import Progress, begun
from medusa_jax.training.step import State
from medusa_jax.training.tracking import Metrics, Tracker, trackers_of

PyTree = Any


class Keeper:
    """The files of one group below `folder`: `groups/NAME/` while it trains, `members/ID/` for good."""

    def __init__(
        self,
        configs: Sequence[MemberConfig],
        examples: Examples,
        fit: np.ndarray,
        held_out: np.ndarray,
        folder: Path,
        seed: int,
        tracking: TrackingConfig,
    ) -> None:
        self.configs, self.place = {config.id: config for config in configs}, folder
        self.digests = digests_of_training(configs, examples, fit, held_out, seed)
        self._digest = digest_of(self.digests)
        self._group = folder / "groups" / digest_of(sorted(self.configs))[:8]
        self._best: dict[str, tuple[int, PyTree, float]] = {}
        self._tracking, self._trackers = tracking, dict[str, Tracker]()
        self._steps, self._saved = 0, time.monotonic()

    def folder_of(self, member: str) -> Path:
        """Where a member lies."""
        return self.place / "members" / member

    @property
    def finished(self) -> bool:
        """Whether every member has come to its end."""
        return all((self.folder_of(name) / "member.json").exists() for name in self.configs)

    def restored(self, states: Mapping[str, State]) -> tuple[dict[str, State], dict[str, Progress]]:
        """The unfinished members' states and all members' progress: saved ones, or new ones.

        A member whose folder was removed starts anew. `states` are new ones; metrics of epochs that will be trained again are dropped.
        """
        found = checkpoint.restore(self._group, "last", self._digest)
        arrays, about = found if found is not None else ({}, {"members": {}, "steps": 0})
        self._steps = about["steps"]
        progress, current = {}, dict(states)
        for name, config in self.configs.items():
            saved = Progress(**about["members"].get(name, {}))
            there = name in about["members"] and (
                not saved.finished or (self.folder_of(name) / "member.json").exists()
            )
            progress[name] = saved if there else begun(config.training)
            if leads():
                self._trackers[name] = trackers_of(
                    self._tracking, self.folder_of(name), self.digests[name], progress[name].epochs
                )
            if progress[name].finished:
                del current[name]
            elif there:
                current[name] = jax.device_put(checkpoint.fill(states[name], arrays[name]))
        return current, progress

    def save(
        self, states: Mapping[str, PyTree], progress: Mapping[str, Progress], steps: int
    ) -> None:
        """Write the best weights, the ends of finished members, and all that is needed to go on, in this order.

        `states` are those of unfinished members, in NumPy; `steps` counts the steps since the last save (an epoch's scoring is
        one). Only the first of several processes writes.
        """
        if not leads():
            self._best.clear()
            return
        for name in list(self._best):
            epoch, tree, score = self._best[name]
            checkpoint.save(
                self.folder_of(name) / "checkpoints",
                "best",
                epoch,
                tree,
                {"held_out_macro_f1": score},
                self.digests[name],
            )
            del self._best[name]
        for name, one in progress.items():
            if one.finished and not (self.folder_of(name) / "member.json").exists():
                record = {
                    "member": self.configs[name].model_dump(mode="json"),
                    "held_out_macro_f1": one.best,
                    **asdict(one),
                }
                path = self.folder_of(name) / "member.json"
                with disk_errors(
                    TrainingError,
                    "the member's record",
                    path,
                    "training goes on from what was saved last",
                ):
                    write_text(path, json.dumps(record, indent=1))
        self._steps += steps
        if states:
            about = {
                "members": {name: asdict(one) for name, one in progress.items()},
                "steps": self._steps,
            }
            arrays = {name: checkpoint.as_dicts(state) for name, state in states.items()}
            checkpoint.save(self._group, "last", self._steps, arrays, about, self._digest)
        self._saved = time.monotonic()

    def due(self, minutes: float) -> bool:
        """Whether the last save is so long ago, for the process that saves."""
        return leads() and time.monotonic() - self._saved >= 60 * minutes

    def best(self, name: str, progress: Progress, params: PyTree, statistics: PyTree) -> None:
        """Note a member's best weights (a copy: the next step consumes them) for the next save."""
        tree = {
            "params": checkpoint.as_dicts(params),
            "statistics": checkpoint.as_dicts(statistics),
        }
        self._best[name] = (
            progress.best_epoch,
            jax.tree.map(np.array, jax.device_get(tree)),
            progress.best,
        )

    def log(self, name: str, metrics: Metrics, epoch: int) -> None:
        """Hand a member's metrics of an epoch to its trackers."""
        if leads():
            self._trackers[name].log(metrics, epoch)

    def close(self) -> None:
        """End the trackers; once every member is finished, remove what was only needed to go on."""
        for tracker in self._trackers.values():
            tracker.close()
        if not (leads() and self.finished):
            return
        shutil.rmtree(self._group, ignore_errors=True)
        if self._group.parent.is_dir() and not any(self._group.parent.iterdir()):
            self._group.parent.rmdir()


def begun_groups(folder: Path) -> list[list[str]]:
    """The ids of each group below `folder` that was begun and has not come to its end."""
    found = [checkpoint.newest_about(group, "last") for group in sorted(folder.glob("groups/*"))]
    return [list(about["members"]) for about in found if about is not None]
