"""A task unlike DeepSER in all that matters to the engine: units are sequences of notes, one label
a note.

A frozen embedding, two phases with another optimiser each (Adam with layer-wise rates, then SGD of
the head alone from the best epoch), random crops, outputs by note. As a command it trains a group,
as `toy_task` does.
"""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from medusa_jax.files import digest_of
from medusa_jax.tasks.task import Optimiser, Phase
from medusa_jax.training.loop import train
from medusa_jax.training.member_folder import MemberFolder
from medusa_jax.training.members import Member

NOTES, CLASSES, LONGEST, COUNT = 8, 3, 10, 48


class Listener(nnx.Module):
    """Embedding (frozen), a layer over a note and the one before it, a head."""

    def __init__(self, hidden: int, key: jax.Array) -> None:
        rngs = nnx.Rngs(key)
        self.embed = nnx.Embed(NOTES, 6, rngs=nnx.Rngs(7))
        self.lower = nnx.Linear(12, hidden, rngs=rngs)
        self.head = nnx.Linear(hidden, CLASSES, rngs=rngs)

    def __call__(self, notes_bu: jax.Array, drop: jax.Array | None = None) -> jax.Array:
        x_bud = self.embed(notes_bu)
        before_bud = jnp.pad(x_bud, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        h_buh = jax.nn.relu(self.lower(jnp.concatenate([x_bud, before_bud], axis=-1)))
        return self.head(h_buh if drop is None else h_buh * drop[:, None])


@dataclass(frozen=True, eq=False)
class MelodyTask:
    """Implements `Task`."""

    hidden: int = 8
    rate: float = 0.2
    epochs: tuple[int, int] = (4, 2)
    parts: int = 1
    name = "melody"
    losses = ("loss", "entropy")
    reads = "notes"

    @property
    def phases(self) -> tuple[Phase, ...]:
        return Phase("all", self.epochs[0], 9), Phase("head", self.epochs[1], 9, "best")

    def undivided(self) -> "MelodyTask":
        return self

    def traced(self, phase: Phase | None) -> Any:
        return self.name if phase is None else (self.name, phase.name)

    def build(self, key: jax.Array) -> Listener:
        return Listener(self.hidden, key)

    def trained(self, phase: Phase) -> Any:
        head = nnx.All(nnx.Param, nnx.PathContains("head"))
        lower = nnx.All(nnx.Param, nnx.PathContains("lower"))
        return head if phase.name == "head" else nnx.Any(lower, head)

    def optimiser(self, phase: Phase, steps: int) -> Optimiser:
        schedules = {"rate": optax.cosine_decay_schedule(self.rate, steps)}
        if phase.name == "head":
            return Optimiser(
                optax.inject_hyperparams(optax.sgd)(0.0), {"learning_rate": schedules["rate"]}
            )

        def layerwise(rate: Any) -> optax.GradientTransformation:
            rates = {"lower": optax.adam(rate / 2), "head": optax.adam(rate)}
            return optax.multi_transform(rates, _layer_of)

        return Optimiser(optax.inject_hyperparams(layerwise)(rate=0.0), schedules)

    def knobs(self, phase: Phase) -> dict[str, jax.Array]:
        return {"smoothing": jnp.float32(0.1 if phase.name == "all" else 0.0)}

    def draw(self, key: jax.Array, knobs: Any, size: int) -> jax.Array:
        return jax.random.bernoulli(key, 0.9, (size, self.hidden)).astype(jnp.float32)

    def view(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch

    def loss(self, model, batch, knobs, drawn, key):
        logits_buc = model(batch["notes"], drawn)
        target_buc = optax.smooth_labels(
            jax.nn.one_hot(batch["labels"], CLASSES), knobs["smoothing"]
        )
        loss_bu = optax.softmax_cross_entropy(logits_buc, target_buc)
        mask_bu = batch["mask"]
        total = (loss_bu * mask_bu).sum() / mask_bu.sum()
        posterior = jax.nn.softmax(logits_buc)
        entropy = -((posterior * jnp.log(posterior + 1e-9)).sum(-1) * mask_bu).sum() / mask_bu.sum()
        return total, jnp.stack([total, entropy])

    def predict(self, model, batch):
        return {
            "notes": jax.nn.softmax(model(batch["notes"])),
            "mask": batch["mask"],
            "labels": batch["labels"],
        }

    def watch(self, predicted, phase):
        return {f"watched_{phase.name}": self.score(predicted, phase)}

    def score(self, predicted, phase):
        hits = predicted["notes"].argmax(-1) == predicted["labels"]
        return float(hits[predicted["mask"] > 0].mean())

    def describe(self) -> dict[str, Any]:
        return {"classes": [str(c) for c in range(CLASSES)], "hidden": self.hidden}


def _layer_of(params: Any) -> Any:
    """`lower` or `head` for every leaf."""

    def label(path, leaf):
        return "head" if "head" in jax.tree_util.keystr(path) else "lower"

    return jax.tree_util.tree_map_with_path(label, params)


class Melodies:
    """Implements `Dataset`: melodies of 4 to 10 notes, each labelled by the sum of a note and the
    one before it.
    """

    size = 8

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(5)
        self.lengths = rng.integers(4, LONGEST + 1, COUNT)
        self.notes = rng.integers(0, NOTES, (COUNT, LONGEST))
        before = np.pad(self.notes, ((0, 0), (1, 0)))[:, :-1]
        self.labels = ((self.notes >= 4).astype(int) + (before >= 4)).astype(np.int32)
        self.held_out = np.arange(0, COUNT, 4)
        self.watched = self.held_out[1::2]
        self.fit = np.setdiff1d(np.arange(COUNT), self.held_out)
        self.seed, self.digest = seed, digest_of(["melodies", seed])

    def __len__(self) -> int:
        return COUNT

    def check(self) -> None:
        pass

    def plan(self, phase: int, epoch: int) -> np.ndarray:
        order = np.random.default_rng((self.seed, phase, epoch)).permutation(self.fit)
        count = 4 if phase == 0 else 2
        return order[: count * self.size].reshape(count, self.size)

    def cover(self, positions: np.ndarray, size: int) -> np.ndarray:
        filled = np.concatenate([positions, np.repeat(positions[:1], -len(positions) % size)])
        return filled.reshape(-1, size)

    def batch(self, positions, rows=slice(None), when=None):
        """In training a random crop of at least four notes, which follows from (seed, phase, epoch,
        position).
        """
        made = {"notes": [], "labels": [], "mask": []}
        for position in positions[rows]:
            start, stop = 0, self.lengths[position]
            if when is not None:
                rng = np.random.default_rng((self.seed, *when, position))
                start = rng.integers(0, stop - 3)
            own = np.arange(LONGEST)
            mask = (own >= start) & (own < stop)
            made["notes"].append(np.where(mask, self.notes[position], 0))
            made["labels"].append(self.labels[position])
            made["mask"].append(mask.astype(np.float32))
        return {name: np.stack(values) for name, values in made.items()}

    def shapes(self, size: int) -> Any:
        batch = self.batch(np.repeat(self.fit[:1], size))
        return jax.eval_shape(lambda: jax.tree.map(jnp.asarray, batch))

    def measures(self, plan: np.ndarray) -> dict[str, int | float]:
        return {"notes": int(self.lengths[plan].sum())}

    def names(self, positions, when) -> list[str]:
        return [f"melody {position}" for position in positions]


def melody_members(seed: int = 0) -> list[Member]:
    """Two of equal structure that differ in seed, rate and epochs, and a wider one."""
    tasks = {
        "low": MelodyTask(),
        "high": MelodyTask(rate=0.3, epochs=(2, 3)),
        "wide": MelodyTask(hidden=12, epochs=(3, 0)),
    }
    members = []
    for number, (name, task) in enumerate(tasks.items()):
        digest = digest_of([name, seed, task.rate, task.epochs, task.hidden])
        members.append(Member(name, task, (seed, number), digest, {"id": name}))
    return members


def melody_train(folder: Path, names=None, seed: int = 0, **options):
    """Train members by name (all), and load each as it was at its best."""
    members = [one for one in melody_members(seed) if names is None or one.id in names]
    train(members, Melodies(), folder, **options)
    places = {one.id: MemberFolder(folder / "members" / one.id) for one in members}
    return {
        name: place.load(one.task, one.digest)
        for one in members
        for name, place in places.items()
        if name == one.id
    }


if __name__ == "__main__":
    from medusa_jax.config.training import EngineConfig
    from medusa_jax.errors import MedusaError

    kill_at = int(os.environ.get("TOY_KILL_AT", sys.maxsize))

    def report(done: int, total: int, note: str = "") -> None:
        os.write(1, f"{done}/{total}\n".encode())
        if done >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        melody_train(
            Path(sys.argv[1]), engine=EngineConfig(save_minutes=float(sys.argv[2])), report=report
        )
    except MedusaError as stop:
        print(stop, file=sys.stderr, flush=True)
        os._exit(stop.exit_code)
