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

from medusa_jax.batches.examples import Batch, Examples, gather
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
from medusa_jax.training.memory import group_bytes, need_of, runs_side_by_side
from medusa_jax.training.step import epoch_of, new_state
from medusa_jax.training.weights import new_weights


def members_of(task: dict[str, Any]) -> list[MemberConfig]:
    """The members' configurations, which differ in their seed."""
    model = ModelConfig(hidden=task["hidden"], precision=task["precision"])
    common = {"modalities": tuple(WIDTHS), "model": model, "training": training_of(task)}
    return [MemberConfig(id=f"m{seed}", seed=seed, **common) for seed in range(task["members"])]


def training_of(task: dict[str, Any]) -> TrainingConfig:
    return TrainingConfig(batch_size=task["batch"], shapes=task["shapes"])


def examples_of(task: dict[str, Any]) -> Examples:
    """The utterances that `train_task.write` left."""
    folder = Path(task["folder"])
    stores = {name: FeatureStore.open(folder / "stores" / name) for name in WIDTHS}
    return gather(Corpus.load(folder / "corpus.parquet"), tuple(WIDTHS), stores, task["shapes"])


def side_by_side(task: dict[str, Any]) -> bool:
    """As the task wants it, or as the engine decides."""
    wanted = task.get("side_by_side")
    return runs_side_by_side(EngineConfig()) if wanted is None else bool(wanted)


def lanes_of_task(
    task: dict[str, Any], data: Utterances, plan_shape: tuple[int, int]
) -> list[Lanes]:
    """The members as the engine would train them."""
    places, epochs = [], {}
    steps, size = plan_shape
    for config in members_of(task):
        member = Member(config.id, task_of(config, data, {}, 0), (0, config.seed), "")
        own, phase = member.task, member.task.phases[0]
        weights = new_weights(own, member.initial_key)
        rows = dict(first=0, start=0, steps=steps, rows=2 * steps, size=size)
        epochs[member.id] = epoch_of(own, weights, phase, member.steps_key, **rows)
        state = new_state(own, phase, weights.params)
        places.append(Lane(member, replace(weights, params=None), phase, state))
    found = lanes_of(places, side_by_side(task), devices_of(1))
    for lanes in found:
        lanes.begin({name: epochs[name] for name in lanes.ids}, fresh=True)
    return found


def planned_bytes(task: dict[str, Any], data: Utterances) -> int:
    """The memory that the engine's planner expects."""
    needs = [need_of(task_of(config, data, {}, 0), data) for config in members_of(task)]
    return group_bytes(needs, side_by_side(task))


def data_of(task: dict[str, Any], examples: Examples) -> Utterances:
    """All utterances as the training part, and as the held-out part too: nothing is scored here."""
    every = np.arange(len(examples))
    return utterances_of(training_of(task), 0, examples, every, every, 0)


class Epoch:
    """Steps through batches, with the bytes of input that were read."""

    def __init__(self, examples: Examples, trained: list[Lanes]) -> None:
        self.examples, self.trained, self.read = examples, trained, 0

    def made(self, row: np.ndarray) -> Batch:
        """The batch of these positions, on the device."""
        frames_k = self.examples.lengths[row].sum(axis=0)
        self.read += int(2 * (frames_k * list(WIDTHS.values())).sum())
        return jax.device_put(self.examples.batch(row))

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
    examples = examples_of(task)
    data = data_of(task, examples)
    warm, plan = (data.plan(0, epoch) for epoch in (0, 1))
    epoch = Epoch(examples, lanes_of_task(task, data, plan.shape))
    both, began = np.concatenate([warm, plan]), time.perf_counter()
    _, firsts = np.unique(examples.rungs[both].max(axis=1), return_index=True)
    epoch.steps(both[firsts])
    compiled, epoch.read = time.perf_counter() - began, 0
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_stime
    waited, losses = epoch.steps(plan)
    seconds = time.perf_counter() - began
    system = resource.getrusage(resource.RUSAGE_SELF).ru_stime - used
    if task.get("trace"):
        trace(epoch, plan[:3], task["trace"])
    computed = np.repeat(examples.shapes[examples.rungs[plan].max(axis=1)], plan.shape[1], axis=0)
    found: dict[str, Any] = {"seconds": seconds, "utterances": plan.size, "steps": len(plan)}
    found |= {"loss": losses[0], "memory": peak_memory(), "waited": waited / seconds}
    found |= {"padding": examples.padding_share(plan), "read": epoch.read, "system": system}
    found |= {"first_pass_seconds": compiled, "shapes": len(firsts)}
    found |= {"real": operations(examples.lengths[plan.ravel()], task["hidden"])}
    return found | {"computed": operations(computed, task["hidden"])}


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
    if os.environ.get("MEDUSA_BENCHMARK_PLAIN"):
        step.compiler_options = lambda: None
    found = measure(task)
    found["planned"] = planned_bytes(task, data_of(task, examples_of(task)))
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    main()
