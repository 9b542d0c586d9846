"""Compare settings of allocator, compiler and random numbers for a training step.

    python benchmarks/environment.py [--quick] [--hidden 256] [--utterances 64] [--longest 200]
        [--rounds 3] [--out FILE]

Processes alternate. Every setting trains the same epoch as `benchmarks/train.py`, in float32 and
one padded shape. Printed are its speed against the defaults, the share of the time that the
operating system took (on a CPU: for fresh pages of memory), and peak memory.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import train_task
from results import machine, python, save

WORKER = Path(__file__).with_name("train_ours.py")
WAYS: dict[str, dict[str, str]] = {
    "defaults": {},
    "large pages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "memory kept": {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "100000000000",
        "MALLOC_TOP_PAD_": "67108864",
    },
    "schedule for memory": {"XLA_FLAGS": "--xla_cpu_enable_concurrency_optimized_scheduler=false"},
    "generator rbg": {"JAX_DEFAULT_PRNG_IMPL": "rbg"},
    "XLA's own options": {"MEDUSA_BENCHMARK_OPTIONS": "{}"},  # those of machines/xla.py left out
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small model and one round")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--utterances", type=int, default=64)
    parser.add_argument("--longest", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    if given.quick:
        given.hidden, given.utterances, given.rounds = 32, 32, 1
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        train_task.write(Path(folder), given.utterances, given.longest)
        task = {
            "folder": folder,
            "hidden": given.hidden,
            "batch": 16,
            "shapes": 1,
            "precision": "float32",
            "members": 1,
        }
        for _ in range(given.rounds):
            for name, environment in WAYS.items():
                rows[name].append(python(str(WORKER), json.dumps(task), **environment))
    first = np.array([row["seconds"] for row in rows["defaults"]])
    for name, own in rows.items():
        ratio = first / np.array([row["seconds"] for row in own])
        system = np.median([row["system"] / row["seconds"] for row in own]) / (os.cpu_count() or 1)
        memory = max(row["memory"] for row in own) / 1e9
        spread = f"x{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
        print(f"{name:20s} {spread}; system {system:.0%}; peak memory {memory:.2f} GB")
    settings = {key: value for key, value in vars(given).items() if key != "out"}
    save(given.out, machine("jax", "jaxlib", "medusa-jax"), settings=settings, rows=rows)


if __name__ == "__main__":
    main()
