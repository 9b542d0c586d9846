"""One Arrow file of frames: an IPC stream, as `datasets` writes its own, that is mapped and never copied.

| column | type | meaning |
|---|---|---|
| `id` | string | the utterance |
| `frames` | large_binary | `[length, width]`, row by row, little-endian, of the store's dtype |
| `length` | int32 | frames |
| `scale` | large_binary | `[width]` float32, only where the dtype is int8: what a step of each feature is worth |

A flat binary column reads at the speed of memory; nested lists of numbers cost a hundred times that.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from medusa_jax.store.int8 import Quantised, quantise

BATCH_ROWS = 64
"""Rows of a record batch: larger ones gain nothing, smaller ones cost a header each."""
SCHEMA = pa.schema([("id", pa.string()), ("frames", pa.large_binary()), ("length", pa.int32())])
WITH_SCALE = SCHEMA.append(pa.field("scale", pa.large_binary()))
DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype("<f2"),
    "float32": np.dtype("<f4"),
    "int8": np.dtype("i1"),
    "uint8": np.dtype("u1"),
}


def read_as(dtype: str) -> str:
    """What frames stored as `dtype` are given out as."""
    return "float16" if dtype == "int8" else dtype


@dataclass(frozen=True)
class Clip:
    """Frames as they are stored, and how many values lay beyond the range of what they are read as and were cut to it."""

    id: str
    frames: np.ndarray
    clipped: int
    scale: np.ndarray | None = None


def as_stored(id: str, frames_td: np.ndarray, dtype: str) -> Clip:
    """`frames_td` in `dtype`; values that float16 cannot hold become ±65504, never infinity."""
    if dtype == "uint8":  # a text's bytes
        return Clip(id, np.ascontiguousarray(frames_td, dtype=DTYPES[dtype]), 0)
    limit = float(np.finfo(DTYPES[read_as(dtype)]).max)
    clipped = int((np.abs(frames_td) > limit).sum())
    if clipped:
        frames_td = np.clip(frames_td, -limit, limit)
    if dtype == "int8":
        return Clip(id, *_with_scale(frames_td, clipped))
    return Clip(id, np.ascontiguousarray(frames_td, dtype=DTYPES[dtype]), clipped)


def _with_scale(frames_td: np.ndarray, clipped: int) -> tuple[np.ndarray, int, np.ndarray]:
    codes_td, scale_d = quantise(frames_td.astype(np.float32, copy=False))
    return np.ascontiguousarray(codes_td), clipped, scale_d


def write_batches(path: Path, batches: Iterable[Sequence[Clip]], dtype: str) -> None:
    """Write a shard, one record batch each; equal clips in equal batches give equal bytes. Raises `OSError` if the disk will not take it."""
    schema = WITH_SCALE if dtype == "int8" else SCHEMA
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for clips in batches:
            columns = [
                pa.array([clip.id for clip in clips], pa.string()),
                pa.array([clip.frames.tobytes() for clip in clips], pa.large_binary()),
                pa.array([len(clip.frames) for clip in clips], pa.int32()),
                pa.array(
                    [clip.scale.tobytes() for clip in clips if clip.scale is not None],
                    pa.large_binary(),
                ),
            ]
            writer.write_batch(pa.record_batch(columns[: len(schema)], schema=schema))


class MappedShard:
    """A shard mapped into memory. What is hashed and what is read are the same mapping, whatever happens to the file's name."""

    def __init__(self, path: Path) -> None:
        self._buffer = pa.memory_map(str(path)).read_buffer()

    def sha256(self) -> str:
        """Hex SHA-256 of the file's bytes."""
        return hashlib.sha256(self._buffer).hexdigest()

    def rows(self, width: int, dtype: str) -> list[np.ndarray] | list[Quantised]:
        """Every row's frames: read-only views `[t, width]` of which nothing is copied, or (int8) what to decode."""
        views = self._views("frames", DTYPES[dtype], width)
        if dtype != "int8":
            return views
        return [
            Quantised(codes, scale[0])
            for codes, scale in zip(
                views, self._views("scale", DTYPES["float32"], width), strict=True
            )
        ]

    def _views(self, column: str, kind: np.dtype[Any], width: int) -> list[np.ndarray]:
        views = []
        for batch in pa.ipc.open_stream(self._buffer):
            _, offsets, data = batch.column(column).buffers()
            starts = np.frombuffer(offsets, np.int64, batch.num_rows + 1)
            flat = np.frombuffer(data, kind)
            for start, stop in zip(
                starts[:-1] // kind.itemsize, starts[1:] // kind.itemsize, strict=True
            ):
                views.append(flat[start:stop].reshape(-1, width))
        return views
