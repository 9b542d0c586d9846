"""Make one shard from its rows of the corpus, in order and in bounded memory.

A bad file fails alone.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path

import numpy as np

from medusa_jax.audio.decode import read_audio
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import DependencyError, FeatureError, MedusaError
from medusa_jax.features.extractor import Extractor
from medusa_jax.features.frames import frames_path
from medusa_jax.features.windows import windows
from medusa_jax.store.ledger import Entry, Failure, Plan, Warned
from medusa_jax.store.shard import Clip, as_stored
from medusa_jax.store.shard_writer import Result, write_shard
from medusa_jax.version import VERSION

log = logging.getLogger(__name__)


@dataclass
class _Row:
    """An utterance in progress: `value` is its input, then its frames, its clip, or its error."""

    id: str
    audio: str
    value: np.ndarray | str | Path | Clip | Exception
    warned: tuple[str, ...] = ()


class ShardMaker:
    """Writes the shards of one plan and calls `advance(rows)` after each window."""

    def __init__(
        self,
        corpus: Corpus,
        extractor: Extractor,
        plan: Plan,
        pool: ThreadPoolExecutor,
        advance: Callable[[int], None],
    ) -> None:
        self._corpus, self._extractor, self._plan = corpus, extractor, plan
        self._pool, self._advance = pool, advance
        self._made_with = {
            "medusa-jax": VERSION,
            **{name: version(name) for name in extractor.packages},
        }
        self._seconds_n = corpus.frame["seconds"].to_numpy(np.float64)

    def make(self, folder: Path, shard: int) -> Entry:
        """Write the file of shard number `shard` and return its entry, which the caller saves."""
        windows = (_results(rows) for rows in self._windows(self._plan.rows(shard)))
        return write_shard(folder, self._plan, shard, windows, self._made_with)

    def _windows(self, rows: range) -> Iterator[list[_Row]]:
        """Yield windows in order; the next one is read while the extractor works on this one."""
        spans = windows(rows, self._seconds_n, self._plan.width)
        ahead = self._reading(spans[0])
        for span, following in zip_longest(spans, spans[1:]):
            now = [reading.result() for reading in ahead]
            ahead = self._reading(following or range(0))
            if not self._extractor.parallel:
                self._extract(now)
                now = list(self._pool.map(self._stored, now))
            yield now
            self._advance(len(span))

    def _reading(self, span: range) -> list[Future[_Row]]:
        """Start to read each utterance, and to extract it where the extractor is parallel."""
        work = self._alone if self._extractor.parallel else self._read
        return [self._pool.submit(work, row) for row in span]

    def _read(self, place: int) -> _Row:
        """Read the input of one utterance; any error of its file is kept in its row."""
        columns = ("id", "audio", "transcript")
        id, audio, transcript = (self._corpus.frame[column].iat[place] for column in columns)
        reads = self._extractor.reads
        lacking = "audio" if reads == "audio" else "transcript"
        row = _Row(str(id), str(audio), FeatureError(f"the utterance has no {lacking}"))
        try:
            if reads == "frames":
                folder = str(self._extractor.identity()["folder"])
                row.value = frames_path(self._corpus.root, folder, row.id)
            elif reads == "text":
                row.value = transcript if isinstance(transcript, str) else row.value
            elif audio:
                sound = read_audio(self._corpus.audio_path(place))
                row.value, row.warned = sound.wave_n, sound.warnings
        except Exception as error:
            row.value = error
        return row

    def _alone(self, place: int) -> _Row:
        """Process one utterance from its file to its clip."""
        row = self._read(place)
        self._extract([row])
        return self._stored(row)

    def _extract(self, rows: Sequence[_Row]) -> None:
        """Replace inputs by frames. If the extractor fails on several, it gets each one alone."""
        inputs = [row for row in rows if not isinstance(row.value, Exception)]
        try:
            made = list(zip(inputs, self._extractor([row.value for row in inputs]), strict=True))
        except DependencyError:
            raise
        except Exception as error:
            self._extract_singly(inputs, error)
            return
        for row, frames in made:
            row.value = frames

    def _extract_singly(self, rows: Sequence[_Row], error: Exception) -> None:
        """Try each row alone after an `error` on all of them; a single row keeps the error."""
        if len(rows) == 1:
            rows[0].value = error
            return
        log.warning("%s failed on %d inputs at once: %s", self._extractor.name, len(rows), error)
        for row in rows:
            self._extract([row])

    def _stored(self, row: _Row) -> _Row:
        """Replace the frames by their clip, or by the reason why they cannot be stored."""
        if isinstance(row.value, np.ndarray):
            try:
                self._check(row.value)
                row.value = as_stored(row.id, row.value, self._plan.dtype)
            except MedusaError as error:
                row.value = error
        return row

    def _check(self, frames_td: np.ndarray) -> None:
        """Raise `FeatureError` for a wrong shape or numbers that are not finite."""
        if frames_td.ndim != 2 or len(frames_td) == 0 or frames_td.shape[1] != self._plan.width:
            raise FeatureError(
                f"the extractor gave frames of shape {frames_td.shape}, not [t, {self._plan.width}]"
            )
        bad_t = ~np.isfinite(frames_td).all(axis=1)
        if bad_t.any():
            raise FeatureError(
                f"the extractor gave NaN or infinity in {bad_t.sum()} of {len(frames_td)} frames"
            )


def _results(rows: Sequence[_Row]) -> Iterator[Result]:
    """Yield the clip or failure of each row of a window, and its warnings."""
    for row in rows:
        if isinstance(row.value, Clip):
            yield row.value
        elif isinstance(row.value, Exception):
            yield _failure(row, row.value)
        if row.warned:
            yield Warned(id=row.id, warnings=row.warned)


def _failure(row: _Row, error: Exception) -> Failure:
    message = error.what if isinstance(error, MedusaError) else str(error)
    return Failure(id=row.id, audio=row.audio, error=type(error).__name__, message=message)
