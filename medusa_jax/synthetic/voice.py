"""Source–filter speech synthesiser: words → phones → frames of control values → waveform at 16 kHz.

The source is a train of glottal pulses (derivative of Rosenberg's flow) with jitter, shimmer,
tremor and breath noise. Four moving formants filter it in the short-time spectrum, so no loop
runs over samples or frames. Spelling is read naively: enough for the syllables, formants and
pauses of speech, not for intelligible words.

Legend: `t` frame of 5 ms, `n` sample, `f` frequency bin, `k` formant.
"""

import re
from typing import NamedTuple

import numpy as np
from scipy import fft
from scipy.ndimage import convolve1d

from medusa_jax.audio.decode import RATE
from medusa_jax.synthetic.prosody import Voice

_HOP, _WINDOW, _FFT = 80, 320, 512
_FRAME = _HOP / RATE
_SHORTEST, _LONGEST = 1.5, 5.8
_LETTERS = {
    "ee": "I", "ea": "I", "oo": "U", "ew": "U", "ue": "U", "ou": "W", "ow": "W", "ai": "Y",
    "ay": "Y", "oa": "O", "er": "R", "ir": "R", "ur": "R",
    "sh": "S", "ch": "tS", "th": "T", "ng": "n", "ck": "k", "ph": "f", "qu": "kw", "wh": "w",
    "kn": "n", "wr": "r",
    "x": "ks", "c": "k", "j": "dS", "q": "k", "y": "i",
}  # fmt: skip
_SPELLING = re.compile("|".join(_LETTERS))
_VOWELS = {  # F1, F2, F3 in Hz of adult men (Peterson & Barney 1952; diphthongs: their middle)
    "I": (270, 2290, 3010), "i": (390, 1990, 2550), "e": (530, 1840, 2480),
    "a": (660, 1720, 2410), "o": (730, 1090, 2440), "O": (570, 840, 2410),
    "u": (640, 1190, 2390), "U": (300, 870, 2240), "R": (490, 1350, 1690), "Y": (450, 2050, 2600),
    "W": (680, 1150, 2400),
}  # fmt: skip
_CONSONANTS = {  # seconds, voicing, noise, its centre in Hz, F1, F2, F3 (0: the neighbours')
    "m": (0.065, 0.35, 0.0, 1000, 250, 1200, 2300), "n": (0.06, 0.35, 0.0, 1000, 250, 1700, 2600),
    "l": (0.06, 0.6, 0.0, 1000, 360, 1300, 2800),
    "r": (0.06, 0.6, 0.0, 1000, 400, 1200, 1600), "w": (0.06, 0.55, 0.0, 1000, 300, 700, 2200),
    "s": (0.10, 0.0, 0.30, 6200, 0, 0, 0), "z": (0.08, 0.2, 0.18, 6000, 0, 0, 0),
    "S": (0.10, 0.0, 0.35, 3400, 0, 0, 0),
    "f": (0.08, 0.0, 0.12, 5000, 0, 0, 0),
    "v": (0.06, 0.3, 0.06, 5000, 0, 0, 0), "T": (0.07, 0.05, 0.10, 5600, 0, 0, 0),
    "h": (0.06, 0.03, 0.18, 1800, 0, 0, 0),
    "p": (0.07, 0.0, 0.0, 1000, 0, 0, 0), "t": (0.065, 0.0, 0.0, 4500, 0, 0, 0),
    "k": (0.07, 0.0, 0.0, 2200, 0, 0, 0),
    "b": (0.06, 0.08, 0.0, 900, 0, 0, 0), "d": (0.055, 0.08, 0.0, 4000, 0, 0, 0),
    "g": (0.06, 0.08, 0.0, 2000, 0, 0, 0),
}  # fmt: skip
_BURST = {"p": 0.35, "t": 0.45, "k": 0.4, "b": 0.15, "d": 0.2, "g": 0.2}
_PAUSE = (0.0, 0.0, 1000.0, 0.0, 0.0, 0.0, 0.0)
_HZ = fft.rfftfreq(_FFT, 1 / RATE).astype(np.float32)
_HANN = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)


