"""A finished feature store, opened for reading: whole, checked, mapped into memory."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np

from medusa_jax.errors import StoreError
from medusa_jax.store.int8 import Quantised
from medusa_jax.store.ledger import (
    FAILURES,
    PLAN,
    REDO,
    Entry,
    Failure,
    Plan,
    read_entry,
    refuse_foreign,
    shard_path,
)
from medusa_jax.store.shard import MappedShard, read_as


class FeatureStore:
    """Frames by utterance id.

    `ids` in the corpus's order, without the failed; `lengths` `[utterance]`, int32 frames, in the order of `ids`;
    `width` features of a frame; `dtype` what they are read as (float16 where they are stored as int8); `plan` and `entries` what
    the ledger says; `failed` the utterances that have no features, and why, which stand in `failures_file` too.
    """

    def __init__(self, folder: Path, plan: Plan, entries: tuple[Entry, ...]) -> None:
        self.folder, self.plan, self.entries = folder, plan, entries
        self.width, self.dtype = plan.width, read_as(plan.dtype)
        self.failures_file = folder / FAILURES
        self.failed: tuple[Failure, ...] = tuple(
            failure for entry in entries for failure in entry.failed
        )
        self.ids: tuple[str, ...] = tuple(id for entry in entries for id in entry.ids)
        self.lengths = np.array([length for entry in entries for length in entry.lengths], np.int32)
        self.lengths.setflags(write=False)
        self._place = {
            id: (entry.shard, row) for entry in entries for row, id in enumerate(entry.ids)
        }
        self._rows: dict[int, list[np.ndarray] | list[Quantised]] = {}

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a store, having checked that every shard is there in full length and that no foreign one is.

        Raises `StoreError` naming the shard otherwise. The shards' digests are checked when each is first read.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise StoreError(
                "there is no feature store here", where=folder, hint="make it with `medusa extract`"
            )
        plan = Plan.load(folder / PLAN)
        refuse_foreign(folder, plan)
        store = cls(
            folder, plan, tuple(read_entry(folder, plan, shard) for shard in range(plan.shards))
        )
        missing = plan.utterances - len(store) - len(store.failed)
        twice = [id for id, count in Counter(store.ids).items() if count > 1]
        if missing or twice:
            raise StoreError(
                "the ledger contradicts itself" + (f": {twice[0]} stands twice" if twice else ""),
                where=folder,
                hint=REDO,
            )
        return store

    @property
    def digest(self) -> str:
        """Hex SHA-256 over the whole ledger, and through it over every byte of every shard."""
        parts = [self.plan.digest(), *(entry.digest() for entry in self.entries)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id: object) -> bool:
        return id in self._place

    def __getitem__(self, id: str) -> np.ndarray:
        return self.frames(id)

    def frames(self, id: str) -> np.ndarray:
        """Frames `[t, width]` of one utterance, a read-only view of the file; decoded where they are stored as int8.

        Raises `StoreError` if the utterance is not in the store or its shard is damaged.
        """
        try:
            shard, row = self._place[id]
        except KeyError:
            reason = next((f": {f.message}" for f in self.failed if f.id == id), "")
            raise StoreError(
                f"utterance {id!r} has no features{reason}",
                where=self.folder,
                hint="leave it out, or extract it",
            ) from None
        if shard not in self._rows:
            self._rows[shard] = self._checked(shard)
        return _read(self._rows[shard][row])

    def frames_of(self, shard: int) -> Iterator[tuple[str, np.ndarray]]:
        """Ids and frames of one shard, which is checked first and not kept mapped: for who passes through the store once."""
        yield from zip(self.entries[shard].ids, map(_read, self._checked(shard)), strict=True)

    def verify(self) -> None:
        """Check the digest of every shard, several at once. Raises `StoreError` naming the first damaged one."""
        with ThreadPoolExecutor() as pool:  # hashing frees the interpreter's lock
            checks = pool.map(self._mapped, range(self.plan.shards))
            try:
                for _ in checks:
                    pass
            finally:
                pool.shutdown(cancel_futures=True)

    def _checked(self, shard: int) -> list[np.ndarray] | list[Quantised]:
        return self._mapped(shard).rows(self.width, self.plan.dtype)

    def _mapped(self, shard: int) -> MappedShard:
        """A shard whose every byte is as it was written."""
        path, entry = shard_path(self.folder, shard), self.entries[shard]
        try:
            mapped = MappedShard(path)
        except OSError as error:
            raise StoreError(
                f"{path.name} cannot be read: {error}", where=path, hint=REDO
            ) from error
        if mapped.sha256() != entry.sha256:
            raise StoreError(
                f"{path.name} is damaged: its content does not match its digest",
                where=path,
                hint=REDO,
            )
        return mapped


def _read(frames: np.ndarray | Quantised) -> np.ndarray:
    return frames.decoded() if isinstance(frames, Quantised) else frames
