"""This project's SUMMER for benchmarks/summer.py: the engine's loader and steps, as in a run.

Called with a JSON of settings; prints a JSON of measurements.
"""

import json
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from summer_task import SHAPES

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
        """Real turns a second of a phase's epochs, after one step."""
        plan, turns = self.data.plan(number, 0), self.data.examples.lengths.sum()
        steps, size = plan.shape
        lanes = one_lane(self.member, number, (1 + steps * self.epochs, size), self.devices)
        first = self.seconds(lanes, plan[:1], (number, 0))
        every = [self.seconds(lanes, plan, (number, epoch)) for epoch in range(self.epochs)]
        padding = self.data.measures(plan)["padding"]
        return {"first": first, "rate": float(turns / np.median(every)), "padding": padding}

    def seconds(self, lanes: Lanes, rows: np.ndarray, when: tuple[int, int]) -> float:
        """Time of these steps of an epoch."""
        began = time.perf_counter()
        late: jax.Array | tuple[()] = ()
        made = partial(device_batch, self.data, self.devices, when=when)
        with Loader(made, rows) as batches:
            for batch in batches:
                now = lanes.step(batch)
                jax.device_get(late)  # one step late, as the engine does
                late = now
        jax.block_until_ready(late)
        return time.perf_counter() - began


def main() -> None:
    task = json.loads(sys.argv[1])
    trained = Trained(task, Path(task["folder"]))
    found = {phase: trained.measured(i) for i, phase in enumerate(("teacher", "student"))}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**found, "memory": memory}))


if __name__ == "__main__":
    main()
