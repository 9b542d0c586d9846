"""What training a run will do and need, before it is done: `medusa train --plan`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from medusa_jax.batches.device_batch import device_batch
from medusa_jax.batches.epochs import class_targets, epoch_plan, stage_of
from medusa_jax.batches.examples import Examples
from medusa_jax.config.training import MemberConfig
from medusa_jax.machines.compilations import seconds_saved
from medusa_jax.machines.mesh import devices_of
from medusa_jax.models.flops import forward_flops, training_flops
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.train import all_courses, examples_of, groups_of, needs_of
from medusa_jax.runs.training_splits import Course
from medusa_jax.tasks.hyperparameters import settings_of
from medusa_jax.tasks.objective import class_weights
from medusa_jax.training.member import build, member_keys
from medusa_jax.training.memory import Need, budget, group_bytes, runs_side_by_side
from medusa_jax.training.prediction import prediction_batches
from medusa_jax.training.stack import Lane, stacks_of
from medusa_jax.training.step import new_state

STAGES = (1, 2)
_MEASURED = 3  # steps


@dataclass(frozen=True)
class Pace:
    """What the machine does: floating-point operations a second, and seconds to compile one structure's step and prediction for one shape."""

    speed: float
    compiling: float = 0.0


@dataclass(frozen=True)
class MemberPlan:
    """What one member needs, and the operations of its training, its scores and its predictions, if patience ends no stage early."""

    id: str
    modalities: tuple[str, ...]
    need: Need
    flops: float


@dataclass(frozen=True)
class GroupPlan:
    """Members that read one stream of batches; `steps`, `epochs` and `padding` (a share of the frames computed) by stage."""

    course: str  # the fold and inner fold, where there are several
    members: tuple[MemberPlan, ...]
    stacks: tuple[tuple[str, ...], ...]
    batch_size: int
    steps: dict[int, int]  # of one epoch
    epochs: dict[int, int]  # of the member that has most
    padding: dict[int, float]
    shapes: list[dict[str, int]]  # padded frames by modality
    shares: list[float]  # of Stage 1's batches, or of Stage 2's if there is no Stage 1
    bytes: int  # of each device

    @property
    def programs(self) -> set[Any]:
        """Training programs, if all members of equal structure go on together: one a structure and shape."""
        shapes = [tuple(shape.items()) for shape in self.shapes]
        return {
            (member.need.structure, self.batch_size, shape)
            for member in self.members
            for shape in shapes
        }

    @property
    def flops(self) -> float:
        """Of all members."""
        return sum(member.flops for member in self.members)


@dataclass(frozen=True)
class Plan:
    """All groups that are still to be trained, in order, and the device that they are planned for."""

    groups: tuple[GroupPlan, ...]
    budget: int  # bytes of each device
    side_by_side: bool
    device: str
    devices: int  # that share every batch

    @property
    def flops(self) -> float:
        """Of the whole training."""
        return sum(group.flops for group in self.groups)

    @property
    def programs(self) -> int:
        """Training programs to compile; groups and folds share them."""
        return len(set().union(*(group.programs for group in self.groups)))


def plan_of(prepared: Prepared) -> Plan:
    """Plan what `runs.train.train` would do now; members that are trained already are left out."""
    engine = prepared.run.config.engine
    courses = [course for fold in all_courses(prepared) for course in fold]
    groups = [
        _group(prepared, course, configs)
        for course in courses
        for configs in groups_of(prepared, course)
    ]
    return Plan(
        tuple(groups),
        budget(engine),
        runs_side_by_side(engine),
        jax.devices()[0].device_kind,
        devices_of(engine.devices).count,
    )


def _group(prepared: Prepared, course: Course, configs: Sequence[MemberConfig]) -> GroupPlan:
    engine = prepared.run.config.engine
    first, side_by_side, devices = (
        configs[0].training,
        runs_side_by_side(engine),
        devices_of(engine.devices),
    )
    examples = examples_of(prepared, first.shapes)
    epochs = {
        stage: max(stage_of(config.training, stage).epochs for config in configs)
        for stage in STAGES
    }
    plans = {
        stage: epoch_plan(examples, course.fit, first, prepared.run.config.seed, stage, 0)
        for stage in STAGES
        if epochs[stage]
    }
    needs = needs_of(prepared, configs)
    steps = {stage: _places(examples, plan) for stage, plan in plans.items()}
    held_out, predicted = (
        _places(examples, prediction_batches(examples, rows, devices))
        for rows in (course.held_out, course.predicted)
    )
    rungs = examples.rungs[next(iter(plans.values()))].max(axis=1)
    return GroupPlan(
        course=course.name,
        members=tuple(
            MemberPlan(
                c.id, c.modalities, needs[c.id], _flops(c, examples, steps, held_out, predicted)
            )
            for c in configs
        ),
        stacks=_stacks(needs, side_by_side),
        batch_size=first.batch_size,
        steps={stage: len(plan) for stage, plan in plans.items()},
        epochs=epochs,
        padding={stage: examples.padding_share(plan) for stage, plan in plans.items()},
        shapes=[
            dict(zip(examples.modalities, shape, strict=True)) for shape in examples.shapes.tolist()
        ],
        shares=(np.bincount(rungs, minlength=len(examples.shapes)) / len(rungs)).tolist(),
        bytes=group_bytes(list(needs.values()), side_by_side),
    )


