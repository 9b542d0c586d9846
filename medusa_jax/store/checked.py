"""Shards whose digest is verified once, at the first read or ahead of it on several threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock, Thread
from typing import Generic, TypeVar

from medusa_jax.errors import StoreError

Rows = TypeVar("Rows")


class CheckedShards(Generic[Rows]):
    """`check(shard)` of every shard, called at most once each; hashing releases the GIL."""

    def __init__(self, count: int, check: Callable[[int], Rows]) -> None:
        self._check = check
        self._rows: dict[int, Rows] = {}
        self._locks = [Lock() for _ in range(count)]

    def __getitem__(self, shard: int) -> Rows:
        """Return the rows of a shard. Raises `StoreError` if it is damaged."""
        if shard not in self._rows:
            with self._locks[shard]:
                if shard not in self._rows:
                    self._rows[shard] = self._check(shard)
        return self._rows[shard]

    def verify(self) -> None:
        """Check every shard now. Raises `StoreError` naming the first damaged one."""
        with ThreadPoolExecutor(cores()) as pool:
            checks = pool.map(self.__getitem__, range(len(self._locks)))
            try:
                for _ in checks:
                    pass
            finally:
                pool.shutdown(cancel_futures=True)

    def verify_ahead(self) -> None:
        """Start to check every shard in the background, and return at once.

        A damaged shard raises its error where it is read. The threads are daemons, so they do not
        delay the end of the process.
        """
        pending = iter(range(len(self._locks)))  # shared: each thread takes the next shard

        def work() -> None:
            for shard in pending:
                with suppress(StoreError):
                    self[shard]

        # Half of the cores, which the loader of batches needs too.
        for _ in range(min(max(1, cores() // 2), len(self._locks))):
            Thread(target=work, name="medusa-verify", daemon=True).start()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
