"""Convert a store to another dtype: a new store that names its source."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from medusa_jax.errors import StoreError
from medusa_jax.store.builder import Advance, Make, fill
from medusa_jax.store.ledger import Entry, Plan
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.shard import BATCH_ROWS, Clip, as_stored
from medusa_jax.store.shard_writer import write_shard
from medusa_jax.version import VERSION


def convert(
    source: FeatureStore,
    dtype: Literal["float16", "float32", "int8"],
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Write the frames of `source` in `dtype` to `folder` and return the new store.

    Failures and warnings are copied. An interrupted conversion resumes as extraction does. The
    plan names the digest of `source`, so the two are never confused. Raises `StoreError` for a
    damaged source, a folder with other contents, or a full disk.
    """
    if dtype == source.plan.dtype:
        raise StoreError(
            f"the store is already in {dtype}", where=source.folder, hint="give another --dtype"
        )
    wanted = source.plan.model_copy(update={"dtype": dtype, "made_from": source.digest})

    @contextmanager
    def making(plan: Plan, advance: Advance) -> Iterator[Make]:
        yield partial(_make, source, folder, plan, advance)

    fill(folder, wanted, making, allowed=len(source.failed), tell=progress)
    return FeatureStore.open(folder)


def _make(source: FeatureStore, folder: Path, plan: Plan, advance: Advance, shard: int) -> Entry:
    """Convert one shard."""
    before = source.entries[shard]
    clips = _clips(source, shard, plan.dtype)
    entry = write_shard(folder, plan, shard, clips, {"medusa-jax": VERSION})
    advance(len(plan.rows(shard)))
    copied = {
        "failed": before.failed,
        "warned": before.warned,
        "clipped": before.clipped + entry.clipped,
        "made_with": {**before.made_with, **entry.made_with},
    }
    return entry.model_copy(update=copied)


def _clips(source: FeatureStore, shard: int, dtype: str) -> Iterator[list[Clip]]:
    """Yield the converted clips one record batch at a time: a shard may not fit into memory."""
    batch: list[Clip] = []
    for id, frames_td in source.frames_of(shard):
        batch.append(as_stored(id, frames_td.astype(np.float32), dtype))
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
