"""Audio files → mono float32 waveforms, and a typed error for every file that is not good speech."""

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from medusa_jax.errors import AudioError

RATE = 16_000


def load_audio(path: Path, rate: int = RATE) -> np.ndarray:
    """Decode `path`, mix to mono, resample to `rate`: `[sample]`, float32, full scale ±1.

    Raises `AudioError` for a file that is missing, not audio, empty, or holds NaN or infinity.
    """
    if not path.is_file():
        raise AudioError("audio file not found", where=path, mend="check the corpus folder, or leave the utterance out")
    try:
        _refuse_truncated(path)
        wave_tn, source_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"not readable as audio: {error}", where=path, mend="convert it again from its source (16 kHz mono WAV is best)") from error
    if wave_tn.shape[0] == 0:
        raise AudioError("the audio file holds no samples", where=path)
    if not np.isfinite(wave_tn).all():
        raise AudioError("the audio holds NaN or infinite samples", where=path)
    wave_t = wave_tn.mean(axis=1)
    if source_rate != rate:
        wave_t = soxr.resample(wave_t, source_rate, rate, quality="HQ")
        if len(wave_t) == 0:
            raise AudioError(f"the audio is too short to resample from {source_rate} Hz to {rate} Hz", where=path)
    return np.ascontiguousarray(wave_t, dtype=np.float32)


def seconds_of(path: Path) -> float:
    """Length in seconds from the file's header. Raises `AudioError` if there is no readable header."""
    try:
        _refuse_truncated(path)
        return float(soundfile.info(path).duration)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"not readable as audio: {error}", where=path) from error


def _refuse_truncated(path: Path) -> None:
    """libsndfile reads a WAV file that was cut short as a shorter one, without a word: compare its own size with what it promises."""
    with open(path, "rb") as file:
        head = file.read(8)
        size = file.seek(0, os.SEEK_END)
    promised = 8 + int.from_bytes(head[4:], "little")
    # Programs that write into a pipe do not know the size and promise 0 or nearly 2 or 4 GiB.
    if head[:4] == b"RIFF" and 8 < promised < 0x7FFFF000 and size < promised - 1:
        raise AudioError(f"truncated: {size} bytes of {promised}", where=path, mend="copy it again from its source")
