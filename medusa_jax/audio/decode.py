"""Audio files → mono float32 waveforms; a typed error for what is not speech that can be read, a warning for what a reader should know."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from medusa_jax.audio.container import refuse_truncated
from medusa_jax.audio.quality import Level
from medusa_jax.errors import AudioError

RATE = 16_000
LONGEST = 8 * 3600.0
"""Seconds of audio in a file, at most: 1.8 GB of waveform."""
RATES = range(4_000, 768_001)
"""Sampling rates at which speech is recorded; others are mistakes in a header."""
MISSING, LOST = 0.1, 0.5
"""Seconds that may be missing at the end of an MP3 file without a warning, and without an error: its header only estimates the length."""

_BLOCK = 1 << 19  # samples of all channels decoded at a time
_CONVERT = "convert it again from its source (16 kHz mono WAV is best)"


@dataclass(frozen=True)
class Sound:
    """A decoded file: `wave_n`, mono float32, full scale ±1; and its warnings, short fixed words (see docs/corpus.md)."""

    wave_n: np.ndarray
    warnings: tuple[str, ...]


def read_audio(path: Path, rate: int = RATE) -> Sound:
    """Decode `path`, average its channels, resample to `rate`.

    Channels that cancel each other are not averaged: the loudest alone is taken. Decoding holds the resampled waveform twice
    and half a million samples of the original, however long the file. Raises `AudioError` for a file that is missing, not
    audio, empty, truncated, longer than `LONGEST`, or that holds NaN or infinity.
    """
    with _opened(path) as file:
        wave_n, level = _mixed(file, path, rate, None)
        if level.cancels:
            file.seek(0)
            wave_n, _ = _mixed(file, path, rate, level.loudest)
        missing = (file.frames - level.frames) / file.samplerate
        if missing > (LOST if file.format == "MP3" else 0):
            raise AudioError(
                f"truncated: {level.frames} samples of {file.frames}", where=path, hint=_CONVERT
            )
        if len(wave_n) == 0:
            raise AudioError(
                f"the audio is too short to resample from {file.samplerate} Hz to {rate} Hz",
                where=path,
            )
        warnings = level.warnings(wave_n, rate, file.samplerate)
    return Sound(wave_n, (*warnings, "incomplete") if missing > MISSING else warnings)


def load_audio(path: Path, rate: int = RATE) -> np.ndarray:
    """The waveform of `read_audio`, `[sample]`, float32."""
    return read_audio(path, rate).wave_n


def seconds_of(path: Path) -> float:
    """Length in seconds from the file's header. Raises `AudioError` where there is none that can be believed."""
    with _opened(path) as file:
        return float(file.frames / file.samplerate)


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """The file, open, its header believable. Whatever the decoder then says of its content is an `AudioError` too."""
    if path.is_dir():
        raise AudioError("a folder, not an audio file", where=path, hint="check the corpus folder")
    if not path.is_file():
        raise AudioError(
            "audio file not found",
            where=path,
            hint="check the corpus folder, or leave the utterance out",
        )
    try:
        refuse_truncated(path)
        with soundfile.SoundFile(path) as file:
            _check_header(file, path)
            yield file
    # TypeError: soundfile takes a file called .raw for one without a header.
    except (soundfile.LibsndfileError, RuntimeError, OSError, TypeError) as error:
        raise AudioError(f"not readable as audio: {error}", where=path, hint=_CONVERT) from error


def _check_header(file: soundfile.SoundFile, path: Path) -> None:
    if file.samplerate not in RATES:
        raise AudioError(
            f"the header says {file.samplerate} Hz, which no speech is recorded at",
            where=path,
            hint=_CONVERT,
        )
    if file.frames == 0:
        raise AudioError("the audio file holds no samples", where=path)
    if file.frames == np.iinfo(np.int64).max:
        raise AudioError("the header does not say how long the audio is", where=path, hint=_CONVERT)
    if file.frames > LONGEST * file.samplerate:
        what = f"{file.frames / file.samplerate / 3600:.1f} hours of audio in one file, {LONGEST / 3600:g} are the most"
        raise AudioError(what, where=path, hint="cut it into utterances")


def _mixed(
    file: soundfile.SoundFile, path: Path, rate: int, channel: int | None
) -> tuple[np.ndarray, Level]:
    """One channel, or the mean of all, at `rate`, decoded block by block; and the level of what was decoded."""
    level, parts = Level(file.channels, file.subtype), []
    resampler = (
        None
        if file.samplerate == rate
        else soxr.ResampleStream(file.samplerate, rate, 1, dtype="float32", quality="HQ")
    )
    while level.frames < file.frames:
        block_nc = file.read(
            max(1, min(_BLOCK // file.channels, file.frames - level.frames)),
            dtype="float32",
            always_2d=True,
        )
        if len(block_nc) == 0:
            break
        mono_n = (
            block_nc.mean(axis=1) if channel is None else np.ascontiguousarray(block_nc[:, channel])
        )
        level.add(block_nc, mono_n)
        if not np.isfinite(level.peak):
            raise AudioError("the audio holds NaN or infinite samples", where=path)
        parts.append(mono_n if resampler is None else resampler.resample_chunk(mono_n))
    if resampler is not None:
        parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return parts[0] if len(parts) == 1 else np.concatenate(parts), level
