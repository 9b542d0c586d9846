"""Groups, memory and operations of a run's training, before it starts: `medusa train --plan`."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from medusa_jax.batches.device_batch import device_batch
from medusa_jax.batches.dialogues import Conversations
from medusa_jax.batches.examples import Examples
from medusa_jax.config.training import MemberConfig
from medusa_jax.machines.compilations import seconds_saved
from medusa_jax.machines.mesh import Devices, devices_of
from medusa_jax.models.flops import TRAINING, forward_flops, summer_flops, training_flops
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.training_plan import Group, Readings, training_plan
from medusa_jax.tasks.dialogues import Dialogues
from medusa_jax.tasks.finetuning_inputs import finetuned_flops
from medusa_jax.tasks.registry import task_of
from medusa_jax.tasks.utterances import Utterances
from medusa_jax.training.members import Member, one_lane
from medusa_jax.training.memory import Need, budget, group_bytes, steps_side_by_side
from medusa_jax.training.prediction import prediction_batches

STAGES = (1, 2)
_MEASURED = 3  # steps


@dataclass(frozen=True)
class Pace:
    """Speed of the machine."""

    speed: float  # floating-point operations a second
    compiling: float = 0.0  # seconds for the step and the prediction of one structure and shape


@dataclass(frozen=True)
class MemberPlan:
    """One member's need of memory, and its operations if patience ends no stage early."""

    id: str
    modalities: tuple[str, ...]
    need: Need
    flops: float  # of training, scores and predictions


@dataclass(frozen=True)
class GroupPlan:
    """Members that read one stream of batches; `steps`, `epochs` and `padding` are by stage."""

    split: str  # the fold and inner fold, where there are several
    members: tuple[MemberPlan, ...]
    stacks: tuple[tuple[str, ...], ...]
    batch_size: int
    steps: dict[int, int]  # of one epoch
    epochs: dict[int, int]  # of the member that has most
    padding: dict[int, float]  # share of the computed frames
    shapes: list[dict[str, int]]  # padded frames by modality
    shares: list[float]  # of Stage 1's batches, or of Stage 2's if there is no Stage 1
    bytes: int  # of each device

    @property
    def programs(self) -> set[Any]:
        """Training programs, one for each structure and shape of inputs."""
        found: set[Any] = set()
        for member in self.members:
            slots = {tuple(shape[name] for name in member.modalities) for shape in self.shapes}
            found |= {(member.need.program, self.batch_size, lengths) for lengths in slots}
        return found

    @property
    def flops(self) -> float:
        """Of all members."""
        return sum(member.flops for member in self.members)


@dataclass(frozen=True)
class Plan:
    """Groups still to be trained, in order, and the device that they are planned for."""

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
    """Plan the rest of the run's training; members that are trained already are left out."""
    engine = prepared.run.config.engine
    found = training_plan(prepared)
    needs = [need for group in found.every_group for need in group.needs]
    side_by_side = steps_side_by_side(engine, needs) if needs else False
    devices = devices_of(engine.devices)
    groups = [_group(group, side_by_side, devices) for group in found.every_group]
    kind = jax.devices()[0].device_kind
    return Plan(tuple(groups), budget(engine), side_by_side, kind, devices.count)


def _group(group: Group, side_by_side: bool, devices: Devices) -> GroupPlan:
    data, configs, examples = group.data, group.configs, group.data.examples
    epochs = {stage: max(_epochs(one, stage) for one in configs) for stage in STAGES}
    plans = {stage: data.plan(stage - 1, 0) for stage in STAGES if epochs[stage]}
    steps = {stage: _counted(data.rungs(plan), plan) for stage, plan in plans.items()}
    whole = data.evaluated
    scored = _places(whole, prediction_batches(data, data.units(group.split.held_out), devices))
    predicted = _places(whole, prediction_batches(data, data.units(group.split.predicted), devices))
    needs = {one.id: need for one, need in zip(configs, group.needs, strict=True)}
    rungs = data.rungs(next(iter(plans.values())))
    members = []
    for one in configs:
        flops = _flops(one, data, steps, scored, predicted)
        members.append(MemberPlan(one.id, one.modalities, needs[one.id], flops))
    shapes = [dict(zip(examples.modalities, row, strict=True)) for row in examples.shapes.tolist()]
    return GroupPlan(
        split=group.split.name,
        members=tuple(members),
        stacks=_stacks(needs, side_by_side),
        batch_size=data.size,
        steps={stage: len(plan) for stage, plan in plans.items()},
        epochs=epochs,
        padding={stage: data.measures(plan)["padding"] for stage, plan in plans.items()},
        shapes=shapes,
        shares=(np.bincount(rungs, minlength=len(shapes)) / len(rungs)).tolist(),
        bytes=group_bytes(list(group.needs), side_by_side),
    )


