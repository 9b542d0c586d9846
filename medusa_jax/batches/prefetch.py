"""Batches made ahead of the loop that consumes them, by a thread that reads, pads and moves them to
the device.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Generic, TypeVar

Row = TypeVar("Row")
Item = TypeVar("Item")


class Loader(Generic[Row, Item]):
    """`make(row)` of every row, in order, at most `depth` of them ahead; the items do not depend on
    the depth (0: each when it is asked for).

    A context manager, so that leaving the loop early leaves no thread behind. What `make` raises is
    raised in the loop, in its turn. `waited` is how many seconds the loop has waited for its items:
    time in which the device may have had no work.
    """

    def __init__(self, make: Callable[[Row], Item], rows: Iterable[Row], depth: int = 2) -> None:
        self.waited = 0.0
        self._make, self._rows, self._depth = make, iter(rows), depth
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="medusa-loader")

    def __enter__(self) -> "Loader[Row, Item]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[Item]:
        ahead: deque[Future[Item]] = deque(self._submitted(1 + self._depth))
        while ahead:
            began = time.monotonic()
            item = ahead.popleft().result()
            self.waited += time.monotonic() - began
            yield item
            ahead.extend(self._submitted(1))

    def _submitted(self, count: int) -> Iterator[Future[Item]]:
        """The next `count` rows, handed to the thread."""
        return (self._pool.submit(self._make, row) for row in islice(self._rows, count))
