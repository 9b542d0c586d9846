"""Each member's progress through its phases, and which members train next.

Members stop at different epochs. Those that are furthest behind train while the others wait, so
that every epoch of a phase is one pass over the same batches for as many members as still need it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from medusa_jax.tasks.task import Phase


@dataclass(frozen=True)
class Progress:
    """A member's place in its training; a checkpoint keeps it beside the arrays."""

    phase: int = 0  # the number of phases once all are over
    epoch: int = 0  # of this phase
    epochs: int = 0  # of all phases
    steps: int = 0  # of all epochs before this one
    done: int = 0  # steps of this epoch
    best: float = -1.0
    best_epoch: int = -1
    stale: int = 0  # epochs of this phase since the best
    finished: bool = False


def begun(phases: Sequence[Phase]) -> Progress:
    """Before the first epoch."""
    return _settled(Progress(), phases)


def after_epoch(progress: Progress, score: float, phases: Sequence[Phase]) -> Progress:
    """The place after an epoch of `progress.done` steps that scored this: next epoch, next phase,
    or the end.
    """
    epochs, steps = progress.epochs + 1, progress.steps + progress.done
    moved = replace(progress, epoch=progress.epoch + 1, epochs=epochs, steps=steps, done=0)
    first = phases[progress.phase].anew and progress.epoch == 0
    if first or score > progress.best:
        moved = replace(moved, best=score, best_epoch=epochs, stale=0)
    else:
        moved = replace(moved, stale=progress.stale + 1)
    return _settled(moved, phases)


def _settled(progress: Progress, phases: Sequence[Phase]) -> Progress:
    """Leave every phase that has had its epochs, or `patience` of them without a better score."""
    while not progress.finished:
        if progress.phase == len(phases):
            return replace(progress, finished=True)
        phase = phases[progress.phase]
        if progress.epoch < phase.epochs and progress.stale < phase.patience:
            break
        progress = replace(progress, phase=progress.phase + 1, epoch=0, stale=0)
    return progress


def next_cohort(progress: Mapping[str, Progress]) -> tuple[str, ...]:
    """The unfinished members at the lowest (phase, epoch, step), in order; none once all are
    finished.
    """
    unfinished = {name: one for name, one in progress.items() if not one.finished}
    places = {name: (one.phase, one.epoch, one.done) for name, one in unfinished.items()}
    lowest = min(places.values(), default=None)
    return tuple(name for name, place in places.items() if place == lowest)


def steps_left(progress: Progress, phases: Sequence[Phase], sizes: Mapping[int, int]) -> int:
    """Steps that may still come, of `sizes[phase]` an epoch, if patience ends no phase early."""
    left = -progress.done
    for number, phase in enumerate(phases[progress.phase :], progress.phase):
        epochs = phase.epochs - (progress.epoch if number == progress.phase else 0)
        left += epochs * sizes.get(number, 0)
    return left