class _Controls(NamedTuple):
    """Control values of the synthesiser: `[t]` each, formants `[t, 4]` in Hz of an adult man."""

    voicing_t: np.ndarray
    noise_t: np.ndarray
    centre_t: np.ndarray
    formants_tk: np.ndarray
    accent_t: np.ndarray


def speak(
    text: str, voice: Voice, prosody: dict[str, float], rng: np.random.Generator
) -> np.ndarray:
    """Speech for `text` over a random channel: float32 `[n]` at 16 kHz, peak below 1, 1.5 to 6 s.

    `prosody` has a number for each of `medusa_jax.synthetic.prosody.FIELDS`.
    """
    controls = _controls(text, prosody, rng)
    samples = len(controls.voicing_t) * _HOP
    pulses_n, open_n = _glottis(_pitch(controls.accent_t, voice, prosody, rng), prosody, rng)
    hiss_n = rng.standard_normal(samples).astype(np.float32)
    gain_n = _by_sample(controls.voicing_t).astype(np.float32)
    source_n = gain_n * (pulses_n + prosody["breath"] * open_n * hiss_n)
    tract_tf = _tract(controls.formants_tk * voice.tract * np.exp(prosody["smile"])) * _tilt(
        prosody["tilt"]
    )
    centre_t1 = controls.centre_t[:, None]
    friction_tf = controls.noise_t[:, None] * np.exp(
        -0.5 * ((_HZ - centre_t1) / (600 + 0.15 * centre_t1)) ** 2
    )
    wave_n = _filter(source_n, tract_tf) + _filter(hiss_n[::-1], friction_tf)
    return _channel(wave_n, prosody["loudness"], rng)


def _by_sample(values_t: np.ndarray) -> np.ndarray:
    return np.interp(np.arange(len(values_t) * _HOP), np.arange(len(values_t)) * _HOP, values_t)


def _phones(text: str) -> list[str]:
    """Phones of `text`; a comma is a pause, `'` marks the vowel of a stressed syllable."""
    phones: list[str] = []
    for word in re.findall(r"[a-z]+|,", text.lower()):
        if len(word) > 3 and word.endswith("e") and word[-2] not in "aeiou":
            word = word[:-1]
        sounds = _SPELLING.sub(
            lambda match: _LETTERS[match[0]],
            re.sub(r"([a-z])\1", lambda m: m[0] if m[0] in ("ee", "oo") else m[1], word),
        )
        first = next((i for i, sound in enumerate(sounds) if sound in _VOWELS), -1)
        phones += [
            sound + "'" if i == first and len(sounds) > 2 else sound
            for i, sound in enumerate(sounds)
        ]
    return phones


