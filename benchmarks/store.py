"""The feature store against its alternatives, from the page cache: random utterances a second and GB/s into a batch, and opening 120,000 utterances.

    python benchmarks/store.py [--quick] [--out store.json] [--folder FOLDER]

Every contender holds the same frames, `[t, 1024]` float16, t from 100 to 550. Contenders alternate, each turn a process of its
own, which reads everything once (the store checks its digests then) and is then timed: two threads copy random utterances into
the rows of a batch buffer, as training does. The store's GB/s beside the machine's own: one array copied to another by as many threads.
The full run takes about ten minutes on 2 cores, and 4 GB of disk and page cache.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import repeat
from pathlib import Path

import numpy as np

WIDTH, LONGEST, BATCH = 1024, 550, 16
OPENED = 120_000
WANTED_GBS, WANTED_SECONDS = 8.0, 2.0
Read = Callable[[int], np.ndarray]


def lengths_of(count: int) -> np.ndarray:
    """Frames of each utterance `[n]`: 2 to 11 seconds of 50 a second."""
    return np.random.default_rng(0).integers(100, LONGEST + 1, count)


def clips(count: int) -> Iterator[np.ndarray]:
    """The frames of each utterance, `[t, d]` float16."""
    noise = np.random.default_rng(1).standard_normal((2 * LONGEST, WIDTH)).astype(np.float16)
    for number, length in enumerate(lengths_of(count)):
        yield noise[number % LONGEST :][:length]


# Contenders: how each is written, and how it is opened for reading by position


def write_ours(
    folder: Path, count: int, width: int = WIDTH, source: Iterator[np.ndarray] | None = None
) -> None:
    from medusa_jax.store.ledger import Plan, entry_path
    from medusa_jax.store.shard import BATCH_ROWS, as_stored
    from medusa_jax.store.shard_writer import write_shard

    folder.mkdir()
    plan = Plan(
        extractor={"extractor": "noise"},
        corpus="noise",
        inputs="0" * 64,
        width=width,
        dtype="float16",
        utterances=count,
        shard_rows=512,
    )
    plan.save(folder / "store.json")
    frames = source or clips(count)
    for shard in range(plan.shards):
        rows = plan.rows(shard)
        windows = (
            range(start, min(start + BATCH_ROWS, rows.stop))
            for start in range(rows.start, rows.stop, BATCH_ROWS)
        )
        results = (
            [as_stored(name_of(row), next(frames), "float16") for row in window]
            for window in windows
        )
        write_shard(folder, plan, shard, results, {}).save(entry_path(folder, shard))


def open_ours(folder: Path, count: int) -> Read:
    from medusa_jax.store.reader import FeatureStore

    store = FeatureStore.open(folder)
    return lambda row: store.frames(store.ids[row])


def write_npy(folder: Path, count: int) -> None:
    folder.mkdir()
    for row, x_td in enumerate(clips(count)):
        np.save(folder / f"{name_of(row)}.npy", x_td)


def open_npy(folder: Path, count: int) -> Read:
    return lambda row: np.load(folder / f"{name_of(row)}.npy")


def write_datasets(folder: Path, count: int) -> None:
    import datasets

    kind = datasets.Features({"frames": datasets.Array2D((None, WIDTH), "float16")})
    with datasets.arrow_writer.ArrowWriter(
        path=str(folder), features=kind, writer_batch_size=16
    ) as writer:
        for x_td in clips(count):
            writer.write({"frames": x_td})
        writer.finalize()


def open_datasets(folder: Path, count: int) -> Read:
    import datasets

    rows = datasets.Dataset.from_file(str(folder)).with_format("numpy")
    return lambda row: rows[row]["frames"]


def write_safetensors(folder: Path, count: int) -> None:
    from safetensors.numpy import save_file

    folder.mkdir()
    frames = clips(count)
    for shard in range(0, count, 512):
        save_file(
            {name_of(row): next(frames).copy() for row in range(shard, min(shard + 512, count))},
            folder / f"{shard // 512}.safetensors",
        )


def open_safetensors(folder: Path, count: int) -> Read:
    from safetensors import safe_open

    shards = [
        safe_open(folder / f"{shard}.safetensors", "numpy") for shard in range(-(-count // 512))
    ]
    return lambda row: shards[row // 512].get_tensor(name_of(row))


CONTENDERS: dict[str, tuple[Callable[[Path, int], None], Callable[[Path, int], Read]]] = {
    "store": (write_ours, open_ours),
    "npy": (write_npy, open_npy),
    "safetensors": (write_safetensors, open_safetensors),
    "datasets": (write_datasets, open_datasets),
}


def name_of(row: int) -> str:
    """An utterance id of a usual length."""
    return f"MSP-PODCAST_{row // 1000:04d}_{row % 1000:04d}.wav"


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
    done = subprocess.run(
        [sys.executable, __file__, "--turn", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


# The whole


def measure(folder: Path, count: int, turns: int, seconds: float) -> dict[str, object]:
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
        print(
            f"{name:<12} {count:>13.0f} {np.median(rates[name]):>7.2f}  {np.median(ratio):.2f} [{ratio.min():.2f}, {ratio.max():.2f}]"
        )
    opening = float(np.median(found["opening_seconds"]))
    print(
        f"opening {OPENED} utterances: {opening:.2f} s [{min(found['opening_seconds']):.2f}, {max(found['opening_seconds']):.2f}]"
    )
    rate = float(np.median(rates["store"]))
    print(
        f"target store-read: wanted >= {WANTED_GBS} GB/s, measured {rate:.2f}: {'met' if rate >= WANTED_GBS else 'missed'}"
    )
    print(
        f"target store-open: wanted < {WANTED_SECONDS} s, measured {opening:.2f}: {'met' if opening < WANTED_SECONDS else 'missed'}"
    )


def environment() -> dict[str, object]:
    """What the numbers depend on beside the program."""
    packages = {
        name: version(name)
        for name in ("medusa-jax", "numpy", "pyarrow", "datasets", "safetensors")
    }
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        **packages,
    }


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
    arguments.out.write_text(
        json.dumps({"environment": environment(), **found}, indent=1) + "\n", encoding="utf-8"
    )
    show(found)


if __name__ == "__main__":
    main()
