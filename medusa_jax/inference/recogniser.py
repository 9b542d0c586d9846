"""A trained system that hears: recordings in, emotions out.

Legend: `n` sample, `b` recording of a call.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.corpus.table import ATTRIBUTES
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.errors import ConfigError, MedusaError
from medusa_jax.inference.features import Spoken
from medusa_jax.inference.members import Members
from medusa_jax.inference.result import Result, Results
from medusa_jax.inference.sounds import as_source, files_in, mono, pieces, resampled, waveform
from medusa_jax.inference.system import System, open_system
from medusa_jax.inference.windows import Window, Windows

BATCH = 32
"""Recordings or windows that are computed together."""


def load(system: Any, *, use: str | None = None, fold: int | None = None) -> "Recogniser":
    """The trained system in a run's folder or an exported one, ready to be called.

    `use`: a system of the ensemble (`soup`, `majority_vote`, …) or a member's id; by default what
    the run submits. Raises `CheckpointError` if it is damaged or not whole.
    """
    return Recogniser(open_system(Path(system).expanduser(), fold), use)


class Recogniser:
    """Predicts emotions with the members of a system. Safe to call from several threads, which
    take turns.
    """

    def __init__(self, system: System, use: str | None = None) -> None:
        self._lock = threading.Lock()
        self._members = Members(system, use)
        self.use, self.classes = self._members.use, self._members.classes

    def __call__(
        self,
        sound: Any,
        rate: int | None = None,
        *,
        windows: tuple[float, float] | None = None,
        transcript: str | Sequence[str | None] | None = None,
    ) -> Any:
        """Emotions of a recording: a path, bytes, an open file, or an array with its `rate`.

        A `Result`; with `windows` (length and hop in seconds) `Results`, one a window. Of a list or
        a folder `Results` too, in which a recording that cannot be read is a result with an
        `error`; of a single one that is an `AudioError`. `transcript`: its words, where they are
        known; of a list one each.
        """
        if isinstance(sound, (str, Path)) and Path(sound).expanduser().is_dir():
            sound = files_in(Path(sound).expanduser())
        if isinstance(sound, (list, tuple)):
            return Results(self.each(sound, rate, windows=windows, transcripts=transcript))
        if not (transcript is None or isinstance(transcript, str)):
            raise ConfigError("several transcripts for one recording", where="transcript")
        with as_source(sound, rate) as (source, name):
            if windows is not None:
                return Results(self._windowed(pieces(source), Windows(*windows), name))
            wave_n, warnings = waveform(source)
            return self._results([Spoken(name, wave_n, transcript)], [0.0], [warnings])[0]

    def each(
        self,
        sounds: Iterable[Any],
        rate: int | None = None,
        *,
        windows: tuple[float, float] | None = None,
        transcripts: Iterable[str | None] | None = None,
    ) -> Iterator[Result]:
        """The results of recordings in order, as they are made, `BATCH` at a time."""
        if windows is not None:
            Windows(*windows)  # what is wrong with them is no recording's fault
        if isinstance(transcripts, str):
            raise ConfigError("one transcript for several recordings", where="transcript")
        words = repeat(None) if transcripts is None else transcripts
        remaining = zip(sounds, words, strict=transcripts is not None)
        while some := list(islice(remaining, BATCH)):
            if windows is None:
                yield from self._together(some, rate)
            else:
                for one, _ in some:
                    yield from self._cut(one, rate, windows)

    def stream(
        self, chunks: Iterable[np.ndarray], rate: int, *, windows: tuple[float, float]
    ) -> Iterator[Result]:
        """Results of the windows of a stream, each as soon as the chunk that completes it has come.

        Chunks `[sample]` or `[sample, channel]` may have any size. The results are those of the
        same samples in a file.
        """
        samples = resampled((mono(np.asarray(one)) for one in chunks), rate)
        yield from self._windowed(samples, Windows(*windows), "stream", 1)

    def dialogue(
        self,
        sounds: Sequence[Any],
        rate: int | None = None,
        *,
        speakers: Sequence[str] | None = None,
        transcripts: Sequence[str | None] | None = None,
    ) -> Results:
        """The turns of a conversation, in order, in the context of one another where members read
        conversations. Raises `AudioError` for a turn that cannot be read.
        """
        spoken, warned = [], []
        who, words = (own or [None] * len(sounds) for own in (speakers, transcripts))
        for sound, speaker, text in zip(sounds, who, words, strict=True):
            with as_source(sound, rate) as (source, name):
                wave_n, warnings = waveform(source)
            spoken.append(Spoken(name, wave_n, text, "new", speaker))
            warned.append(warnings)
        return Results(self._results(spoken, [0.0] * len(spoken), warned))

    def _together(self, sounds: Sequence[tuple[Any, str | None]], rate: int | None) -> list[Result]:
        """A result for each recording and its words, if they are known, read whole."""
        found: list[Result | None] = []
        spoken, warned = [], []
        for sound, words in sounds:
            try:
                with as_source(sound, rate) as (source, name):
                    wave_n, warnings = waveform(source)
            except MedusaError as error:
                found.append(_failed(sound, error))
                continue
            found.append(None)
            spoken.append(Spoken(name, wave_n, words))
            warned.append(warnings)
        made = iter(self._results(spoken, [0.0] * len(spoken), warned) if spoken else [])
        return [one or next(made) for one in found]

    def _cut(self, sound: Any, rate: int | None, windows: tuple[float, float]) -> Iterator[Result]:
        try:
            with as_source(sound, rate) as (source, name):
                yield from self._windowed(pieces(source), Windows(*windows), name)
        except MedusaError as error:
            yield _failed(sound, error)

    def _windowed(
        self, samples: Iterable[np.ndarray], windows: Windows, name: str, batch: int = BATCH
    ) -> Iterator[Result]:
        waiting: list[Window] = []
        for chunk_n in samples:
            waiting += windows.feed(chunk_n)
            while len(waiting) >= batch:
                yield from self._of_windows(waiting[:batch], name)
                waiting = waiting[batch:]
        if waiting := waiting + windows.end():
            yield from self._of_windows(waiting, name)

    def _of_windows(self, windows: Sequence[Window], name: str) -> list[Result]:
        spoken = [Spoken(name, one.wave_n) for one in windows]
        return self._results(spoken, [one.start for one in windows], [()] * len(spoken))

    def _results(
        self,
        spoken: Sequence[Spoken],
        starts: Sequence[float],
        warned: Sequence[tuple[str, ...]],
    ) -> list[Result]:
        """The result of each recording; `starts` in seconds."""
        names = [one.id for one in spoken]
        numbered = [replace(one, id=f"{place:06d}") for place, one in enumerate(spoken)]
        with self._lock:
            found = self._members.predict(numbered)
        parts = zip(names, numbered, starts, warned, strict=True)
        return [self._result(found, b, *part) for b, part in enumerate(parts)]

    def _result(
        self,
        found: Predictions,
        b: int,
        name: str,
        one: Spoken,
        start: float,
        warnings: tuple[str, ...],
    ) -> Result:
        end = start + len(one.wave_n) / RATE
        problems = [f"no {feature}: {what}" for feature, what in one.problems.items()]
        if self._members.features <= set(one.problems):
            return Result(name, start, end, error="; ".join(problems))
        posterior_c = found.posteriors[b]
        attributes = dict(zip(ATTRIBUTES, found.attributes[b].tolist(), strict=True))
        return Result(
            name,
            start,
            end,
            label=self.classes[int(posterior_c.argmax())],
            probabilities=dict(zip(self.classes, posterior_c.tolist(), strict=True)),
            attributes=attributes if self._members.rated else {},
            transcript=one.transcript,
            warnings=(*warnings, *problems),
        )


def _failed(sound: Any, error: MedusaError) -> Result:
    name = str(sound) if isinstance(sound, (str, Path)) else type(sound).__name__
    return Result(name, 0.0, 0.0, error=error.what)
