"""The contract between the engine and what it trains: a task, its data, and the phases of its
training.

The engine (`medusa_jax/training`) names no model, loss, target or field of a batch. A new problem
is one file in this folder that implements `Task`, and `Dataset` where `tasks.utterances` does not
fit.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
import optax
from flax import nnx

PyTree = Any


@dataclass(frozen=True)
class Phase:
    """One phase of training: at most `epochs`, fewer if `patience` of them bring no better score.

    `starts_from`: the weights it begins with, of the last epoch so far or of the best one. `anew`:
    its epochs are compared among themselves alone, because its model is another one.
    """

    name: str
    epochs: int
    patience: int
    starts_from: Literal["last", "best"] = "last"
    anew: bool = False


class Optimiser(NamedTuple):
    """An optax transformation made by `inject_hyperparams`, and the values of its hyperparameters.

    `schedules` map a hyperparameter to its value by step of the phase. `mean_decay`: decay of a
    running mean of the weights by step of the whole training (None: no mean); the mean is then
    scored and kept in their place.
    """

    transform: optax.GradientTransformation
    schedules: Mapping[str, optax.Schedule]
    mean_decay: optax.Schedule | None = None


@runtime_checkable
class Task(Protocol):
    """All that the engine asks of what it trains. Methods that are traced use no state but their
    arguments.
    """

    @property
    def name(self) -> str:
        """The task's name in a configuration."""
        ...

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases, in order."""
        ...

    @property
    def losses(self) -> tuple[str, ...]:
        """Names of what `loss` returns, the total first."""
        ...

    @property
    def reads(self) -> Hashable:
        """Names of what `view` takes of a batch; members that differ in it are never stacked."""
        ...

    def traced(self, phase: Phase | None) -> Hashable:
        """Equal for tasks whose steps in this phase trace alike (None: whose predictions do).

        Everything else that members differ in is data: `knobs`, schedules, keys and weights.
        """
        ...

    @property
    def parts(self) -> int:
        """Pieces in which a step computes its batch one by one, to save memory; 1: the whole batch
        at once.
        """
        ...

    def undivided(self) -> "Task":
        """The same task with `parts` 1."""
        ...

    def build(self, key: jax.Array) -> nnx.Module:
        """An untrained model; pretrained weights and statistics are loaded here."""
        ...

    def trained(self, phase: Phase) -> nnx.filterlib.Filter:
        """The variables that the phase trains; the rest is frozen."""
        ...

    def optimiser(self, phase: Phase, steps: int) -> Optimiser:
        """The optimiser of a phase that takes `steps` steps in all."""
        ...

    def knobs(self, phase: Phase) -> PyTree:
        """Arrays that members may differ in without another program: weights of losses,
        probabilities, …
        """
        ...

    def draw(self, key: jax.Array, knobs: PyTree, size: int) -> PyTree:
        """Random numbers of one step on a batch of `size`, drawn ahead of it; traced over the steps
        of an epoch.
        """
        ...

    def view(self, batch: PyTree) -> PyTree:
        """The part of a dataset's batch that this task's programs take."""
        ...

    def loss(
        self, model: Any, batch: PyTree, knobs: PyTree, drawn: PyTree, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The loss, and the values of `losses` `[l]`, of a viewed batch; `key` is the step's
        own.
        """
        ...

    def predict(self, model: Any, batch: PyTree) -> dict[str, jax.Array]:
        """Outputs `[b, …]` by name for a viewed batch, without any randomness."""
        ...

    def score(self, predicted: dict[str, np.ndarray], phase: Phase) -> float:
        """Score predictions of the dataset's held-out part, in its order, after an epoch of
        `phase`; higher is better, above −1.
        """
        ...

    def watch(self, predicted: dict[str, np.ndarray], phase: Phase) -> dict[str, float]:
        """Further numbers for the epoch's line, which choose nothing, from predictions of the
        dataset's watched part.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Facts in JSON's types without which the weights are useless: classes, widths, extractors,
        …
        """
        ...


@runtime_checkable
class Dataset(Protocol):
    """Units (utterances, dialogues) by position, and the stream of batches that members of a group
    share. Positions of a training batch may be of its epoch alone.
    """

    @property
    def digest(self) -> str:
        """SHA-256 of all that its batches depend on."""
        ...

    @property
    def held_out(self) -> np.ndarray:
        """Positions that choose the best epoch."""
        ...

    @property
    def watched(self) -> np.ndarray:
        """Positions that are predicted after each epoch too, for numbers that choose nothing."""
        ...

    @property
    def size(self) -> int:
        """Units of a training batch."""
        ...

    def __len__(self) -> int: ...

    def check(self) -> None:
        """Raise `TrainingError` if there is nothing to learn from or to choose an epoch by."""
        ...

    def plan(self, phase: int, epoch: int) -> np.ndarray:
        """An epoch's batches, positions `[step, b]`: as many steps in every epoch of a phase."""
        ...

    def cover(self, positions: np.ndarray, size: int) -> np.ndarray:
        """Batches `[step, b]` with each position at least once, for evaluation."""
        ...

    def batch(self, positions: np.ndarray, rows: slice, when: tuple[int, int] | None) -> PyTree:
        """Arrays `[b, …]` of the units in `rows` of a batch; its shape follows from all of
        `positions`.

        `when`: phase and epoch of a training batch, for random crops and the like; None in
        evaluation.
        """
        ...

    def shapes(self, size: int) -> PyTree:
        """Shapes and types of the largest batch of `size` units."""
        ...

    def measures(self, plan: np.ndarray) -> dict[str, int | float]:
        """Numbers about an epoch's batches for its line of metrics."""
        ...

    def names(self, positions: Sequence[int] | np.ndarray, when: tuple[int, int]) -> list[str]:
        """Names of these units of a training batch of `when`, phase and epoch, for a message."""
        ...
