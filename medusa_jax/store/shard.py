"""One Arrow file of frames: an IPC stream in the format of `datasets`, read through a memory map.

| column | type | meaning |
|---|---|---|
| `id` | string | the utterance |
| `frames` | large_binary | `[length, width]`, row by row, little-endian, in the store's dtype |
| `length` | int32 | number of frames |
| `scale` | large_binary | `[width]` float32, only for int8: a frame is its codes times the scale |

A flat binary column reads at the speed of memory; nested lists of numbers are a hundred times
slower.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from medusa_jax.store.int8 import Quantised, quantise

BATCH_ROWS = 64
"""Rows of a record batch: larger batches are not faster, smaller ones add a header each."""
SCHEMA = pa.schema([("id", pa.string()), ("frames", pa.large_binary()), ("length", pa.int32())])
WITH_SCALE = SCHEMA.append(pa.field("scale", pa.large_binary()))
DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype("<f2"),
    "float32": np.dtype("<f4"),
    "int8": np.dtype("i1"),
    "uint8": np.dtype("u1"),
}


def read_as(dtype: str) -> str:
    """Return the dtype in which frames stored as `dtype` are read."""
    return "float16" if dtype == "int8" else dtype


@dataclass(frozen=True)
class Clip:
    """An utterance's frames as stored; `clipped` values exceeded the range of the read dtype."""

    id: str
    frames: np.ndarray
    clipped: int
    scale: np.ndarray | None = None


def as_stored(id: str, frames_td: np.ndarray, dtype: str) -> Clip:
    """Return `frames_td` in `dtype`; values out of float16's range become ±65504, not infinity."""
    if dtype == "uint8":  # the bytes of a text
        return Clip(id, np.ascontiguousarray(frames_td, dtype=DTYPES[dtype]), 0)
    limit = float(np.finfo(DTYPES[read_as(dtype)]).max)
    clipped = int((np.abs(frames_td) > limit).sum())
    if clipped:
        frames_td = np.clip(frames_td, -limit, limit)
    if dtype == "int8":
        codes_td, scale_d = quantise(frames_td.astype(np.float32, copy=False))
        return Clip(id, np.ascontiguousarray(codes_td), clipped, scale_d)
    return Clip(id, np.ascontiguousarray(frames_td, dtype=DTYPES[dtype]), clipped)


def write_batches(path: Path, batches: Iterable[Sequence[Clip]], dtype: str) -> None:
    """Write a shard, one record batch per batch of clips; equal batches give equal bytes.

    Raises `OSError` if the disk is full.
    """
    schema = WITH_SCALE if dtype == "int8" else SCHEMA
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for clips in batches:
            columns = [
                pa.array([clip.id for clip in clips], pa.string()),
                pa.array([clip.frames.tobytes() for clip in clips], pa.large_binary()),
                pa.array([len(clip.frames) for clip in clips], pa.int32()),
            ]
            if dtype == "int8":
                scales = [clip.scale.tobytes() for clip in clips if clip.scale is not None]
                columns.append(pa.array(scales, pa.large_binary()))
            writer.write_batch(pa.record_batch(columns, schema=schema))


class MappedShard:
    """A shard mapped into memory: hash and frames are read from the same mapping of the file."""

    def __init__(self, path: Path) -> None:
        self._buffer = pa.memory_map(str(path)).read_buffer()

    def sha256(self) -> str:
        """Return the hex SHA-256 of the file."""
        return hashlib.sha256(self._buffer).hexdigest()

    def rows(self, width: int, dtype: str) -> list[np.ndarray] | list[Quantised]:
        """Return each row's frames as stored: read-only views `[t, width]`, not copied."""
        views = self._views("frames", DTYPES[dtype], width)
        if dtype != "int8":
            return views
        scales = self._views("scale", DTYPES["float32"], width)
        pairs = zip(views, scales, strict=True)
        return [Quantised(codes_td, scale_1d[0]) for codes_td, scale_1d in pairs]

    def _views(self, column: str, dtype: np.dtype[Any], width: int) -> list[np.ndarray]:
        """Return the column's rows as arrays `[t, width]`."""
        views = []
        for batch in pa.ipc.open_stream(self._buffer):
            _, offsets, data = batch.column(column).buffers()
            ends = np.frombuffer(offsets, np.int64, batch.num_rows + 1) // dtype.itemsize
            flat = np.frombuffer(data, dtype)
            for start, stop in pairwise(ends):
                views.append(flat[start:stop].reshape(-1, width))
        return views
