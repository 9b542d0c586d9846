"""The feature store against its alternatives, from the page cache.

    python benchmarks/store.py [--quick] [--out store.json] [--folder FOLDER]

Measured are random utterances a second and GB/s into a batch, and opening 120,000 utterances. Every
contender (benchmarks/store_contenders.py) holds the same frames, `[t, 1024]` float16, t from 100 to
550. Contenders alternate, each turn a process of its own, which reads everything once (the store
checks its digests then) and is then timed: two threads copy random utterances into the rows of a
batch buffer, as training does. The store's GB/s stand beside the machine's own: one array copied to
another by as many threads. The full run takes about ten minutes on 2 cores, and 4 GB of disk and
page cache.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from results import machine, python, save, target
from store_contenders import CONTENDERS, LONGEST, WIDTH, Read, write_ours

BATCH = 16
OPENED = 120_000
WANTED_GBS, WANTED_SECONDS = 8.0, 2.0

# One turn: a process of its own


def turn(
    contender: str, folder: Path, count: int, seconds: float, threads: int
) -> dict[str, float]:
    """Utterances a second and GB/s of one contender; `copy`: of the machine itself."""
    if contender == "copy":
        big = (
            np.random.default_rng(0)
            .standard_normal(LONGEST * WIDTH * 200)
            .astype(np.float16)
            .reshape(200, LONGEST, WIDTH)
        )
        read: Read = big.__getitem__
        count = len(big)
    else:
        read = CONTENDERS[contender][1](folder / contender, count)
        for row in range(count if contender != "datasets" else min(count, 50)):
            read(row)
    stop = time.perf_counter() + seconds

    def work(seed: int) -> tuple[int, int]:
        rng, buffer_btd, rows, moved = (
            np.random.default_rng(seed),
            np.zeros((BATCH, LONGEST, WIDTH), np.float16),
            0,
            0,
        )
        while time.perf_counter() < stop:
            for place, row in enumerate(rng.integers(count, size=BATCH)):
                x_td = read(int(row))
                buffer_btd[place, : len(x_td)] = x_td
                rows, moved = rows + 1, moved + x_td.shape[0] * WIDTH * 2
        return rows, moved

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(work, range(threads)))
    took = time.perf_counter() - began
    return {
        "utterances_per_second": sum(rows for rows, _ in done) / took,
        "gb_per_second": sum(moved for _, moved in done) / took / 1e9,
    }


def turn_of_opening(folder: Path) -> dict[str, float]:
    """Seconds from the folder's name to the first utterance's length, imports not counted."""
    from medusa_jax.store.reader import FeatureStore

    began = time.perf_counter()
    store = FeatureStore.open(folder / "many")
    assert len(store) == OPENED
    assert int(store.lengths[0]) == 1
    return {"seconds": time.perf_counter() - began}


def in_a_process(*arguments: object) -> dict[str, float]:
    return python(__file__, "--turn", *map(str, arguments))


# The whole


def measure(folder: Path, count: int, turns: int, seconds: float) -> dict[str, Any]:
    """Every turn of every contender, alternating."""
    threads = min(2, len(os.sched_getaffinity(0)))
    for name, (write, _) in CONTENDERS.items():
        print(f"writing {name} …", file=sys.stderr, flush=True)
        write(folder / name, count if name != "datasets" else min(count, 512))
    write_ours(folder / "many", OPENED, 2, repeat(np.ones((1, 2), np.float32)))
    reading: dict[str, list[dict[str, float]]] = {name: [] for name in ("copy", *CONTENDERS)}
    opening = []
    for _ in range(turns):
        for name, results in reading.items():
            results.append(
                in_a_process(
                    name, folder, count if name != "datasets" else min(count, 512), seconds, threads
                )
            )
        opening.append(in_a_process("open", folder)["seconds"])
    return {"threads": threads, "utterances": count, "reading": reading, "opening_seconds": opening}


def show(found: dict) -> None:
    """A line a contender, its ratio to the store with the spread over turns, then the targets."""
    rates = {
        name: np.array([r["gb_per_second"] for r in results])
        for name, results in found["reading"].items()
    }
    print(f"{'contender':<12} {'utterances/s':>13} {'GB/s':>7}  store is so many times as fast")
    for name, results in found["reading"].items():
        ratio = rates["store"] / rates[name]
        count = np.median([r["utterances_per_second"] for r in results])
        spread = f"{np.median(ratio):.2f} [{ratio.min():.2f}, {ratio.max():.2f}]"
        print(f"{name:<12} {count:>13.0f} {np.median(rates[name]):>7.2f}  {spread}")
    taken = np.array(found["opening_seconds"])
    opening, rate = float(np.median(taken)), float(np.median(rates["store"]))
    spread = f"[{taken.min():.2f}, {taken.max():.2f}]"
    print(f"opening {OPENED} utterances: {opening:.2f} s {spread}")
    met = rate >= WANTED_GBS
    print(target("store-read", f">= {WANTED_GBS} GB/s", f"{rate:.2f}", met))
    met = opening < WANTED_SECONDS
    print(target("store-open", f"< {WANTED_SECONDS} s", f"{opening:.2f}", met))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a rough answer within a minute")
    parser.add_argument("--out", type=Path, default=Path("store.json"))
    parser.add_argument(
        "--folder", type=Path, help="where to write the contenders (default: a temporary folder)"
    )
    parser.add_argument("--turn", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turn:
        name, folder, *rest = arguments.turn
        result = (
            turn_of_opening(Path(folder))
            if name == "open"
            else turn(name, Path(folder), int(rest[0]), float(rest[1]), int(rest[2]))
        )
        print(json.dumps(result))
        return
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        found = measure(folder, *((512, 2, 0.7) if arguments.quick else (2048, 7, 5.0)))
    finally:
        shutil.rmtree(folder)
    packages = ("medusa-jax", "numpy", "pyarrow", "datasets", "safetensors")
    save(arguments.out, machine(*packages), **found)
    show(found)


if __name__ == "__main__":
    main()
