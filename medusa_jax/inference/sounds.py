"""Audio in any form that a caller has it: files, folders, arrays, bytes, file objects."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from medusa_jax.audio.decode import RATE, RATES, audio_pieces, read_audio, resampling
from medusa_jax.audio.quality import Level
from medusa_jax.errors import AudioError

SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf")
)
"""Of the audio files of a folder."""
_BLOCK = 1 << 20


class Array(NamedTuple):
    """Samples `[n]` or `[n, channel]` at `rate` Hz, full scale ±1 or integers."""

    samples: np.ndarray
    rate: int


Source = Path | Array
"""A recording: an audio file, or samples."""


@contextmanager
def as_source(sound: Any, rate: int | None) -> Iterator[tuple[Source, str]]:
    """A path, bytes, file object or array as a source, and its name. Raises `AudioError` for
    anything else.
    """
    if isinstance(sound, (str, os.PathLike)):
        yield Path(sound), str(sound)
    elif isinstance(sound, (bytes, bytearray, memoryview)):
        with _copied(BytesIO(sound)) as path:
            yield path, "bytes"
    elif hasattr(sound, "read"):
        with _copied(sound) as path:
            yield path, str(getattr(sound, "name", "file"))
    elif hasattr(sound, "__array__"):
        yield _array(np.asarray(sound), rate), "array"
    else:
        raise AudioError(
            f"no audio: {type(sound).__name__}",
            hint="give a path, bytes, an open file, or an array with its rate",
        )


def files_in(folder: Path) -> list[Path]:
    """The audio files below a folder, in order. Raises `AudioError` if there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        known = ", ".join(sorted(SUFFIXES))
        raise AudioError("no audio files here", where=folder, hint=f"named {known}")
    return found


def waveform(source: Source) -> tuple[np.ndarray, tuple[str, ...]]:
    """Samples `[n]` at 16 kHz, and warnings as in docs/corpus.md. Raises `AudioError`."""
    if isinstance(source, Path):
        sound = read_audio(source)
        return sound.wave_n, sound.warnings
    parts = list(pieces(source))
    wave_n = np.concatenate(parts)
    level = Level(1, "FLOAT")
    level.add(wave_n[:, None], wave_n)
    return wave_n, level.warnings(wave_n, RATE, source.rate)


def pieces(source: Source) -> Iterator[np.ndarray]:
    """The samples of `waveform` in pieces, in bounded memory beside the source's own."""
    if isinstance(source, Path):
        yield from audio_pieces(source)
        return
    yield from resampled(iter((source.samples,)), source.rate)


def resampled(chunks: Iterator[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Mono chunks at `rate` Hz as chunks at 16 kHz; the resampler keeps some 10 ms back. Raises
    `AudioError` for another rate than 4 to 768 kHz.
    """
    if rate not in RATES:
        raise AudioError(f"implausible sampling rate: {rate} Hz", hint="give the array's own rate")
    resampler = resampling(int(rate))
    for chunk_n in chunks:
        if resampler is None:
            yield chunk_n
            continue
        for start in range(0, len(chunk_n), _BLOCK):
            yield resampler.resample_chunk(np.ascontiguousarray(chunk_n[start : start + _BLOCK]))
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def mono(samples: np.ndarray) -> np.ndarray:
    """Samples `[n]` or `[n, channel]` as float32 `[n]`, integers by their full scale.

    Raises `AudioError` for other shapes, more than 64 channels, or numbers that are not finite.
    """
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > 64):
        raise AudioError(
            f"an array of shape {samples.shape} is not [sample] or [sample, channel]",
            hint="transpose it if channels come first",
        )
    if samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / (np.iinfo(samples.dtype).max + 1)
    if samples.dtype.kind != "f":
        raise AudioError(f"samples of type {samples.dtype}", hint="give float32 or int16")
    if not np.isfinite(samples).all():
        raise AudioError("the audio contains NaN or infinite samples")
    return np.ascontiguousarray(samples.mean(axis=1) if samples.ndim == 2 else samples, np.float32)


def _array(samples: np.ndarray, rate: int | None) -> Array:
    if rate is None:
        raise AudioError("an array without its sampling rate", hint="give rate=16000")
    found = mono(samples)
    if not len(found):
        raise AudioError("the array has no samples")
    return Array(found, rate)


@contextmanager
def _copied(file: IO[bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound"
        with open(path, "wb") as copy:
            while block := file.read(1 << 20):
                if not isinstance(block, bytes):
                    raise AudioError("the file is open as text", hint='open it with "rb"')
                copy.write(block)
        yield path
