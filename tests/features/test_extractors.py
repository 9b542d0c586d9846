"""Log-mel and openSMILE: golden numbers, independence, refused input."""

import subprocess
import sys

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from small_corpus import RATE, waves

from medusa_jax.config.features import (
    FeatureConfig,
    LogMelConfig,
    OpenSmileConfig,
)
from medusa_jax.errors import AudioError, DependencyError
from medusa_jax.features.logmel import mel_filters
from medusa_jax.features.registry import build_extractor

SMILES = [
    OpenSmileConfig(),
    OpenSmileConfig(level="functionals"),
    OpenSmileConfig(feature_set="ComParE_2016"),
    OpenSmileConfig(feature_set="ComParE_2016", level="lld_delta"),
    OpenSmileConfig(feature_set="ComParE_2016", level="functionals"),
]


def tone(hertz=440.0, seconds=0.5, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(
        np.float32
    )


def test_building_one_imports_no_heavy_package():
    code = (
        "import sys; from medusa_jax.config.features import *;"
        "from medusa_jax.features.registry import build_extractor;"
        "[build_extractor(c) for c in (LogMelConfig(), HashedTextConfig(), OpenSmileConfig())];"
        "heavy = ('torch', 'transformers', 'opensmile', 'jax', 'datasets');"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.parametrize(
    "config", [LogMelConfig(), *SMILES], ids=lambda config: build_extractor(config).name
)
def test_every_audio_extractor_keeps_the_protocol(config):
    extractor = build_extractor(config)
    extractor.prepare()
    first, second = waves(2)
    together, alone = extractor([first, second]), extractor([second])
    for frames in together:
        assert frames.shape[1] == extractor.width
        assert frames.dtype == np.float32
        assert np.isfinite(frames).all()
    assert np.array_equal(together[1], alone[0]), "an utterance must not depend on its neighbours"
    assert extractor.identity() == build_extractor(config).identity()
    assert np.isfinite(extractor([np.zeros(RATE, np.float32)])[0]).all(), "silence"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"extractor": "logmel", "bands": 4}, "greater than or equal to 8"),
        ({"extractor": "logmel", "hop_ms": 0}, "greater than or equal to 1"),
        ({"extractor": "logmel", "bnads": 64}, "Extra inputs"),
        ({"extractor": "opensmile", "level": "lld_delta"}, "no deltas for eGeMAPSv02"),
        ({"extractor": "opensmile", "feature_set": "IS09"}, "eGeMAPSv02"),
        ({"extractor": "hashed_text", "ngrams": [5, 3]}, "shortest <= longest"),
        ({"extractor": "hashed_text", "ngrams": [0, 3]}, "shortest <= longest"),
        ({"extractor": "hashed_text", "dtype": "int16"}, "float16"),
        ({"extractor": "huggingface"}, "model"),
        ({"extractor": "huggingface", "model": ""}, "at least 1 character"),
        ({"extractor": "huggingface", "model": "x", "layers": "sum_last_5"}, "sum_last_4"),
        ({"extractor": "wav2vec"}, "logmel"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(raw, words):
    with pytest.raises(ValidationError, match=words):
        TypeAdapter(FeatureConfig).validate_python(raw)


# Log-mel


def test_log_mel_golden_values():
    """Frozen: another number here means another version of every stored log-mel feature set."""
    frames = build_extractor(LogMelConfig(bands=8))([tone()])[0]
    assert frames.shape == (48, 8)
    np.testing.assert_allclose(
        frames[0],
        [7.48683, 8.01155, -4.52432, -11.02621, -14.57417, -17.40844, -19.90415, -22.0729],
        atol=2e-4,
    )
    np.testing.assert_allclose(frames.mean(), -8.69117, atol=2e-4)


@pytest.mark.parametrize("bands", [8, 40, 64])
def test_log_mel_agrees_with_transformers(bands):
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    filters = mel_filter_bank(257, bands, 20.0, 8000.0, RATE, norm=None, mel_scale="htk")
    np.testing.assert_allclose(mel_filters(bands, 512), filters, atol=1e-9)
    wave, hann = waves(1)[0], window_function(400, "hann")
    expected = spectrogram(
        wave,
        hann,
        400,
        160,
        512,
        power=2.0,
        center=False,
        mel_filters=filters,
        mel_floor=1e-10,
        log_mel="log",
    ).T
    np.testing.assert_allclose(
        build_extractor(LogMelConfig(bands=bands))([wave])[0], expected, atol=1e-3
    )


@pytest.mark.parametrize(("bands", "size"), [(64, 512), (128, 1024), (256, 2048)])
def test_no_mel_band_is_empty(bands, size):
    assert build_extractor(LogMelConfig(bands=bands))._size == size
    assert mel_filters(bands, size).max(axis=0).min() > 0.3


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(1, 1), (399, 1), (400, 1), (559, 1), (560, 2), (16_000, 98), (16_000 * 45, 4498)],
)
def test_log_mel_frames_are_those_that_fit(samples, frames):
    noise = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    assert build_extractor(LogMelConfig())([noise])[0].shape == (frames, 64)


