"""A finished feature store, opened for reading: complete, checked and mapped into memory."""

import copy
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from medusa_jax.errors import StoreError
from medusa_jax.store.checked import CheckedShards
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

    `ids` in the corpus's order, without the failed ones; `lengths` `[utterance]`, int32 frames, in
    the order of `ids`; `width` features of a frame; `dtype` of the frames as read (float16 for
    int8); `plan` and `entries` from the ledger; `failed` the utterances without features, which
    `failures_file` lists too.
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
        self._shards = CheckedShards(plan.shards, self._checked)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a store after checking that every shard has its full length and none is foreign.

        Raises `StoreError` naming the shard otherwise. The digest of a shard is checked when it is
        first read, or by `verify` and `verify_ahead`.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise StoreError(
                "there is no feature store here", where=folder, hint="make it with `medusa extract`"
            )
        plan = Plan.load(folder / PLAN)
        refuse_foreign(folder, plan)
        entries = tuple(read_entry(folder, plan, shard) for shard in range(plan.shards))
        store = cls(folder, plan, entries)
        store._refuse_contradictions()
        return store

    def _refuse_contradictions(self) -> None:
        """Raise `StoreError` if utterances are listed twice, or not at all."""
        twice = [id for id, count in Counter(self.ids).items() if count > 1]
        if twice or self.plan.utterances != len(self) + len(self.failed):
            detail = f": {twice[0]} is listed twice" if twice else ""
            raise StoreError(f"the ledger contradicts itself{detail}", where=self.folder, hint=REDO)

    def with_failures(self, failed: tuple[Failure, ...], failures_file: Path) -> Self:
        """Return a view of this store with other failures, those of one corpus."""
        view = copy.copy(self)
        view.failed, view.failures_file = failed, failures_file
        return view

    @property
    def digest(self) -> str:
        """Hex SHA-256 over the ledger, which covers every byte of every shard."""
        parts = [self.plan.digest(), *(entry.digest() for entry in self.entries)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id: object) -> bool:
        return id in self._place

    def __getitem__(self, id: str) -> np.ndarray:
        return self.frames(id)

    def frames(self, id: str) -> np.ndarray:
        """Return frames `[t, width]` of one utterance: a read-only view, or decoded int8.

        Raises `StoreError` if the utterance is not in the store or its shard is damaged.
        """
        return _decoded(self._row(id))

    def stored(self, id: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return frames `[t, width]` of one utterance as stored, and their scale.

        For int8 the frames are codes and the scale is `[width]`, float32: `codes * scale`, rounded
        to float16, equals `frames(id)`. For other dtypes the scale is None. Both are read-only
        views. Raises as `frames`.
        """
        row = self._row(id)
        return (row.codes_td, row.scale_d) if isinstance(row, Quantised) else (row, None)

    def _row(self, id: str) -> np.ndarray | Quantised:
        """Return the views of one utterance."""
        try:
            shard, row = self._place[id]
        except KeyError:
            reason = next((f": {f.message}" for f in self.failed if f.id == id), "")
            raise StoreError(
                f"utterance {id!r} has no features{reason}",
                where=self.folder,
                hint="leave it out, or extract it",
            ) from None
        return self._shards[shard][row]

    def frames_of(self, shard: int) -> Iterator[tuple[str, np.ndarray]]:
        """Yield ids and frames of one shard, checked first and not kept mapped afterwards."""
        yield from zip(self.entries[shard].ids, map(_decoded, self._checked(shard)), strict=True)

    def verify(self) -> None:
        """Check the digest of every shard on all cores. Raises `StoreError` for a damaged one."""
        self._shards.verify()

    def verify_ahead(self) -> None:
        """Start to check every shard in the background, so that reads seldom wait for a digest."""
        self._shards.verify_ahead()

    def _checked(self, shard: int) -> list[np.ndarray] | list[Quantised]:
        """Return a shard's rows after comparing every byte with the ledger."""
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
        return mapped.rows(self.width, self.plan.dtype)


def _decoded(frames: np.ndarray | Quantised) -> np.ndarray:
    return frames.decoded() if isinstance(frames, Quantised) else frames
