"""Audio files → mono float32 waveforms.

A file that cannot be read is an `AudioError`; a file of doubtful quality has warnings.
"""

from collections import deque
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
"""Maximum seconds of audio in a file: 1.8 GB of waveform."""
RATES = range(4_000, 768_001)
"""Plausible sampling rates in Hz; others are taken for a damaged header."""
MISSING, LOST = 0.1, 0.5
"""Seconds missing at the end of an MP3 above which there is a warning, and an error.

The header of an MP3 only estimates its length.
"""

_BLOCK = 1 << 19  # samples of all channels decoded at a time
_CONVERT = "convert it again from its source (16 kHz mono WAV is best)"


@dataclass(frozen=True)
class Sound:
    """A decoded file: `wave_n`, mono float32, full scale ±1; warnings as in docs/corpus.md."""

    wave_n: np.ndarray
    warnings: tuple[str, ...]


def read_audio(path: Path, rate: int = RATE) -> Sound:
    """Decode `path`, average its channels, resample to `rate`.

    If the channels cancel each other, the loudest is used alone. Decoding needs memory for the
    resampled waveform twice and half a million samples of the original, however long the file.
    Raises `AudioError` for a file that is missing, not audio, empty, truncated, longer than
    `LONGEST`, or that contains NaN or infinity.
    """
    with _opened(path) as file:
        wave_n, level = _mixed(file, path, rate, None)
        if level.cancels:
            file.seek(0)
            wave_n, _ = _mixed(file, path, rate, level.loudest)
        missing = _missing(file, level, path)
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
    """Length in seconds from the header. Raises `AudioError` if the header is implausible."""
    with _opened(path) as file:
        return float(file.frames / file.samplerate)


def audio_pieces(path: Path, rate: int = RATE) -> Iterator[np.ndarray]:
    """The waveform of `read_audio` in pieces `[sample]`, in memory that does not grow with it.

    A file whose channels cancel each other is read twice, as there. A truncated file is an error
    once all of it was read.
    """
    with _opened(path) as file:
        channel, level = None, Level(file.channels, file.subtype)
        if file.channels > 1:
            deque(_pieces(file, path, file.samplerate, None, level), maxlen=0)
            channel = level.loudest if level.cancels else None
            file.seek(0)
            level = Level(file.channels, file.subtype)
        yield from _pieces(file, path, rate, channel, level)
        _missing(file, level, path)


def _missing(file: soundfile.SoundFile, level: Level, path: Path) -> float:
    """Seconds missing at the end of a file that was read. Raises `AudioError` for too many."""
    missing = float((file.frames - level.frames) / file.samplerate)
    if missing > (LOST if file.format == "MP3" else 0):
        raise AudioError(
            f"truncated: {level.frames} samples of {file.frames}", where=path, hint=_CONVERT
        )
    return missing


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """The open file, its header checked. Errors of the decoder become an `AudioError` too."""
    if path.is_dir():
        raise AudioError("a folder, not an audio file", where=path, hint="check the corpus folder")
    if not path.is_file():
        raise AudioError(
            "audio file not found",
            where=path,
            hint="check the corpus folder, or remove the utterance",
        )
    try:
        refuse_truncated(path)
        with soundfile.SoundFile(path) as file:
            _check_header(file, path)
            yield file
    # TypeError: soundfile reads a file named .raw as one without a header.
    except (soundfile.LibsndfileError, RuntimeError, OSError, TypeError) as error:
        raise AudioError(f"not readable as audio: {error}", where=path, hint=_CONVERT) from error


def _check_header(file: soundfile.SoundFile, path: Path) -> None:
    if file.samplerate not in RATES:
        raise AudioError(
            f"implausible sampling rate in the header: {file.samplerate} Hz",
            where=path,
            hint=_CONVERT,
        )
    if file.frames == 0:
        raise AudioError("the audio file contains no samples", where=path)
    if file.frames == np.iinfo(np.int64).max:
        raise AudioError(
            "the header does not give the length of the audio", where=path, hint=_CONVERT
        )
    if file.frames > LONGEST * file.samplerate:
        hours = file.frames / file.samplerate / 3600
        what = f"{hours:.1f} hours of audio in one file, more than {LONGEST / 3600:g}"
        raise AudioError(what, where=path, hint="cut it into utterances")


def _mixed(
    file: soundfile.SoundFile, path: Path, rate: int, channel: int | None
) -> tuple[np.ndarray, Level]:
    """One channel, or the mean of all, at `rate`, decoded in blocks; and the level of the file."""
    level = Level(file.channels, file.subtype)
    parts = list(_pieces(file, path, rate, channel, level))
    return parts[0] if len(parts) == 1 else np.concatenate(parts), level


def _pieces(
    file: soundfile.SoundFile, path: Path, rate: int, channel: int | None, level: Level
) -> Iterator[np.ndarray]:
    """The same in pieces; `level` grows with them."""
    resampler = resampling(file.samplerate, rate)
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
            raise AudioError("the audio contains NaN or infinite samples", where=path)
        yield mono_n if resampler is None else resampler.resample_chunk(mono_n)
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def resampling(source: int, rate: int = RATE) -> soxr.ResampleStream | None:
    """What resamples a mono stream from `source` Hz; None if there is nothing to do."""
    return (
        None
        if source == rate
        else soxr.ResampleStream(source, rate, 1, dtype="float32", quality="HQ")
    )
