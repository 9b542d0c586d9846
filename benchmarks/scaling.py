"""Time and memory of an epoch by its number of utterances, and a projection to all of MEDUSA.

    python benchmarks/scaling.py [--quick | --project] [--docs] [--out FILE]

1×, 2×, 4× and 8× as many utterances of generated text, two feature sets of 10 to 60 frames, one
small member, each size in its own process: the epochs' seconds are those of `metrics.jsonl` but the
first, which compiles; memory is the process's peak. The projection counts the operations of all 14
members of `configs/medusa.yaml` by formula, over lengths drawn much like MSP-Podcast's, and divides
by an assumed speed. `--docs` writes the tables into docs/training.md.
"""

import argparse
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from results import machine, python, save, target
from shapes import lengths, padding

from medusa_jax.batches.examples import gather
from medusa_jax.config.features import HashedTextConfig
from medusa_jax.config.model import ModelConfig
from medusa_jax.config.training import MemberConfig, StageConfig, TrainingConfig
from medusa_jax.config.yaml_file import load_config
from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import ATTRIBUTES, Corpus
from medusa_jax.features.extract import extract
from medusa_jax.models.deepser import DeepSER
from medusa_jax.models.flops import training_flops

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "training.md"
BEGIN, END = "<!-- scaling: begin -->\n", "<!-- scaling: end -->\n"
CLASSES = ("angry", "happy", "sad")
TIMES = (1, 2, 4, 8)
# Utterances an epoch: 90 % of Train's 84,260; a balanced subset of about 1,250 of each class.
STAGE1, STAGE2 = 75_800, 10_000
TEXT = {"roberta", "modernbert"}
PEAKS = {  # dense bf16, float32 sums, as published by the maker
    "one H200": 989e12,
    "one 24 GB card (RTX 4090)": 165e12,
    "8 × H200": 8 * 989e12,
}
EFFICIENCY = 0.35  # assumed share of the peak that the computed operations reach, with padding


def corpus_of(count: int) -> Corpus:
    """Random words with votes and ratings."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, len(CLASSES), count)
    vocabulary = np.array([f"w{i}" for i in range(500)])
    ids = [f"u{i}" for i in range(count)]
    plain = {
        "id": ids,
        "audio": ids,
        "seconds": [1.0] * count,
        "split": ["train"] * count,
        "speaker": [str(i % 50) for i in range(count)],
        "gender": [None] * count,
        "consensus": [CLASSES[c] for c in classes],
        **{name: rng.uniform(1, 7, count) for name in ATTRIBUTES},
        "transcript": [" ".join(rng.choice(vocabulary, n)) for n in rng.integers(10, 60, count)],
    }
    votes = 5 * np.eye(len(CLASSES) + 1, dtype=int)[classes]  # the last column is for other words
    return Corpus(
        assemble(plain, votes, np.zeros_like(votes), CLASSES), CLASSES, Path("nowhere"), "scaling"
    )


def measure(count: int) -> dict[str, float]:
    """Median seconds of an epoch of `count` utterances through the engine, and peak GB."""
    from medusa_jax.tasks.registry import task_of
    from medusa_jax.tasks.utterances import utterances_of
    from medusa_jax.training.loop import train
    from medusa_jax.training.members import Member

    with tempfile.TemporaryDirectory() as name:
        folder, corpus = Path(name), corpus_of(count + 200)
        widths = {"words": 128, "letters": 64}
        stores = {
            kind: extract(corpus, HashedTextConfig(width=width), folder / kind)
            for kind, width in widths.items()
        }
        stages = {"stage1": StageConfig(epochs=4), "stage2": StageConfig(epochs=0)}
        config = MemberConfig(
            id="one",
            modalities=tuple(widths),
            model=ModelConfig(hidden=64, feedforward=128),
            training=TrainingConfig(shapes=2, **stages),
        )
        examples = gather(corpus, list(widths), stores, 2)
        parts = np.arange(count), np.arange(count, count + 200)
        data = utterances_of(config.training, 0, examples, *parts, 0)
        train([Member("one", task_of(config, data, {}, 0), (0, 0), "one")], data, folder / "run")
        lines = [
            json.loads(line)
            for line in (folder / "run" / "members" / "one" / "metrics.jsonl")
            .read_text()
            .splitlines()
        ]
    # without the scoring, which is of one size
    seconds = [line["steps"] / line["steps_per_second"] for line in lines[1:]]
    return {
        "utterances": count,
        "seconds": float(np.median(seconds)),
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def projection() -> list[dict[str, Any]]:
    """Operations, bytes of state, and hours on each machine, of all of MEDUSA: a row a machine."""
    config, frames = (
        load_config(ROOT / "configs" / "medusa.yaml", ["corpus.path=none"]),
        lengths(20_000),
    )
    long, words = frames[:, 0].mean(), frames[:, 1].mean()
    share = padding(frames, TrainingConfig().shapes, 16)
    widths = {"whisper": 1280}
    flops = parameters = 0.0
    for member in config.members:
        sizes = {name: widths.get(name, 1024) for name in member.modalities}
        an_utterance = training_flops(
            member.model,
            list(sizes.values()),
            [float(words if name in TEXT else long) for name in sizes],
        )
        training = member.training
        flops += (
            (training.stage1.epochs * STAGE1 + training.stage2.epochs * STAGE2)
            * an_utterance
            / (1 - share)
        )
        shapes = nnx.eval_shape(
            lambda m=member, s=sizes: nnx.state(DeepSER(m.model, s, 8, rngs=nnx.Rngs(0)), nnx.Param)
        )
        parameters += sum(leaf.size for leaf in jax.tree.leaves(shapes))
    about = {
        "flops": flops,
        "parameters": parameters,
        "state_gigabytes": 12 * parameters / 1e9,
        "padding": share,
    }
    return [
        {"machine": name, "hours": flops / (EFFICIENCY * peak) / 3600, **about}
        for name, peak in PEAKS.items()
    ]


def measured(sizes: list[dict[str, float]], environment: dict[str, Any]) -> str:
    """The table of time and memory."""
    first = sizes[0]["seconds"] / sizes[0]["utterances"]
    rows = []
    for size in sizes:
        each = size["seconds"] / size["utterances"] / first
        cells = f"{size['utterances']:,.0f} | {size['seconds']:.2f} | {each:.2f}"
        rows.append(f"| {cells} | {size['gigabytes']:.2f} |")
    where = (
        f"{environment['cores']} cores, no GPU"
        if environment["backend"] == "cpu"
        else environment["backend"]
    )
    command = f"python benchmarks/scaling.py{environment['options']}"
    return f"""Measured by `{command}` on {where}