def _gestures(
    phones: list[str], pauses: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of voicing, noise, its centre in Hz, F1–F3 and accent; and seconds at normal tempo."""
    rows: list[tuple[float, ...]] = [_PAUSE]
    seconds = [rng.uniform(0.08, 0.25)]
    for phone in phones:
        sound, stressed, loud = phone[0], phone.endswith("'"), rng.normal(1, 0.12)
        if sound == ",":
            rows.append(_PAUSE)
            seconds.append(0.04 + (rng.uniform(0.1, 0.4) if rng.random() < 0.3 + pauses else 0.0))
        elif sound in _VOWELS:
            rows.append(
                (
                    (1.0 if stressed else 0.7) * loud,
                    0.0,
                    1000.0,
                    *_VOWELS[sound],
                    1.0 if stressed else 0.25,
                )
            )
            seconds.append((0.125 if stressed else 0.08) * rng.normal(1, 0.12))
        else:
            length, *row = _CONSONANTS[sound]
            rows.append((*row, 0.0))
            seconds.append(length * rng.normal(1, 0.1))
            if sound in _BURST:
                rows.append((0.0, _BURST[sound] * loud, *row[2:], 0.0))
                seconds.append(0.02)
    return np.array([*rows, _PAUSE]), np.array([*seconds, rng.uniform(0.1, 0.3)])


def _controls(text: str, prosody: dict[str, float], rng: np.random.Generator) -> _Controls:
    """The gestures as steps, stretched to the tempo and smoothed as by moving articulators."""
    rows, seconds = _gestures(_phones(text), prosody["pauses"], rng)
    seconds = seconds / max(1.1 * np.exp(prosody["tempo"]), seconds.sum() / _LONGEST)
    frames = np.maximum(np.rint(seconds / _FRAME), 2).astype(int)
    frames[[0, -1]] += max(0, int(_SHORTEST / _FRAME) - int(frames.sum())) // 2 + 1
    table_t = np.repeat(_fill(rows), frames, axis=0)
    formants_tk = np.column_stack([_smooth(table_t[:, 3:6], 13), np.full(len(table_t), 3600.0)])
    return _Controls(
        _smooth(table_t[:, 0], 7),
        _smooth(table_t[:, 1], 5),
        table_t[:, 2],
        formants_tk,
        _smooth(table_t[:, 6], 25),
    )


def _fill(table: np.ndarray) -> np.ndarray:
    """Fill missing formants with those of the next phone that has its own."""
    coming = np.array([500.0, 1500.0, 2500.0])
    for row in table[::-1]:
        row[3:6] = coming = np.where(row[3:6] > 0, row[3:6], coming)
    return table


def _smooth(values: np.ndarray, frames: int) -> np.ndarray:
    window = np.hanning(frames + 2)[1:-1]
    return convolve1d(values, window / window.sum(), axis=0, mode="nearest")


def _pitch(
    accent_t: np.ndarray, voice: Voice, prosody: dict[str, float], rng: np.random.Generator
) -> np.ndarray:
    """F0 in Hz `[t]`: declination, accents, the end of the sentence, tremor and slow drift."""
    frames = len(accent_t)
    place_t = np.linspace(0, 1, frames)
    drift_t = _smooth(rng.normal(0, 1, frames), 41) * 2.5
    accents_t = (
        3.6
        * np.exp(prosody["range"])
        * (accent_t * _smooth(rng.normal(1, 1.2, frames), 61).clip(0.3, 1.8) - 0.3)
    )
    ending_t = prosody["ending"] * np.clip((place_t * frames - frames + 100) / 60, 0, 1)
    tremor_t = prosody["tremor"] * np.sin(
        2 * np.pi * (rng.uniform(5, 7) * np.arange(frames) * _FRAME + rng.random())
    )
    semitones_t = (
        prosody["pitch"]
        + accents_t
        + 1.2
        - 2.8 * np.exp(0.5 * prosody["range"]) * place_t
        + 0.4 * drift_t
        + ending_t
        + tremor_t
    )
    return np.clip(voice.pitch_hz * 2 ** (semitones_t / 12), 62, 440)


def _glottis(
    pitch_t: np.ndarray, prosody: dict[str, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Glottal pulses `[n]` and the opening of the glottis `[n]`, 0.3 to 1."""
    pitch_n = _by_sample(pitch_t)
    cycle_n = np.cumsum(pitch_n / RATE).astype(int)
    cycles = cycle_n[-1] + 2
    period = 1 + np.clip(prosody["jitter"] * rng.standard_normal(cycles), -0.2, 0.2)
    phase_n = np.cumsum(pitch_n * period[cycle_n] / RATE)
    beat_n = phase_n.astype(int)
    size = 1 + np.clip(prosody["shimmer"] * rng.standard_normal(beat_n[-1] + 1), -0.5, 0.5)
    point_n = ((phase_n - beat_n) * len(_PULSE)).astype(int)
    return (size[beat_n] * _PULSE[point_n]).astype(np.float32), _OPEN[point_n]


def _pulse_table(size: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    # Rosenberg's flow: a raised cosine up for 40 % of the period, a quarter cosine down for 16 %,
    # then closed.
    phase = np.arange(size) / size
    flow = np.where(
        phase < 0.4,
        0.5 * (1 - np.cos(np.pi * phase / 0.4)),
        np.where(phase < 0.56, np.cos(np.pi * (phase - 0.4) / 0.32), 0.0),
    )
    slope = np.diff(flow, append=0.0)
    return slope / np.abs(slope).max(), (0.3 + 0.7 * flow).astype(np.float32)


_PULSE, _OPEN = _pulse_table()


def _tract(formants_tk: np.ndarray) -> np.ndarray:
    """Frequency response `[t, f]` of the formants in cascade (Klatt 1980), complex64."""
    response_tf = np.ones((len(formants_tk), len(_HZ)), np.complex64)
    delay_f = np.exp(-2j * np.pi * _HZ / RATE).astype(np.complex64)
    for k, bandwidth in enumerate((70.0, 100.0, 150.0, 250.0)):
        radius = np.float32(np.exp(-np.pi * bandwidth / RATE))
        turn_t = (
            2 * radius * np.cos(2 * np.pi * np.minimum(formants_tk[:, k], 7000.0) / RATE)
        ).astype(np.float32)
        response_tf *= (1 - turn_t + radius**2)[:, None] / (
            1 - turn_t[:, None] * delay_f + radius**2 * delay_f**2
        )
    return response_tf


def _tilt(decibels_per_octave: float) -> np.ndarray:
    """Gain `[f]`: flat below 500 Hz, above it the slope relative to a modal voice of −6 dB."""
    octaves_f = np.log2(np.maximum(_HZ, 500.0) / 500.0)
    return (10 ** ((decibels_per_octave + 6.0) * octaves_f / 20)).astype(np.float32)


def _filter(wave_n: np.ndarray, response_tf: np.ndarray) -> np.ndarray:
    """`wave_n` filtered by the response of each frame, windowed and overlap-added."""
    frames = len(response_tf)
    padded_n = np.pad(wave_n, (_WINDOW // 2, _WINDOW))
    pieces_tn = np.lib.stride_tricks.sliding_window_view(padded_n, _WINDOW)[::_HOP][:frames] * _HANN
    filtered_tn = fft.irfft(fft.rfft(pieces_tn, _FFT) * response_tf, _FFT)
    blocks = -(-_FFT // _HOP)
    filtered_tn = np.pad(filtered_tn, ((0, 0), (0, blocks * _HOP - _FFT))).reshape(
        frames, blocks, _HOP
    )
    out_n = np.zeros((frames + blocks, _HOP), np.float32)
    for block in range(blocks):
        out_n[block : block + frames] += filtered_tn[:, block]
    return out_n.reshape(-1)[_WINDOW // 2 : _WINDOW // 2 + len(wave_n)] / 2


def _channel(wave_n: np.ndarray, loudness: float, rng: np.random.Generator) -> np.ndarray:
    """Recording: microphone gain, background noise at −60 to −42 dBFS, a soft limiter.

    Speech is near −25 dBFS.
    """
    level = 10 ** ((-25 + loudness + rng.normal(0, 3.0)) / 20)
    speech_n = wave_n * (level / (np.sqrt(np.mean(np.square(wave_n))) + 1e-9))
    spectrum_f = fft.rfft(rng.standard_normal(len(wave_n)).astype(np.float32))
    hz_f = fft.rfftfreq(len(wave_n), 1 / RATE)
    noise_n = fft.irfft(spectrum_f / (1 + hz_f / 200) ** rng.uniform(0.3, 1.0), len(wave_n))
    noise_level = 10 ** (rng.uniform(-60, -42) / 20)
    mixed_n = speech_n + noise_n * (noise_level / np.sqrt(np.mean(np.square(noise_n))))
    return (0.97 * np.tanh(mixed_n / 0.97)).astype(np.float32)
