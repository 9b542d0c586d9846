"""Acoustic measurements of speech: pitch, syllabic rhythm, and statistics of a whole utterance."""

import numpy as np


def pitch_of(wave_n: np.ndarray) -> np.ndarray:
    """F0 in Hz of the clearly voiced frames, by autocorrelation."""
    frames_tn = np.lib.stride_tricks.sliding_window_view(wave_n, 640)[::160] * np.hanning(640)
    auto_tl = np.fft.irfft(np.abs(np.fft.rfft(frames_tn, 2048)) ** 2)[:, :320]
    lag_t = auto_tl[:, 40:].argmax(axis=1) + 40
    energy_t = auto_tl[:, 0]
    clear_t = (auto_tl[np.arange(len(lag_t)), lag_t] > 0.45 * energy_t) & (
        energy_t > np.quantile(energy_t, 0.5)
    )
    return 16_000 / lag_t[clear_t]


def rhythm_of(wave_n: np.ndarray) -> float:
    """Centre of the energy envelope's modulation spectrum between 1.5 and 12 Hz."""
    envelope_t = np.log(
        np.lib.stride_tricks.sliding_window_view(wave_n**2, 400)[::160].mean(axis=1) + 1e-6
    )
    power_f = (
        np.abs(np.fft.rfft((envelope_t - envelope_t.mean()) * np.hanning(len(envelope_t)), 1024))
        ** 2
    )
    hz_f = np.fft.rfftfreq(1024, 0.01)
    band = (hz_f > 1.5) & (hz_f < 12)
    return float(np.average(hz_f[band], weights=power_f[band]))


def statistics_of(wave_n: np.ndarray) -> np.ndarray:
    """Statistics of 24 log-mel bands over the louder frames, of pitch, and the length.

    Bands: mean, spread and movement. Pitch: mean, spread, quantiles, end and movement.
    """
    power_tf = (
        np.abs(
            np.fft.rfft(
                np.lib.stride_tricks.sliding_window_view(wave_n, 400)[::160] * np.hanning(400), 512
            )
        )
        ** 2
    )
    hz_f = np.fft.rfftfreq(512, 1 / 16_000)
    edges = 700 * (10 ** (np.linspace(90, 2800, 26) / 2595) - 1)
    bands_mf = np.array([np.interp(hz_f, edges[i : i + 3], [0, 1, 0]) for i in range(24)])
    logmel_tm = np.log(power_tf @ bands_mf.T + 1e-8)
    loud_t = logmel_tm.mean(axis=1) > np.quantile(logmel_tm.mean(axis=1), 0.4)
    pitch_t = 12 * np.log2(pitch_of(wave_n) / 100)
    pitch_t = pitch_t if len(pitch_t) > 5 else np.zeros(6)
    ending = pitch_t[-len(pitch_t) // 6 :].mean() - pitch_t.mean()
    pitch = [
        pitch_t.mean(),
        pitch_t.std(),
        *np.quantile(pitch_t, [0.1, 0.5, 0.9]),
        ending,
        np.abs(np.diff(pitch_t)).mean(),
    ]
    spectrum = [
        logmel_tm[loud_t].mean(axis=0),
        logmel_tm[loud_t].std(axis=0),
        np.abs(np.diff(logmel_tm, axis=0)).mean(axis=0),
    ]
    return np.concatenate([*spectrum, pitch, [len(wave_n) / 16_000]])
