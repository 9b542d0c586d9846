"""Features of new recordings, kept in memory and rounded as a run's stores are.

Legend: `t` frame, `d` feature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from medusa_jax.config.features import ExtractorConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.errors import CheckpointError, MedusaError
from medusa_jax.features.extractor import Extractor
from medusa_jax.features.registry import build_extractor
from medusa_jax.store.ledger import Failure, Plan
from medusa_jax.store.memory import MemoryStore
from medusa_jax.store.shard import Clip, as_stored

_ELSEWHERE = {"revision"}
"""Of an extractor's identity: named otherwise where the model was copied."""


@dataclass
class Spoken:
    """A recording, or a window of one: samples `[n]` at 16 kHz, and its words, if they are known.

    `dialogue` and `speaker` matter to members that read conversations. `problems`: by feature, why
    it could not be made.
    """

    id: str
    wave_n: np.ndarray
    transcript: str | None = None
    dialogue: str | None = None
    speaker: str | None = None
    problems: dict[str, str] = field(default_factory=dict)


class FeatureMaker:
    """One extractor, loaded once."""

    def __init__(self, name: str, config: ExtractorConfig, trained_with: object) -> None:
        self.name, self.config = name, config
        self.extractor: Extractor = build_extractor(config)
        self._identity = self.extractor.identity()
        self._refuse_another(trained_with)

    @property
    def reads(self) -> str:
        """`audio` or `text`."""
        return self.extractor.reads

    def _refuse_another(self, trained_with: object) -> None:
        """Raise `CheckpointError` naming what differs from the extractor of the training."""
        if not isinstance(trained_with, Mapping):
            return
        now = self._identity
        other = [key for key in trained_with.keys() | now.keys() if key not in _ELSEWHERE]
        other = sorted(
            key for key in other if _plain(trained_with.get(key)) != _plain(now.get(key))
        )
        if other:
            raise CheckpointError(
                f"the features {self.name!r} differ from those of the training in "
                f"{', '.join(other)}",
                where=f"features.{self.name}",
                hint="use the same model files: export the system --with-backbones",
            )

    def blank(self, spoken: Sequence[Spoken]) -> MemoryStore:
        """A store of one frame of zeros each."""
        frame_1d = np.zeros((1, self.extractor.width), np.float32)
        clips = [as_stored(one.id, frame_1d, self.config.dtype) for one in spoken]
        return MemoryStore(self._plan(len(spoken)), clips)

    def store(self, spoken: Sequence[Spoken]) -> MemoryStore:
        """Frames of each recording; what fails is noted in its `problems`."""
        clips, failed = [], []
        for one, found in zip(spoken, self._made(spoken), strict=True):
            if isinstance(found, Clip):
                clips.append(found)
                continue
            what = found.what if isinstance(found, MedusaError) else str(found)
            one.problems[self.name] = what
            name = type(found).__name__
            failed.append(Failure(id=one.id, audio=one.id, error=name, message=what))
        return MemoryStore(self._plan(len(spoken)), clips, failed)

    def _plan(self, count: int) -> Plan:
        return Plan(
            extractor=self._identity,
            corpus="new",
            inputs="",
            width=self.extractor.width,
            dtype=self.config.dtype,
            utterances=count,
            shard_rows=count,
        )

    def _made(self, spoken: Sequence[Spoken]) -> list[Clip | Exception]:
        text = self.reads == "text"
        inputs = [one.transcript if text else one.wave_n for one in spoken]
        known = [place for place, value in enumerate(inputs) if value is not None]
        lacking = MedusaError(f"the recording has no {'transcript' if text else 'audio'}")
        found: list[Clip | Exception] = [lacking] * len(spoken)
        frames = called(self.extractor, [inputs[place] for place in known])
        for place, value in zip(known, frames, strict=True):
            found[place] = (
                value if isinstance(value, Exception) else self._clip(spoken[place].id, value)
            )
        return found

    def _clip(self, id: str, frames_td: np.ndarray) -> Clip | Exception:
        if not np.isfinite(frames_td).all():
            return MedusaError("the extractor gave NaN or infinity")
        return as_stored(id, frames_td, self.config.dtype)


def called(extractor: Extractor, inputs: Sequence[object]) -> list[np.ndarray | Exception]:
    """The extractor's output of each input, or its error."""
    if not inputs:
        return []
    if not extractor.parallel:
        try:
            return list(extractor(inputs))
        except MedusaError:
            if len(inputs) == 1:
                raise
    found: list[np.ndarray | Exception] = []
    for one in inputs:
        try:
            found += extractor([one])
        except MedusaError as error:
            found.append(error)
    return found


class Listener:
    """The run's speech recognition."""

    def __init__(self, config: TranscriptionConfig) -> None:
        self.extractor = build_extractor(config)

    def hear(self, spoken: Sequence[Spoken]) -> None:
        """Give each recording without words its transcript."""
        silent = [one for one in spoken if one.transcript is None]
        found = called(self.extractor, [one.wave_n for one in silent])
        for one, words in zip(silent, found, strict=True):
            if isinstance(words, Exception):
                one.problems["transcript"] = str(words)
            else:
                one.transcript = words.tobytes().decode().removesuffix("\n")


def _plain(value: object) -> object:
    """In JSON's types."""
    return list(value) if isinstance(value, tuple) else value
