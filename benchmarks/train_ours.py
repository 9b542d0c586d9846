"""One epoch of ours for benchmarks/train.py, through the engine's own loader, stacks and step.

Called with a JSON of settings; prints a JSON of measurements.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import jax
import numpy as np
from train_task import WIDTHS, operations

from medusa_jax.batches.epochs import epoch_plan
from medusa_jax.batches.examples import Batch, Examples, gather
from medusa_jax.batches.prefetch import Loader
from medusa_jax.config.model import ModelConfig
from medusa_jax.config.training import MemberConfig, TrainingConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.machines.mesh import devices_of
from medusa_jax.store.reader import FeatureStore
from medusa_jax.tasks.hyperparameters import settings_of
from medusa_jax.tasks.objective import class_weights
from medusa_jax.training import step
from medusa_jax.training.member import build, member_keys
from medusa_jax.training.stack import Lane, Stack, stacks_of
from medusa_jax.training.step import new_state


def stacks(task: dict, examples: Examples, steps: int) -> list[Stack]:
    """The members as the engine would train them: under `vmap` on a GPU, one after the other on a CPU."""
    training = TrainingConfig(batch_size=task["batch"], shapes=task["shapes"])
    model = ModelConfig(hidden=task["hidden"], precision=task["precision"])
    lanes = []
    for seed in range(task["members"]):
        config = MemberConfig(
            id=f"m{seed}", modalities=tuple(WIDTHS), seed=seed, model=model, training=training
        )
        member = build(config, examples, {}, 0)
        settings = settings_of(
            training, 1, steps, class_weights(examples.soft), member_keys(0, config)[1]
        )
        lanes.append(Lane(config.id, member, 1, settings, new_state(member.params, False)))
    return stacks_of(lanes, jax.default_backend() != "cpu", devices_of(1))


def main() -> None:
    task = json.loads(sys.argv[1])
    if os.environ.get("MEDUSA_BENCHMARK_PLAIN"):
        step.compiler_options = lambda: None
    folder, read = Path(task["folder"]), [0]
    examples = gather(
        Corpus.load(folder / "corpus.parquet"),
        tuple(WIDTHS),
        {name: FeatureStore.open(folder / "stores" / name) for name in WIDTHS},
        task["shapes"],
    )
    training = TrainingConfig(batch_size=task["batch"], shapes=task["shapes"])
    warm, plan = (
        epoch_plan(examples, np.arange(len(examples)), training, 0, 1, epoch) for epoch in (0, 1)
    )
    trained = stacks(task, examples, len(plan))

    def made(row: np.ndarray) -> Batch:
        read[0] += sum(
            int(examples.lengths[row, k].sum()) * width * 2
            for k, width in enumerate(WIDTHS.values())
        )
        return jax.device_put(examples.batch(row))

    def steps(rows: np.ndarray) -> tuple[float, np.ndarray]:
        """Seconds waited for input, and the last losses."""
        late: list[jax.Array] = []
        with Loader(made, rows) as batches, jax.transfer_guard("disallow"):
            for batch in batches:
                now = [stack.step(batch) for stack in trained]
                jax.device_get(late)  # one step late, as the engine does
                late = now
        return batches.waited, np.concatenate([np.ravel(losses) for losses in jax.device_get(late)])

    began = time.perf_counter()
    tops = examples.rungs[np.concatenate([warm, plan])].max(axis=1)
    rows = np.concatenate([warm, plan])[np.unique(tops, return_index=True)[1]]
    steps(rows)  # every shape once
    compiled, read[0] = time.perf_counter() - began, 0
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_stime
    waited, losses = steps(plan)
    seconds, used = (
        time.perf_counter() - began,
        resource.getrusage(resource.RUSAGE_SELF).ru_stime - used,
    )
    computed = np.repeat(examples.shapes[examples.rungs[plan].max(axis=1)], plan.shape[1], axis=0)
    device = jax.devices()[0]
    peak = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if device.platform == "cpu"
        else device.memory_stats()["peak_bytes_in_use"]
    )
    found = {
        "seconds": seconds,
        "utterances": plan.size,
        "steps": len(plan),
        "loss": losses[0],
        "memory": peak,
        "waited": waited / seconds,
    }
    found |= {
        "padding": examples.padding_share(plan),
        "read": read[0],
        "system": used,
        "first_pass_seconds": compiled,
        "shapes": len(rows),
    }
    found |= {
        "real": operations(examples.lengths[plan.ravel()], task["hidden"]),
        "computed": operations(computed, task["hidden"]),
    }
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    main()
