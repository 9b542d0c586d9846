"""Padding against compilation, by the number of padded shapes of a run.

    python benchmarks/shapes.py [--quick] [--hidden 1024] [--out FILE]

Lengths are drawn much like MSP-Podcast's (2.75 to 11 seconds, two speech modalities at 50 frames a
second, 3.5 words a second). Compilation is measured on this machine, for the step that trains and
the one that predicts, with two speech modalities and one of text. The minutes of a member's
training (4 epochs of 75,000 utterances, 40 of 10,000) follow from the frames computed and from an
assumed speed: 300 TFLOP/s is about 40 % of an H200's bf16 peak.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from results import machine, save, target

from medusa_jax.batches.buckets import ladder_of
from medusa_jax.batches.examples import Batch
from medusa_jax.batches.sampling import epoch_batches
from medusa_jax.config.model import ModelConfig
from medusa_jax.config.training import MemberConfig, TrainingConfig
from medusa_jax.tasks.deepser import DeepSERTask
from medusa_jax.tasks.facts import Facts
from medusa_jax.training.step import epoch_of, new_state, predict_step, program_of, train_step
from medusa_jax.training.weights import new_weights

WIDTHS = {"hubert": 1024, "roberta": 1024, "wavlm": 1024}
TRAINED = 4 * 75_000 + 40 * 10_000  # utterances
SPEEDS = {"H200, 300 TFLOP/s": 300e12, "24 GB card, 40 TFLOP/s": 40e12}


def lengths(count: int) -> np.ndarray:
    """Frames `[n, 3]` of each modality, in the order of `WIDTHS`."""
    rng = np.random.default_rng(0)
    seconds = np.clip(2 + rng.gamma(4, 1.2, count), 2.75, 11)
    words = np.maximum(1, 3.5 * seconds * rng.normal(1, 0.25, count))
    return np.stack([50 * seconds, words, 50 * seconds], axis=1).astype(int)


def padding(length_nk: np.ndarray, shapes: int, batch: int) -> float:
    """Share of the computed frames that are padding, over an epoch's batches."""
    ladder, rungs = ladder_of(length_nk, shapes)
    batches = epoch_batches(np.arange(len(length_nk)), rungs, batch, 0, 1, 0)
    return float(1 - length_nk[batches].sum() / (ladder[rungs[batches].max(axis=1)].sum() * batch))


def random_padding(length_nk: np.ndarray, batch: int) -> float:
    """The same for random batches, each padded to its longest."""
    batches = (
        np.random.default_rng(1)
        .permutation(len(length_nk))[: len(length_nk) // batch * batch]
        .reshape(-1, batch)
    )
    return float(1 - length_nk[batches].sum() / (length_nk[batches].max(axis=1).sum() * batch))


def work(length_nk: np.ndarray, hidden: int, wide: int = 2048) -> float:
    """Mean FLOPs of a training step for an utterance without padding: the encoders' products."""
    total = length_nk.sum(axis=1)
    layer = 8 * hidden**2 + 4 * hidden * wide  # a frame, without attention
    frames = 4 * total  # the modalities' own encoders, the first fusion, the second (twice as long)
    squares = (length_nk**2).sum(axis=1) + total**2 + (2 * total) ** 2
    return float(3 * 2 * (frames * layer + 4 * hidden * squares).mean())


def compile_seconds(hidden: int, frames: int) -> float:
    """Seconds to compile the training and the predicting step for one shape."""
    config = MemberConfig(
        id="one",
        modalities=tuple(WIDTHS),
        model=ModelConfig(hidden=hidden),
        training=TrainingConfig(),
    )
    names = tuple("abcdefgh")
    facts = Facts(names, names, (), WIDTHS, {}, np.ones(8, np.float32), np.zeros(1, int), 0)
    task = DeepSERTask(config, facts)
    weights, phase, key = new_weights(task, jax.random.key(0)), task.phases[0], jax.random.key(0)
    rows = dict(first=0, start=0, steps=1, rows=1, size=16)
    epoch, state = (
        epoch_of(task, weights, phase, key, **rows),
        new_state(task, phase, weights.params),
    )
    began = time.monotonic()
    step = train_step(program_of(task, weights.graph, phase))
    step.lower(state, weights.constants, epoch, True, task.view(blank(16, frames))).compile()
    step = predict_step(program_of(task, weights.graph, None))
    step.lower(weights.params, weights.constants, task.view(blank(32, frames))).compile()
    return time.monotonic() - began


def blank(batch: int, frames: int) -> Batch:
    """A batch's shapes."""
    array = jax.ShapeDtypeStruct
    long = {"hubert": frames, "roberta": 48, "wavlm": frames}
    inputs = {
        name: array((batch, long[name], width), jnp.float16) for name, width in WIDTHS.items()
    }
    targets, ratings = array((batch, 8), jnp.float32), array((batch, 3), jnp.float32)
    return Batch(
        inputs,
        dict.fromkeys(WIDTHS, array((batch,), jnp.int32)),
        targets,
        targets,
        ratings,
        ratings,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer utterances, a small model, one compilation"
    )
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    hidden, count, tries = (64, 8_000, 1) if given.quick else (given.hidden, 84_000, 3)
    length_nk = lengths(count)
    seconds = [compile_seconds(hidden, 200 + 8 * i) for i in range(tries)]
    each, steps = float(np.median(seconds)), TRAINED * work(length_nk, 1024)
    spread = f"(of {tries}: {min(seconds):.1f} to {max(seconds):.1f})"
    print(f"{os.cpu_count()} cores; hidden {hidden}: {each:.1f} s to compile one shape {spread}")
    plain = random_padding(length_nk, 16)
    print(f"random batches of 16, each padded to its longest: {plain:.1%} padding")
    rows = []
    for shapes in (1, 2, 4, 6, 8, 12, 16):
        share = padding(length_nk, shapes, 16)
        minutes = {
            name: (steps / (1 - share) / speed + shapes * each) / 60
            for name, speed in SPEEDS.items()
        }
        rows.append({"shapes": shapes, "padding": share, "minutes": minutes})
        print(
            f"{shapes:3d} shapes: {share:6.1%} padding; a member in "
            + ", ".join(f"{value:.1f} min ({name})" for name, value in minutes.items())
        )
    save(given.out, machine("jax"), hidden=hidden, compile_seconds=seconds, rows=rows)
    judge(rows)


def judge(rows: list[dict[str, Any]]) -> None:
    """The default number of shapes against the best one on each card."""
    chosen = TrainingConfig().shapes
    least = {name: min(row["minutes"][name] for row in rows) for name in SPEEDS}
    own = next(row["minutes"] for row in rows if row["shapes"] == chosen)
    worst = max(own[name] / least[name] for name in SPEEDS)
    wanted = f"the default ({chosen}) within 5 % of the least minutes"
    print(target("shapes", wanted, f"{worst - 1:.1%} above", worst < 1.05))


if __name__ == "__main__":
    main()
