"""A trace of some training steps, for `medusa train --profile`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from medusa_jax.progress import Report

SKIPPED, TRACED = 10, 20  # the first steps compile


class _Traced:
    """Hands every report on, and counts the steps by them."""

    def __init__(self, report: Report, folder: Path) -> None:
        self._report, self._folder, self._first, self._tracing = report, folder, -1, False

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Begin or end the trace where it is time."""
        self._report(done, total, note)
        if self._first < 0:
            self._first = min(done + SKIPPED, max(total - TRACED, done))
        if not self._tracing and self._first <= done < self._first + TRACED:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = (
                0  # else every call of Python's is an event: a hundred times the file
            )
            jax.profiler.start_trace(
                self._folder, create_perfetto_trace=True, profiler_options=options
            )
            self._tracing = True
        elif done >= self._first + TRACED:
            self.end()

    def end(self) -> None:
        """Write the trace, if one is being taken."""
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()


@contextmanager
def traced(report: Report, folder: Path) -> Iterator[Report]:
    """A `Report` that takes a trace of some steps into `folder` while they are reported; what was
    taken is written also if training stops.
    """
    one = _Traced(report, folder)
    try:
        yield one
    finally:
        one.end()


def traces_in(folder: Path) -> list[Path]:
    """The traces for Perfetto below `folder`, the newest last."""
    return sorted(folder.rglob("perfetto_trace.json.gz"))
