"""A trained system that hears: recordings in, emotions out.

Legend: `n` sample, `b` recording of a call, `m` member.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.batches.examples import Examples
from medusa_jax.config.ensemble import WEIGHTED
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import ATTRIBUTES, OTHER, Corpus
from medusa_jax.ensemble.ensemble_folder import Ensemble, load_ensemble
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.variants import SOUP
from medusa_jax.errors import CheckpointError, ConfigError, MedusaError
from medusa_jax.inference.features import FeatureMaker, Listener, Spoken
from medusa_jax.inference.result import Result, Results
from medusa_jax.inference.sounds import as_source, files_in, mono, pieces, resampled, waveform
from medusa_jax.inference.system import System, features_of, open_system
from medusa_jax.inference.windows import Window, Windows
from medusa_jax.machines.mesh import devices_of
from medusa_jax.store.memory import MemoryStore
from medusa_jax.tasks.registry import data_of, examples_of, reading_of, task_of
from medusa_jax.training.member_folder import MemberFolder
from medusa_jax.training.prediction import Trained, predict_all

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
        self._ensemble, self.use = _chosen(system, use)
        ids = (self.use,) if self._ensemble is None else self._ensemble.record.members
        self._configs = tuple(one for one in system.config.members if one.id in ids)
        folders = [MemberFolder(system.member(one.id)) for one in self._configs]
        self._records = [folder.record() for folder in folders]
        config = system.config
        features = features_of(config, self._configs)
        extractors: dict[str, Any] = {}
        for record in self._records:
            extractors |= record["extractors"]
        self._makers = {
            name: FeatureMaker(name, feature, extractors[name]["identity"])
            for name, feature in features.items()
        }
        heard = any(maker.reads == "text" for maker in self._makers.values())
        self._listener = _listener(config.transcription) if heard else None
        self.classes: tuple[str, ...] = tuple(self._records[0]["classes"])
        self._targets: tuple[str, ...] = tuple(self._records[0]["targets"])
        self._rated = any(one.training.attribute_loss > 0 for one in self._configs)
        blank = [Spoken("blank", np.zeros(RATE, np.float32), "")]
        self._trained = [
            folder.load(task) for folder, task in zip(folders, self._tasks(blank), strict=True)
        ]

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
            found = self._predictions(numbered)
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
        if set(self._makers) <= set(one.problems):
            return Result(name, start, end, error="; ".join(problems))
        posterior_c = found.posteriors[b]
        attributes = dict(zip(ATTRIBUTES, found.attributes[b].tolist(), strict=True))
        return Result(
            name,
            start,
            end,
            label=self.classes[int(posterior_c.argmax())],
            probabilities=dict(zip(self.classes, posterior_c.tolist(), strict=True)),
            attributes=attributes if self._rated else {},
            transcript=one.transcript,
            warnings=(*warnings, *problems),
        )

    def _predictions(self, spoken: Sequence[Spoken]) -> Predictions:
        """Of the members, combined."""
        found: dict[str, Predictions] = {}
        ids = tuple(one.id for one in spoken)
        rows, stores = np.arange(len(spoken)), self._stores(spoken)
        for some, data in self._datasets(spoken, stores):
            tasks = [self._task(m, data) for m in some]
            trained = [
                Trained(task, self._trained[m].weights) for m, task in zip(some, tasks, strict=True)
            ]
            outputs = predict_all(trained, data, data.units(rows), devices_of(1))
            for m, output in zip(some, outputs, strict=True):
                own = data.by_utterance(output, rows)
                logits = own["logits"][:, : len(self.classes)]
                name = self._configs[m].id
                found[name] = Predictions(ids, self.classes, logits, own["attributes"])
        if self._ensemble is None:
            return found[self.use]
        return self._ensemble.combine(self.use, found)

    def _stores(self, spoken: Sequence[Spoken]) -> dict[str, MemoryStore]:
        if self._listener is not None:
            self._listener.hear(spoken)
        return {name: maker.store(spoken) for name, maker in self._makers.items()}

    def _tasks(self, spoken: Sequence[Spoken]) -> list[Any]:
        """A task for each member, whatever the recordings."""
        found: dict[int, Any] = {}
        blank = {name: maker.blank(spoken) for name, maker in self._makers.items()}
        for some, data in self._datasets(spoken, blank):
            found |= {m: self._task(m, data) for m in some}
        return [found[m] for m in range(len(self._configs))]

    def _task(self, m: int, data: Any) -> Any:
        return task_of(self._configs[m], data, self._records[m]["extractors"], 0)

    def _datasets(
        self, spoken: Sequence[Spoken], stores: Mapping[str, MemoryStore]
    ) -> list[tuple[list[int], Any]]:
        """The recordings as members read them, with the places of those that read alike."""
        corpus = self._corpus(spoken)
        widths = {name: store.width for name, store in stores.items()}
        groups: dict[Any, list[int]] = {}
        for m, config in enumerate(self._configs):
            groups.setdefault(reading_of(config, widths), []).append(m)
        nothing, found = np.empty(0, int), []
        for reading, some in groups.items():
            names = list(stores)
            own = examples_of(corpus, names, stores, reading).on_grid()
            whole = None
            if reading.whole:
                uncut = examples_of(corpus, names, stores, reading._replace(crops=()))
                assert isinstance(uncut, Examples), "dialogues are never cropped"
                whole = uncut.on_grid()
            data = data_of(self._configs[some[0]], own, nothing, nothing, 0, whole)
            found.append((some, data))
        return found

    def _corpus(self, spoken: Sequence[Spoken]) -> Corpus:
        """A table of the recordings, without labels."""
        count = len(spoken)
        nothing: list[None] = [None] * count
        plain: dict[str, Any] = {
            "id": [one.id for one in spoken],
            "audio": [""] * count,
            "split": ["test1"] * count,
            "speaker": [one.speaker for one in spoken],
            "gender": nothing,
            "consensus": nothing,
            "transcript": [one.transcript for one in spoken],
            "dialogue": [one.dialogue or one.id for one in spoken],
            "turn": list(range(count)),
        }
        votes = np.zeros((count, len(self.classes) + 1), int)
        variant = "with_other" if OTHER in self._targets else "primary"
        frame = assemble(plain, votes, votes, self.classes, variant)
        return Corpus(frame, self.classes, Path("nowhere"), "new", variant)


def _chosen(system: System, use: str | None) -> tuple[Ensemble | None, str]:
    """The ensemble with the name of one of its systems, or None with a member's id.

    Raises `ConfigError` for an unknown name, `CheckpointError` if there is no ensemble, or it is
    of other members.
    """
    ids = [member.id for member in system.config.members]
    if use in ids:
        return None, use
    if not system.combined:
        if use is None and len(ids) == 1:
            return None, ids[0]
        raise CheckpointError(
            "the members were never combined",
            where=system.ensemble,
            hint=f"run `medusa ensemble`, or choose a member: {', '.join(ids)}",
        )
    ensemble = load_ensemble(system.ensemble)
    record = ensemble.record
    use = use or (WEIGHTED if record.kind == "weighted" else SOUP)
    if use not in record.systems:
        raise ConfigError(
            f"there is no system or member {use!r}",
            where=system.ensemble,
            hint=f"choose one of {', '.join((*record.systems, *ids))}",
        )
    for name, digest in zip(record.members, record.member_digests, strict=True):
        if digest not in (None, MemberFolder(system.member(name)).record()["weights"]):
            raise CheckpointError(
                f"member {name} is not the one that was combined",
                where=system.member(name),
                hint="run `medusa ensemble` again, and export the system again",
            )
    return ensemble, use


def _listener(config: TranscriptionConfig | None) -> Listener | None:
    """The run's speech recognition; None where its words came with the corpus."""
    return None if config is None or config.backend == "corpus" else Listener(config)


def _failed(sound: Any, error: MedusaError) -> Result:
    name = str(sound) if isinstance(sound, (str, Path)) else type(sound).__name__
    return Result(name, 0.0, 0.0, error=error.what)