(a small member of two modalities; an epoch without its scoring):

| utterances | seconds an epoch | seconds an utterance, beside the first row | peak memory, GB |
|---:|---:|---:|---:|
{chr(10).join(rows)}

"""


def page(
    sizes: list[dict[str, float]], rows: list[dict[str, Any]], environment: dict[str, Any]
) -> str:
    """Both tables in Markdown, or the second alone if nothing was measured."""
    projected = [f"| {row['machine']} | {row['hours']:.1f} |" for row in rows]
    one = rows[0]
    before = measured(sizes, environment) if sizes else ""
    return f"""{before}**Projected, not measured**: all 14 members of `configs/medusa.yaml` on
MSP-Podcast, Stage 1 (4 epochs of {STAGE1:,} utterances) and Stage 2 (at most 40 epochs of about
{STAGE2:,}), come to {one["flops"]:.2e} floating-point operations by formula,
{one["padding"]:.0%} of them on padding. The hours assume {EFFICIENCY:.0%} of the peak that the
makers publish for dense bfloat16 products. {one["parameters"] / 1e6:,.0f} million parameters with
their moments take {one["state_gigabytes"]:.0f} GB: in groups on the small card, at once on the
large one; eight cards are assumed to be eight times as fast as one.

| machine | hours |
|---|---:|
{chr(10).join(projected)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the utterances")
    parser.add_argument(
        "--project", action="store_true", help="the projection only, which measures nothing"
    )
    parser.add_argument(
        "--docs", action="store_true", help="write the tables into docs/training.md"
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure)))
        return
    count = 400 if given.quick else 1600
    sizes = []
    for times in () if given.project else TIMES:
        sizes.append(python(__file__, "--measure", str(times * count)))
    environment = {**machine("jax"), "backend": jax.default_backend()}
    environment["options"] = " --quick" if given.quick else ""
    rows = projection()
    tables = page(sizes, rows, environment)
    print(tables)
    if given.docs:
        text = PAGE.read_text(encoding="utf-8")
        start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
        PAGE.write_text(text[:start] + tables + text[end:], encoding="utf-8")
    save(given.out, environment, sizes=sizes, projection=rows)
    if sizes:
        judge(sizes)


def judge(sizes: list[dict[str, float]]) -> None:
    """Time linear in the utterances, memory flat."""
    each = [size["seconds"] / size["utterances"] for size in sizes]
    slower, larger = max(each) / min(each), sizes[-1]["gigabytes"] / sizes[0]["gigabytes"]
    wanted = "seconds an utterance within a factor of 1.25"
    print(target("linear", wanted, f"{slower:.2f}", slower <= 1.25))
    wanted = "memory at 8× within 1.15 times that at 1×"
    print(target("flat", wanted, f"{larger:.2f}", larger <= 1.15))


if __name__ == "__main__":
    main()
