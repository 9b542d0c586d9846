"""Where each member of a group stands, and which of them train next (spec section 6: two stages, patience).

Members stop at different epochs. Those that are furthest behind train together while the others wait, so that every epoch
of a stage is one pass over the same batches for as many members as still need it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from medusa_jax.batches.epochs import stage_of
from medusa_jax.config.training import TrainingConfig

FINISHED = 3  # the stage after the last


@dataclass(frozen=True)
class Progress:
    """Where a member's training stands; a checkpoint keeps it beside the arrays."""

    stage: int = 1
    epoch: int = 0  # of this stage
    epochs: int = 0  # of both stages
    done: int = 0  # steps of this epoch
    best: float = -1.0
    best_epoch: int = -1
    stale: int = 0  # epochs of this stage since the best

    @property
    def finished(self) -> bool:
        """Whether both stages are done."""
        return self.stage == FINISHED


def begun(config: TrainingConfig) -> Progress:
    """Before the first epoch."""
    return _settled(Progress(), config)


def after_epoch(progress: Progress, score: float, config: TrainingConfig) -> Progress:
    """Where a member stands once an epoch's held-out score is known: the next epoch, the next stage, or finished."""
    epochs = progress.epochs + 1
    moved = replace(
        progress, epoch=progress.epoch + 1, epochs=epochs, done=0, stale=progress.stale + 1
    )
    if score > progress.best:
        moved = replace(moved, best=score, best_epoch=epochs, stale=0)
    return _settled(moved, config)


def _settled(progress: Progress, config: TrainingConfig) -> Progress:
    """Leave every stage that has had its epochs, or `patience` of them without a better score."""
    while not progress.finished:
        if (
            progress.epoch < stage_of(config, progress.stage).epochs
            and progress.stale < config.patience
        ):
            break
        progress = replace(progress, stage=progress.stage + 1, epoch=0, stale=0)
    return progress


def next_cohort(progress: Mapping[str, Progress]) -> tuple[str, ...]:
    """The unfinished members at the lowest (stage, epoch, step), in the mapping's order; none once all are finished."""
    places = {
        name: (one.stage, one.epoch, one.done) for name, one in progress.items() if not one.finished
    }
    lowest = min(places.values(), default=None)
    return tuple(name for name, place in places.items() if place == lowest)


def steps_left(progress: Progress, config: TrainingConfig, sizes: Mapping[int, int]) -> int:
    """How many steps of `sizes[stage]` an epoch may still come, if patience does not end them."""
    epochs = {
        stage: stage_of(config, stage).epochs - (progress.epoch if stage == progress.stage else 0)
        for stage in (1, 2)
    }
    return (
        sum(
            epochs[stage] * sizes[stage]
            for stage in epochs
            if stage >= progress.stage and epochs[stage]
        )
        - progress.done
    )
