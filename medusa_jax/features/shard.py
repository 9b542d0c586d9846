"""One Arrow file of frames: an IPC stream, as `datasets` writes its own, that is mapped and never copied.

| column | type | meaning |
|---|---|---|
| `id` | string | the utterance |
| `frames` | large_binary | `[length, width]`, row by row, little-endian, of the store's dtype |
| `length` | int32 | frames |

A flat binary column reads at the speed of memory; nested lists of numbers cost a hundred times that.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

BATCH_ROWS = 64
"""Rows of a record batch: larger ones gain nothing, smaller ones cost a header each."""
SCHEMA = pa.schema([("id", pa.string()), ("frames", pa.large_binary()), ("length", pa.int32())])
DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}


@dataclass(frozen=True)
class Clip:
    """Frames as they are stored, and how many values lay beyond the dtype's range and were cut to it."""

    id: str
    frames: np.ndarray
    clipped: int


def as_stored(id: str, frames_td: np.ndarray, dtype: str) -> Clip:
    """`frames_td` in `dtype`; values that float16 cannot hold become ±65504, never infinity."""
    limit = float(np.finfo(DTYPES[dtype]).max)
    clipped = int((np.abs(frames_td) > limit).sum())
    if clipped:
        frames_td = np.clip(frames_td, -limit, limit)
    return Clip(id, np.ascontiguousarray(frames_td, dtype=DTYPES[dtype]), clipped)


def write_batches(path: Path, batches: Iterable[Sequence[Clip]]) -> None:
    """Write a shard, one record batch each; equal clips in equal batches give equal bytes. Raises `OSError` if the disk will not take it."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as writer:
        for clips in batches:
            columns = [
                pa.array([clip.id for clip in clips], pa.string()),
                pa.array([clip.frames.tobytes() for clip in clips], pa.large_binary()),
                pa.array([len(clip.frames) for clip in clips], pa.int32()),
            ]
            writer.write_batch(pa.record_batch(columns, schema=SCHEMA))


class MappedShard:
    """A shard mapped into memory. What is hashed and what is read are the same mapping, whatever happens to the file's name."""

    def __init__(self, path: Path) -> None:
        self._buffer = pa.memory_map(str(path)).read_buffer()

    def sha256(self) -> str:
        """Hex SHA-256 of the file's bytes."""
        return hashlib.sha256(self._buffer).hexdigest()

    def rows(self, width: int, dtype: str) -> list[np.ndarray]:
        """Views `[t, width]` of every row's frames, read-only, nothing copied."""
        kind, views = DTYPES[dtype], []
        for batch in pa.ipc.open_stream(self._buffer):
            _, offsets, data = batch.column("frames").buffers()
            starts = np.frombuffer(offsets, np.int64, batch.num_rows + 1)
            flat = np.frombuffer(data, kind)
            for start, stop in zip(starts[:-1] // kind.itemsize, starts[1:] // kind.itemsize, strict=True):
                views.append(flat[start:stop].reshape(-1, width))
        return views
