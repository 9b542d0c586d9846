"""Audio files of known content."""

import numpy as np
import soundfile

from medusa_jax.audio.decode import RATE


def tone(rate, seconds=0.5, pitch=440.0):
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate)


def write(path, wave, rate=RATE, **options):
    soundfile.write(path, wave, rate, **options)
    return path
