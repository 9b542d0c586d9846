"""One epoch of this project's training for benchmarks/train.py and benchmarks/gpu.py.

It goes through the engine's own loader, members and step. Called with a JSON of settings; prints a
JSON of measurements. `side_by_side` (true, false, null: as the engine decides) trains the members
under `vmap` or one after the other.
"""

import json
import os
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from train_task import WIDTHS, operations

from medusa_jax.batches.device_batch import device_batch
from medusa_jax.batches.examples import Examples, gather
from medusa_jax.batches.prefetch import Loader
from medusa_jax.config.model import ModelConfig
from medusa_jax.config.training import EngineConfig, MemberConfig, TrainingConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.machines.mesh import devices_of
from medusa_jax.store.reader import FeatureStore
from medusa_jax.tasks.registry import task_of
from medusa_jax.tasks.utterances import Utterances, utterances_of
from medusa_jax.training import step
from medusa_jax.training.members import Lane, Lanes, Member, lanes_of
from medusa_jax.training.memory import group_bytes, need_of, steps_side_by_side
from medusa_jax.training.step import epoch_of, new_state
from medusa_jax.training.weights import new_weights


def data_of(task: dict[str, Any]) -> Utterances:
    """The utterances that `train_task.write` left, all of them to train on."""
    folder = Path(task["folder"])
    stores = {name: FeatureStore.open(folder / "stores" / name) for name in WIDTHS}
    table = Corpus.load(folder / "corpus.parquet")
    examples = gather(table, tuple(WIDTHS), stores, task["shapes"])
    every = np.arange(len(examples))
    return utterances_of(training_of(task), 0, examples, every, every[:0], 0)


def training_of(task: dict[str, Any]) -> TrainingConfig:
    return TrainingConfig(batch_size=task["batch"], shapes=task["shapes"])


def members_of(task: dict[str, Any], data: Utterances) -> list[Member]:
    """The members, which differ in their seed."""
    model = ModelConfig(hidden=task["hidden"], precision=task["precision"])
    members = []
    for seed in range(task["members"]):
        config = MemberConfig(
            id=f"m{seed}",
            modalities=tuple(WIDTHS),
            seed=seed,
            model=model,
            training=training_of(task),
        )
        members.append(Member(config.id, task_of(config, data, {}, 0), (0, seed), ""))
    return members


def lanes(task: dict[str, Any], members: list[Member], data: Utterances) -> list[Lanes]:
    """The members as the engine would train them, ready for the steps of Stage 1."""
    steps, size = data.plan(0, 1).shape
    places, epochs = [], {}
    for member in members:
        own, phase = member.task, member.task.phases[0]
        weights = new_weights(own, member.initial_key)
        state = new_state(own, phase, weights.params)
        bare = replace(weights, params=None)
        places.append(Lane(member, bare, phase, state))
        key, rows = member.steps_key, 2 * steps + 8  # the warm steps and those of the trace too
        epochs[member.id] = epoch_of(
            own, bare, phase, key, first=0, start=0, steps=steps, rows=rows, size=size
        )
    found = lanes_of(places, side_by_side(task, members, data), devices_of(1))
    for some in found:
        some.begin({name: epochs[name] for name in some.ids}, fresh=True)
    return found


def side_by_side(task: dict[str, Any], members: list[Member], data: Utterances) -> bool:
    """As the task wants it, or as the engine decides."""
    wanted = task.get("side_by_side")
    needs = [need_of(member.task, data) for member in members]
    return steps_side_by_side(EngineConfig(), needs) if wanted is None else bool(wanted)


def planned_bytes(task: dict[str, Any], members: list[Member], data: Utterances) -> int:
    """The memory that the engine's planner expects."""
    needs = [need_of(member.task, data) for member in members]
    return group_bytes(needs, side_by_side(task, members, data))


class Epoch:
    """Steps through batches, with the bytes of input that were read."""

    def __init__(self, data: Utterances, trained: list[Lanes]) -> None:
        self.data, self.trained, self.read = data, trained, 0
        self._devices = devices_of(1)

    def made(self, row: np.ndarray) -> Any:
        """The batch of these positions, on the device."""
        frames_k = self.data.examples.lengths[row].sum(axis=0)
        self.read += int(2 * (frames_k * list(WIDTHS.values())).sum())
        return device_batch(self.data, self._devices, row)

    def steps(self, rows: np.ndarray) -> tuple[float, np.ndarray]:
        """Seconds waited for input, and the last losses."""
        late: list[jax.Array] = []
        with Loader(self.made, rows) as batches, jax.transfer_guard("disallow"):
            for batch in batches:
                now = [lanes.step(batch) for lanes in self.trained]
                jax.device_get(late)  # one step late, as the engine does
                late = now
        return batches.waited, np.concatenate([np.ravel(losses) for losses in jax.device_get(late)])


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """An epoch, after one batch of every shape."""
    data = data_of(task)
    examples, members = data.examples, members_of(task, data)
    plan, both = data.plan(0, 1), np.concatenate([data.plan(0, 0), data.plan(0, 1)])
    epoch, began = Epoch(data, lanes(task, members, data)), time.perf_counter()
    _, firsts = np.unique(examples.rungs[both].max(axis=1), return_index=True)
    epoch.steps(both[firsts])
    compiled, epoch.read = time.perf_counter() - began, 0
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_stime
    waited, losses = epoch.steps(plan)
    seconds = time.perf_counter() - began
    system = resource.getrusage(resource.RUSAGE_SELF).ru_stime - used
    found: dict[str, Any] = {"seconds": seconds, "utterances": plan.size, "steps": len(plan)}
    found |= {"loss": losses[0], "memory": peak_memory(), "waited": waited / seconds}
    found |= {"read": epoch.read, "system": system, "first_pass_seconds": compiled}
    found |= {"shapes": len(firsts), "planned": planned_bytes(task, members, data)}
    if task.get("trace"):
        trace(epoch, plan[:3], task["trace"])
    return found | work(examples, plan, task["hidden"])


def work(examples: Examples, plan: np.ndarray, hidden: int) -> dict[str, float]:
    """Share of padding, and operations on real and on computed frames."""
    computed = np.repeat(examples.shapes[examples.rungs[plan].max(axis=1)], plan.shape[1], axis=0)
    return {
        "padding": examples.padding_share(plan),
        "real": operations(examples.lengths[plan.ravel()], hidden),
        "computed": operations(computed, hidden),
    }


def trace(epoch: Epoch, rows: np.ndarray, folder: str) -> None:
    """Write a profiler trace of these steps, without Python's own calls."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    jax.profiler.start_trace(folder, create_perfetto_trace=True, profiler_options=options)
    epoch.steps(rows)
    jax.profiler.stop_trace()


def peak_memory() -> int:
    """Bytes on the device, or of the process on a CPU."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(device.memory_stats()["peak_bytes_in_use"])


def main() -> None:
    task = json.loads(sys.argv[1])
    if options := os.environ.get("MEDUSA_BENCHMARK_OPTIONS"):
        step.compiler_options = lambda: json.loads(options)
    print(json.dumps(measure(task), default=float))


if __name__ == "__main__":
    main()
