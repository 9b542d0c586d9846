"""Progress of a long step: a Rich bar in a terminal, an occasional plain line elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable


@runtime_checkable
class Report(Protocol):
    """Called as a step proceeds: units done, units in all, and a note on the latest."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show the progress."""
        ...


_PLAIN_SECONDS = 15.0


def silent(done: int, total: int, note: str = "") -> None:
    """Report nothing."""


@contextmanager
def track(title: str) -> Iterator[Report]:
    """Yield a `Report` under this title; progress goes to stderr, results go to stdout."""
    yield from _bar(title) if sys.stderr.isatty() else _lines(title)


def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    times = (TimeElapsedColumn(), TimeRemainingColumn())
    words, note = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
    with Progress(
        words, BarColumn(), MofNCompleteColumn(), *times, note, console=Console(stderr=True)
    ) as bars:
        task = bars.add_task(title, total=None, note="")

        def report(done: int, total: int, note: str = "") -> None:
            bars.update(task, completed=done, total=total, note=note)

        yield report


def _lines(title: str) -> Iterator[Report]:
    started = last = time.monotonic()
    state = (0, 0, "")

    def line(done: int, total: int, note: str) -> None:
        seconds = time.monotonic() - started
        left = f", about {seconds / done * (total - done):.0f} s left" if 0 < done < total else ""
        text = f"{title}: {done}/{total} in {seconds:.0f} s{left}"
        print(f"{text}  {note}" if note else text, file=sys.stderr, flush=True)

    def report(done: int, total: int, note: str = "") -> None:
        nonlocal last, state
        state = (done, total, note)
        if done < total and time.monotonic() - last > _PLAIN_SECONDS:
            last = time.monotonic()
            line(*state)

    yield report
    if state[1]:
        line(*state)
