"""Log-mel energies in JAX against transformers' feature extractor."""

import jax
import numpy as np
import pytest
import transformers

from medusa_jax.audio.decode import RATE
from medusa_jax.backbones.mel import log_mel, mel_filters

WINDOW = 2 * RATE
compiled = jax.jit(log_mel, static_argnums=1, static_argnames="reflect")


def feeder(bands):
    return transformers.WhisperFeatureExtractor(bands, chunk_length=WINDOW // RATE)


def theirs(wave_n, bands):
    """Energies `[t, d]` of a wave that is padded with silence to the window."""
    made = feeder(bands)(wave_n, sampling_rate=RATE, return_tensors="np")
    return made["input_features"][0].T


def ours(wave_n, bands, samples=WINDOW):
    wave_n = np.pad(wave_n, (0, samples - len(wave_n)))
    return np.asarray(compiled(wave_n[None], bands, reflect=samples == WINDOW)[0])


def speechlike(samples, seed=0):
    """Harmonics under a slow envelope, with faint noise: energies of many powers of ten."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(samples) / RATE
    tones = [np.sin(2 * np.pi * 140 * k * seconds) / k**2 for k in range(1, 30)]
    envelope = np.exp(-4 * np.abs(np.sin(3 * seconds)))
    noise = 1e-4 * rng.standard_normal(samples)
    return np.float32(0.1 * sum(tones) * envelope + noise)


@pytest.mark.parametrize("bands", [80, 128])
def test_filters(bands):
    np.testing.assert_allclose(mel_filters(bands), feeder(bands).mel_filters, atol=1e-8)


@pytest.mark.parametrize("bands", [80, 128])
@pytest.mark.parametrize("samples", [WINDOW, WINDOW - 17, 20_123, 400, 7])
def test_energies(bands, samples):
    for wave_n in (speechlike(samples), np.float32(np.random.default_rng(1).normal(size=samples))):
        found, wanted = ours(wave_n, bands), theirs(wave_n, bands)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_silence():
    np.testing.assert_array_equal(ours(np.zeros(1000, np.float32), 80), -1.5)


def test_energies_do_not_depend_on_the_padding():
    wave_n = speechlike(9_700)
    whole = ours(wave_n, 80)
    for samples in (9_760, 16_000):
        part = ours(wave_n, 80, samples)
        assert len(part) == samples // 160
        np.testing.assert_allclose(part, whole[: len(part)], atol=1e-5)


def test_each_wave_has_its_own_loudest_band():
    loud, faint = speechlike(8_000), 1e-3 * speechlike(8_000, seed=1)
    both = compiled(np.stack([loud, faint]), 80, reflect=False)
    np.testing.assert_allclose(both[1], ours(faint, 80, 8_000), atol=1e-5)
    assert np.abs(np.asarray(both[1]) - np.maximum(both[1], both[0].max() - 2)).max() > 0.1
