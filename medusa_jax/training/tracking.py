"""Trackers of a member's metrics: a line of JSON an epoch, always; TensorBoard and Weights & Biases
where the configuration asks for them.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal, Protocol, runtime_checkable

from medusa_jax.config.training import TrackingConfig
from medusa_jax.errors import DependencyError, TrainingError
from medusa_jax.files import disk_errors, write_text

Metrics = Mapping[str, float | int | str]


@runtime_checkable
class Tracker(Protocol):
    """Takes a member's metrics as they come. `step` counts the epochs over all phases, from 1, and
    never falls.
    """

    def log(self, metrics: Metrics, step: int) -> None:
        """Keep these values: they are on disk when this returns."""
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


def trackers_of(config: TrackingConfig, folder: Path, identity: str, done: int = 0) -> Tracker:
    """One tracker that hands everything to all that `config` names, for a member that lies in
    `folder` and has trained `done` epochs.

    What was logged of later epochs, which will be trained again, is dropped. `identity` (a digest)
    tells the member's training from every other. Raises `DependencyError` if an extra is not
    installed.
    """
    trackers: list[Tracker] = [JsonLines(folder / "metrics.jsonl", done)]
    if config.tensorboard:
        trackers.append(TensorBoard(folder / "tensorboard", done))
    if config.wandb is not None:
        trackers.append(WandB(folder, identity, config.wandb, config.wandb_project))
    return Several(trackers)


class Several:
    """Hands everything to each of its trackers."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers

    def log(self, metrics: Metrics, step: int) -> None:
        """Log to each."""
        for tracker in self._trackers:
            tracker.log(metrics, step)

    def close(self) -> None:
        """Close each."""
        for tracker in self._trackers:
            tracker.close()


class JsonLines:
    """A file of JSON lines, each with its `epoch`; a line that was torn by a kill is dropped with
    those of later epochs than `done`.
    """

    def __init__(self, path: Path, done: int = 0) -> None:
        self._path = path
        lines = (
            path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        )
        with self._told():
            write_text(path, "".join(line + "\n" for line in lines if _epoch_of(line) <= done))

    def log(self, metrics: Metrics, step: int) -> None:
        """Append a line. Raises `TrainingError` on a full disk; what was written of the line is
        dropped when the training goes on.
        """
        with self._told(), open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": step, **metrics}) + "\n")

    def close(self) -> None:
        """Nothing is held open."""

    def _told(self) -> AbstractContextManager[None]:
        return disk_errors(
            TrainingError, "the metrics", self._path, "training goes on from what was saved last"
        )


def _epoch_of(line: str) -> float:
    """The line's epoch; infinitely late if it has none."""
    with suppress(ValueError, KeyError, TypeError):
        return float(json.loads(line)["epoch"])
    return float("inf")


class TensorBoard:
    """Event files that `tensorboard --logdir RUN` shows; it is told to forget what earlier files
    say of epochs that come again.
    """

    def __init__(self, folder: Path, done: int = 0) -> None:
        # the name has the second only, and a file of the same second would be overwritten
        suffix = f".from-{done + 1}"
        self._writer = _extra("tensorboardX").SummaryWriter(
            str(folder), purge_step=done + 1, filename_suffix=suffix
        )

    def log(self, metrics: Metrics, step: int) -> None:
        """Every number is a scalar; words are left out."""
        for name, value in metrics.items():
            if not isinstance(value, str):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """End the event file."""
        self._writer.close()


class WandB:
    """A Weights & Biases run a member, below `folder/wandb`; offline it needs no network, `wandb
    sync` uploads it later.

    A member that goes on is the same run there. Of epochs that were logged before and trained again
    it keeps the first, which held the same numbers.
    """

    def __init__(
        self, folder: Path, identity: str, mode: Literal["offline", "online"], project: str
    ) -> None:
        if mode == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # no network unless asked
        wandb = _extra("wandb")
        quiet = wandb.Settings(silent=True, console="off")
        # …/RUN/members/ID, or …/RUN/fold-1/members/ID
        above = "/".join(folder.resolve().parts[-4:-2])
        names = {"project": project, "name": folder.name, "group": above, "id": identity[:32]}
        self._run = wandb.init(
            dir=str(folder), mode=mode, resume="allow", reinit="create_new", settings=quiet, **names
        )

    def log(self, metrics: Metrics, step: int) -> None:
        """Log every value."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """End the run, uploading what is left if online."""
        self._run.finish()


def _extra(package: str) -> ModuleType:
    """A package of the extra `track`."""
    try:
        return import_module(package)
    except ImportError as error:
        raise DependencyError(
            f"{package} is not installed",
            hint="pip install 'medusa-jax[track]', or leave it out of `tracking`",
        ) from error
