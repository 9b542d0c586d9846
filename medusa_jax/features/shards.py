"""One shard from its rows of the corpus: in order, in bounded memory, one bad file at a time."""

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
from medusa_jax.features.windows import windows
from medusa_jax.store.ledger import Entry, Failure, Plan, Warned
from medusa_jax.store.shard import Clip, as_stored
from medusa_jax.store.shard_writer import Result, write_shard

log = logging.getLogger(__name__)


@dataclass
class _Row:
    """An utterance on its way: its input, then its frames, then its clip; or the error that ended it."""

    id: str
    audio: str
    value: np.ndarray | str | Clip | Exception
    warned: tuple[str, ...] = ()


class ShardMaker:
    """Writes the shards of one plan; `advance(rows)` is called as they are done."""

    def __init__(
        self,
        corpus: Corpus,
        extractor: Extractor,
        plan: Plan,
        pool: ThreadPoolExecutor,
        advance: Callable[[int], None],
    ) -> None:
        self._corpus, self._extractor, self._plan, self._pool, self._advance = (
            corpus,
            extractor,
            plan,
            pool,
            advance,
        )
        self._made_with = {name: version(name) for name in ("medusa-jax", *extractor.packages)}
        self._seconds_n = corpus.frame["seconds"].to_numpy(np.float64)

    def make(self, folder: Path, shard: int) -> Entry:
        """Write the file of shard number `shard` and return its entry, which the caller writes: until then the shard does not count."""
        windows = (_results(rows) for rows in self._windows(self._plan.rows(shard)))
        return write_shard(folder, self._plan, shard, windows, self._made_with)

    def _windows(self, rows: range) -> Iterator[list[_Row]]:
        """A window at a time, in the corpus's order; the next one is read while the extractor works on this one."""
        spans = windows(rows, self._seconds_n, self._plan.width)
        ahead = self._reading(spans[0])
        for span, following in zip_longest(spans, spans[1:]):
            now, ahead = (
                [reading.result() for reading in ahead],
                self._reading(following or range(0)),
            )
            if not self._extractor.parallel:
                self._extract(now)
                now = list(self._pool.map(self._stored, now))
            yield now
            self._advance(len(span))

    def _reading(self, span: range) -> list[Future[_Row]]:
        return [
            self._pool.submit(self._alone if self._extractor.parallel else self._read, row)
            for row in span
        ]

    def _read(self, place: int) -> _Row:
        """The input of one utterance. Whatever one file does to a decoder, the others go on."""
        id, audio, transcript = (
            self._corpus.frame[column].iat[place] for column in ("id", "audio", "transcript")
        )
        row = _Row(str(id), str(audio), FeatureError("the utterance has no transcript"))
        try:
            if self._extractor.reads == "audio":
                sound = read_audio(self._corpus.audio_path(place))
                row.value, row.warned = sound.wave_n, sound.warnings
            elif isinstance(transcript, str):
                row.value = transcript
        except Exception as error:
            row.value = error
        return row

    def _alone(self, place: int) -> _Row:
        """One utterance from its file to its clip, in a thread of its own."""
        row = self._read(place)
        self._extract([row])
        return self._stored(row)

    def _extract(self, rows: Sequence[_Row]) -> None:
        """Frames in place of the inputs. Where the extractor breaks on several at once, each has another chance alone."""
        whole = [row for row in rows if not isinstance(row.value, Exception)]
        try:
            made = list(zip(whole, self._extractor([row.value for row in whole]), strict=True))
        except DependencyError:
            raise
        except Exception as error:
            if len(whole) == 1:
                whole[0].value = error
            else:
                log.warning(
                    "%s broke on %d inputs at once: %s", self._extractor.name, len(whole), error
                )
                for row in whole:
                    self._extract([row])
            return
        for row, frames in made:
            row.value = frames

    def _stored(self, row: _Row) -> _Row:
        """Its frames as they are stored, if they are fit to be."""
        if isinstance(row.value, np.ndarray):
            try:
                self._check(row.value)
                row.value = as_stored(row.id, row.value, self._plan.dtype)
            except MedusaError as error:
                row.value = error
        return row

    def _check(self, frames_td: np.ndarray) -> None:
        if frames_td.ndim != 2 or len(frames_td) == 0 or frames_td.shape[1] != self._plan.width:
            raise FeatureError(
                f"the extractor gave frames of shape {frames_td.shape}, not [t, {self._plan.width}]"
            )
        if not np.isfinite(frames_td).all():
            raise FeatureError(
                f"the extractor gave NaN or infinity in {int((~np.isfinite(frames_td)).any(axis=1).sum())} of {len(frames_td)} frames"
            )


def _results(rows: Sequence[_Row]) -> Iterator[Result]:
    """What a window's rows came to, and what is to be said of them."""
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