def _stacks(needs: dict[str, Need], side_by_side: bool) -> tuple[tuple[str, ...], ...]:
    """Ids of the members that one dispatch trains."""
    stacks: dict[object, tuple[str, ...]] = {}
    for name, need in needs.items():
        key = need.structure if side_by_side else name
        stacks[key] = (*stacks.get(key, ()), name)
    return tuple(stacks.values())


def _places(examples: Examples, plan: np.ndarray) -> dict[int, int]:
    """Places in all batches `[step, b]` of a plan, by the rung that they are padded to."""
    rungs, counts = np.unique(examples.rungs[plan].max(axis=1), return_counts=True)
    return dict(zip(rungs.tolist(), (plan.shape[1] * counts).tolist(), strict=True))


def _flops(
    config: MemberConfig,
    examples: Examples,
    steps: dict[int, dict[int, int]],
    held_out: dict[int, int],
    predicted: dict[int, int],
) -> float:
    """Of all epochs of both stages, the held-out part scored after each, and of the predictions at the end; all as `_places`."""

    def of(places: dict[int, int], operations: Callable[..., float]) -> float:
        return sum(
            count * _flops_on(config, examples, rung, operations) for rung, count in places.items()
        )

    epochs = {stage: stage_of(config.training, stage).epochs for stage in steps}
    trained = sum(epochs[stage] * of(places, training_flops) for stage, places in steps.items())
    return (
        trained + sum(epochs.values()) * of(held_out, forward_flops) + of(predicted, forward_flops)
    )


def _flops_on(
    config: MemberConfig, examples: Examples, rung: int, operations: Callable[..., float]
) -> float:
    """Of one utterance padded to this shape."""
    shape = dict(zip(examples.modalities, examples.shapes[rung].tolist(), strict=True))
    names = config.modalities
    stacks = [config.model.stack.get(name, 1) for name in names]
    return operations(
        config.model,
        [examples.widths[name] for name in names],
        [shape[name] for name in names],
        stacks,
    )


def measured_pace(prepared: Prepared) -> Pace:
    """What this machine does in a few real steps of the first member on the most frequent shape, on all devices that share a batch."""
    config = prepared.run.config.members[0]
    examples, fit = examples_of(prepared, config.training.shapes), prepared.folds[0].fit
    devices = devices_of(prepared.run.config.engine.devices)
    stage = 1 if config.training.stage1.epochs else 2
    plan = epoch_plan(examples, fit, config.training, 0, stage, 0)
    rungs = examples.rungs[plan].max(axis=1)
    rung = int(np.bincount(rungs).argmax())
    member = build(config, examples, {}, 0)
    weights_c = class_weights(class_targets(examples, config.training)[fit])
    settings = settings_of(config.training, stage, 1, weights_c, member_keys(0, config)[1])
    state = new_state(member.params, config.training.ema is not None)
    (stack,) = stacks_of(
        [Lane(config.id, member, config.training.micro_batches, settings, state)], False, devices
    )
    batch = device_batch(examples, devices, plan[rungs == rung][0])
    compiling = _seconds(lambda: (stack.step(batch), stack.predict(batch)))
    seconds = _seconds(lambda: [stack.step(batch) for _ in range(_MEASURED)])
    speed = _MEASURED * plan.shape[1] * _flops_on(config, examples, rung, training_flops) / seconds
    return Pace(speed, compiling)


def _seconds(work: Callable[[], object]) -> float:
    """How long the devices take for it; programs that are read from the cache on disk count as compiled."""
    saved, began = seconds_saved(), time.monotonic()
    jax.block_until_ready(work())
    return time.monotonic() - began + seconds_saved() - saved
