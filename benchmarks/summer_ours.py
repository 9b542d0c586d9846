"""This project's SUMMER for benchmarks/summer.py: the engine's loader and steps, as in a run.

Called with a JSON of settings; prints a JSON of measurements.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from summer_task import SHAPES, generated, write

from medusa_jax.batches.device_batch import device_batch
from medusa_jax.batches.prefetch import Loader
from medusa_jax.config.training import MemberConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.machines.mesh import devices_of
from medusa_jax.store.reader import FeatureStore
from medusa_jax.tasks.dialogues import Dialogues
from medusa_jax.tasks.registry import data_of, examples_of, moments_of, reading_of, task_of
from medusa_jax.training.members import Lanes, Member, one_lane


def config_of(task: dict[str, Any]) -> MemberConfig:
    """A member as in configs/summer-iemocap.yaml."""
    shape, stage = SHAPES[task["corpus"]], {"epochs": 1, "learning_rate": 1e-4}
    training = {"batch_size": shape.batch, "stage1": stage, "stage2": stage}
    training |= {"weight_decay": 0, "targets": "one_hot", "attribute_loss": 0}
    return MemberConfig.model_validate(
        {
            "id": "one",
            "task": "conversation",
            "modalities": list(shape.widths),
            "model": {},
            "training": training,
            "conversation": {"width": task["width"], "experts": task["experts"]},
        }
    )


class Trained:
    """The dialogues, and a member that trains on them a phase at a time."""

    def __init__(self, task: dict[str, Any], folder: Path) -> None:
        shape = SHAPES[task["corpus"]]
        write(folder, shape, generated(shape, task["times"]))
        corpus = Corpus.load(folder / "corpus.parquet")
        stores = {name: FeatureStore.open(folder / name) for name in shape.widths}
        config, every = config_of(task), np.arange(len(corpus))
        reading = reading_of(config, shape.widths)
        examples = examples_of(corpus, tuple(shape.widths), stores, reading)
        data = data_of(config, examples, every, every[:0], 0)
        assert isinstance(data, Dialogues)
        moments = moments_of([config], data.examples, data.fit)
        self.data, self.epochs = data, task["epochs"]
        self.member = Member("one", task_of(config, data, {}, 0, moments), (0, 0), "")
        self.devices = devices_of(1)

    def measured(self, number: int) -> dict[str, float]:
        """Real turns a second of a phase's epochs, after one batch of every shape."""
        plans = [self.data.plan(number, epoch) for epoch in range(self.epochs)]
        every, own = np.concatenate(plans), self.data.examples
        _, firsts = np.unique(own.rungs[every].max(axis=1), return_index=True)
        steps = len(every) + len(firsts)
        lanes = one_lane(self.member, number, (steps, every.shape[1]), self.devices)
        compiled = self.seconds(lanes, every[firsts])
        rates = [own.lengths[plan].sum() / self.seconds(lanes, plan) for plan in plans]
        padding = own.padding_share(every)
        return {"first": compiled, "rate": float(np.median(rates)), "padding": padding}

    def seconds(self, lanes: Lanes, rows: np.ndarray) -> float:
        """Time of these steps."""
        began = time.perf_counter()
        late: jax.Array | tuple[()] = ()
        with Loader(lambda row: device_batch(self.data, self.devices, row), rows) as batches:
            for batch in batches:
                now = lanes.step(batch)
                jax.device_get(late)  # one step late, as the engine does
                late = now
        jax.block_until_ready(late)
        return time.perf_counter() - began


def main() -> None:
    task = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        trained = Trained(task, Path(folder))
        found = {phase: trained.measured(i) for i, phase in enumerate(("teacher", "student"))}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**found, "memory": memory}))


if __name__ == "__main__":
    main()
