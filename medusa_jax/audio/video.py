"""The sound of a video file, by ffmpeg."""

import shutil
import subprocess
from pathlib import Path

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.errors import AudioError, DependencyError

_LONGEST = 600.0
"""Seconds after which ffmpeg is taken to hang."""


def require_ffmpeg(what: str, hint: str) -> None:
    """Raise `DependencyError`, with `what` it is needed for, unless ffmpeg is on PATH."""
    if shutil.which("ffmpeg") is None:
        raise DependencyError(
            f"ffmpeg is not on PATH, and {what}", hint=f"install ffmpeg, or {hint}"
        )


def sound_of_video(path: Path) -> np.ndarray:
    """The first audio track of `path`, mono at 16 kHz, `[sample]` int16.

    Channels are mixed and resampled by ffmpeg, which opens nothing but this file. Raises
    `AudioError` for a video that is damaged or silent for lack of an audio track.
    """
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-err_detect", "explode"]
    command += ["-protocol_whitelist", "file,pipe", "-i", f"file:{path}", "-map", "0:a:0"]
    command += ["-ac", "1", "-ar", str(RATE), "-f", "s16le", "pipe:1"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_LONGEST, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AudioError(f"ffmpeg did not read the video: {error}", where=path) from error
    if done.returncode or not done.stdout:
        messages = done.stderr.decode(errors="replace").strip().splitlines()
        reason = messages[0] if messages else "no sound"
        raise AudioError(f"ffmpeg cannot read the video: {reason}", where=path)
    return np.frombuffer(done.stdout, "<i2")
