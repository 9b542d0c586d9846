"""Contenders of benchmarks/store.py: how each is written, and opened to read by position."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

WIDTH, LONGEST = 1024, 550
Read = Callable[[int], np.ndarray]


def lengths_of(count: int) -> np.ndarray:
    """Frames of each utterance `[n]`: 2 to 11 seconds of 50 a second."""
    return np.random.default_rng(0).integers(100, LONGEST + 1, count)


def clips(count: int) -> Iterator[np.ndarray]:
    """The frames of each utterance, `[t, d]` float16."""
    noise = np.random.default_rng(1).standard_normal((2 * LONGEST, WIDTH)).astype(np.float16)
    for number, length in enumerate(lengths_of(count)):
        yield noise[number % LONGEST :][:length]


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
