"""The same frames in another dtype: a store of its own, which says what it was made from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from medusa_jax.errors import StoreError
from medusa_jax.store.builder import Advance, Make, fill
from medusa_jax.store.ledger import Entry, Plan
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.shard import BATCH_ROWS, Clip, as_stored
from medusa_jax.store.shard_writer import write_shard


def convert(
    source: FeatureStore,
    dtype: Literal["float16", "float32", "int8"],
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Write `source` with its frames in `dtype` to `folder` and return that; failures and warnings go along. Resumes as extraction does.

    Its plan names the digest of `source`, so that neither can be taken for the other. Raises `StoreError` for a damaged
    source, a folder that holds anything else, or a full disk.
    """
    if dtype == source.plan.dtype:
        raise StoreError(
            f"the store is of {dtype} already", where=source.folder, hint="give another --dtype"
        )
    wanted = source.plan.model_copy(update={"dtype": dtype, "made_from": source.digest})

    @contextmanager
    def making(plan: Plan, advance: Advance) -> Iterator[Make]:
        yield partial(_make, source, folder, plan, advance)

    fill(folder, wanted, making, allowed=len(source.failed), tell=progress)
    return FeatureStore.open(folder)


def _make(source: FeatureStore, folder: Path, plan: Plan, advance: Advance, shard: int) -> Entry:
    before = source.entries[shard]
    converted = (
        as_stored(id, frames.astype(np.float32), plan.dtype)
        for id, frames in source.frames_of(shard)
    )
    entry = write_shard(
        folder, plan, shard, _batches(converted), {"medusa-jax": version("medusa-jax")}
    )
    advance(len(plan.rows(shard)))
    clipped = before.clipped + entry.clipped
    made_with = {**before.made_with, **entry.made_with}
    return entry.model_copy(
        update={
            "failed": before.failed,
            "warned": before.warned,
            "clipped": clipped,
            "made_with": made_with,
        }
    )


def _batches(clips: Iterator[Clip]) -> Iterator[list[Clip]]:
    """A record batch at a time: a shard need not fit into memory."""
    while batch := [clip for _, clip in zip(range(BATCH_ROWS), clips, strict=False)]:
        yield batch