def _epochs(config: MemberConfig, stage: int) -> int:
    """Most epochs of a stage."""
    return (config.training.stage1 if stage == 1 else config.training.stage2).epochs


def _stacks(needs: dict[str, Need], side_by_side: bool) -> tuple[tuple[str, ...], ...]:
    """Ids of the members that one dispatch trains."""
    stacks: dict[object, tuple[str, ...]] = {}
    for name, need in needs.items():
        key = need.structure if side_by_side else name
        stacks[key] = (*stacks.get(key, ()), name)
    return tuple(stacks.values())


def _places(examples: Examples | Conversations, plan: np.ndarray) -> dict[int, int]:
    """Places in batches `[step, b]` of units, by the rung that they are padded to."""
    return _counted(examples.rungs[plan].max(axis=1), plan)


def _counted(rungs: np.ndarray, plan: np.ndarray) -> dict[int, int]:
    """Places by rung, from the rung of each batch."""
    found, counts = np.unique(rungs, return_counts=True)
    return dict(zip(found.tolist(), (plan.shape[1] * counts).tolist(), strict=True))


def _flops(
    config: MemberConfig,
    data: Utterances | Dialogues,
    steps: dict[int, dict[int, int]],
    held_out: dict[int, int],
    predicted: dict[int, int],
) -> float:
    """Operations of both stages, of scoring the held-out part each epoch, and of the predictions.

    The last three arguments are as of `_places`.
    """

    def of(
        examples: Examples | Conversations,
        places: dict[int, int],
        operations: Callable[..., float],
    ) -> float:
        return sum(
            count * _flops_on(config, examples, rung, operations) for rung, count in places.items()
        )

    total = of(data.evaluated, predicted, forward_flops)
    for stage, places in steps.items():
        trained = of(data.examples, places, training_flops)
        total += _epochs(config, stage) * (trained + of(data.evaluated, held_out, forward_flops))
    return total


def _flops_on(
    config: MemberConfig,
    examples: Examples | Conversations,
    rung: int,
    operations: Callable[..., float],
) -> float:
    """Operations on one utterance or dialogue padded to this shape."""
    shape = dict(zip(examples.modalities, examples.shapes[rung].tolist(), strict=True))
    names = config.modalities
    passes = 1 if operations is forward_flops else TRAINING
    if config.task == "conversation":
        assert config.conversation is not None, "checked by the configuration"
        own = [examples.widths[name] for name in names]
        return passes * summer_flops(config.conversation, own, shape[names[0]])
    if config.task == "finetuning":
        assert config.finetuning is not None, "checked by the configuration"
        return passes * finetuned_flops(config.finetuning, examples.widths, shape)
    stacks = [config.model.stack.get(name, 1) for name in names]
    return operations(
        config.model,
        [examples.widths[name] for name in names],
        [shape[name] for name in names],
        stacks,
    )


def measured_pace(prepared: Prepared) -> Pace:
    """The pace of a few real steps of the first member, on the most frequent shape."""
    config, engine = prepared.run.config.members[0], prepared.run.config.engine
    data, devices = Readings(prepared).data(config, prepared.folds[0]), devices_of(engine.devices)
    examples = data.examples
    member = Member(config.id, task_of(config, data, {}, 0), (0, config.seed), "")
    number = 0 if config.training.stage1.epochs else 1
    plan = data.plan(number, 0)
    rungs = data.rungs(plan)
    rung = int(np.bincount(rungs).argmax())
    lanes = one_lane(member, number, plan.shape, devices)
    batch = device_batch(data, devices, plan[rungs == rung][0], (number, 0))
    compiling = _seconds(lambda: (lanes.step(batch), lanes.predict(batch)))
    seconds = _seconds(lambda: [lanes.step(batch) for _ in range(_MEASURED)])
    speed = _MEASURED * plan.shape[1] * _flops_on(config, examples, rung, training_flops) / seconds
    return Pace(speed, compiling)


def _seconds(work: Callable[[], object]) -> float:
    """Seconds until the devices are done; programs read from the disk cache count as compiled."""
    saved, began = seconds_saved(), time.monotonic()
    jax.block_until_ready(work())
    return time.monotonic() - began + seconds_saved() - saved
