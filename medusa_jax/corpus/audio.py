"""Audio files → mono float32 waveforms, and a typed error for every file that is not good speech."""

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
        return float(soundfile.info(path).duration)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"not readable as audio: {error}", where=path) from error