def test_a_log_mel_frame_depends_on_its_window_alone():
    """Equal audio gives an equal frame, bit for bit, also in the later chunks of long audio."""
    noise = np.random.default_rng(0).standard_normal(16_000 * 45).astype(np.float32)
    extractor = build_extractor(LogMelConfig())
    whole = extractor([noise])[0]
    for frame in (0, 1, 4095, 4096, 4497):
        assert np.array_equal(
            extractor([noise[frame * 160 : frame * 160 + 400]])[0][0], whole[frame]
        )


def test_loudness_is_kept():
    """No normalisation per utterance: ten times the amplitude adds 2·ln 10 to every frame."""
    quiet, loud = build_extractor(LogMelConfig())([tone(amplitude=0.05), tone(amplitude=0.5)])
    loudest = quiet.argmax(axis=1)
    rows = np.arange(len(quiet))
    np.testing.assert_allclose((loud - quiet)[rows, loudest], 2 * np.log(10), atol=1e-3)


# openSMILE


@pytest.mark.parametrize(
    ("config", "width"), list(zip(SMILES, [25, 88, 65, 130, 6373], strict=True))
)
def test_opensmile_gives_what_the_package_gives(config, width):
    opensmile = pytest.importorskip("opensmile")
    wave = waves(1)[0]
    frames = build_extractor(config)([wave])[0]
    levels = {
        "lld": "LowLevelDescriptors",
        "lld_delta": "LowLevelDescriptors",
        "functionals": "Functionals",
    }
    smile = opensmile.Smile(
        opensmile.FeatureSet[config.feature_set], opensmile.FeatureLevel[levels[config.level]]
    )
    expected = smile.process_signal(wave, RATE).to_numpy()
    assert frames.shape[1] == width
    assert np.array_equal(frames[:, : expected.shape[1]], expected)
    assert (len(frames) == 1) == (config.level == "functionals")


def test_deltas_are_the_slopes_of_the_descriptors_beside_them():
    """Slope of ComParE: (2·(x[t+2] − x[t−2]) + (x[t+1] − x[t−1])) / 10."""
    frames = build_extractor(OpenSmileConfig(feature_set="ComParE_2016", level="lld_delta"))(
        [waves(1)[0]]
    )[0]
    loudness, slope = frames[:, 4].astype(np.float64), frames[:, 65 + 4]
    expected = (2 * (loudness[4:] - loudness[:-4]) + (loudness[3:-1] - loudness[1:-3])) / 10
    np.testing.assert_allclose(slope[2:-2], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_full_scale_samples_do_not_turn_their_sign():
    """openSMILE's cast to 16 bits wraps +1.0 to −1.0; full scale must match less."""
    extractor = build_extractor(OpenSmileConfig(level="functionals"))
    full, below = extractor([tone(amplitude=1.0), tone(amplitude=0.999)])
    np.testing.assert_allclose(full, below, rtol=0.05, atol=0.05)


def test_opensmile_refuses_what_is_too_short():
    extractor = build_extractor(OpenSmileConfig())
    with pytest.raises(AudioError, match="too short"):
        extractor([np.zeros(959, np.float32)])
    assert len(extractor([np.zeros(960, np.float32)])[0]) >= 1


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(DependencyError) as caught:
        build_extractor(OpenSmileConfig()).prepare()
    assert "medusa-jax[opensmile]" in str(caught.value)


def test_functionals_of_parts_are_those_of_overlapping_slices():
    wave_n = np.random.default_rng(5).normal(0, 0.1, 32_000).astype(np.float32)
    whole, parts = (build_extractor(OpenSmileConfig(level="functionals", parts=n)) for n in (1, 3))
    (frames_td,) = parts([wave_n])
    assert frames_td.shape == (3, 88)
    # 0.4 of the utterance each, a quarter of that in common
    slices = [wave_n[start : start + 12_800] for start in (0, 9_600, 19_200)]
    np.testing.assert_array_equal(frames_td, np.concatenate(whole(slices)))
    (shortest,) = parts([wave_n[:960]])
    np.testing.assert_array_equal(shortest[0], shortest[2])
    assert parts.name != whole.name


def test_parts_are_for_functionals():
    with pytest.raises(ValueError, match="parts requires the level functionals"):
        OpenSmileConfig(level="lld", parts=2)
