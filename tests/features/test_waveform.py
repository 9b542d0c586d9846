"""Samples as frames of one feature."""

import numpy as np
import pytest
import soundfile
from small_corpus import RATE, small_corpus, waves

from medusa_jax.config.features import WaveformConfig
from medusa_jax.errors import AudioError
from medusa_jax.features.extract import extract
from medusa_jax.features.registry import build_extractor


def test_samples_are_kept_as_they_are():
    extractor = build_extractor(WaveformConfig())
    for frames, wave in zip(extractor(waves(3)), waves(3), strict=True):
        assert frames.dtype == np.float32
        np.testing.assert_array_equal(frames, wave[:, None])


def test_float16_keeps_eleven_bits(tmp_path):
    corpus = small_corpus(tmp_path / "corpus", 4)
    whole = extract(corpus, WaveformConfig(dtype="float32"), tmp_path / "whole")
    half = extract(corpus, WaveformConfig(), tmp_path / "half")
    for id, wave in zip(whole.ids, waves(4), strict=True):
        np.testing.assert_array_equal(whole[id][:, 0], wave)
        np.testing.assert_allclose(half[id], whole[id], rtol=2**-11, atol=2**-24)


def test_audio_shorter_than_a_frame_is_a_row_of_failures(tmp_path):
    corpus = small_corpus(tmp_path / "corpus", 4)
    for row, samples in ((1, 399), (2, 400)):
        soundfile.write(corpus.audio_path(row), np.zeros(samples), RATE, subtype="FLOAT")
    store = extract(corpus, WaveformConfig(), tmp_path / "store", max_failures=0.25)
    (failure,) = store.failed
    assert (failure.id, failure.error) == ("utterance-001.wav", "AudioError")
    assert "399 samples are too short" in failure.message
    assert store["utterance-002.wav"].shape == (400, 1)


def test_too_short_audio_raises_where_it_is_alone():
    with pytest.raises(AudioError, match="too short"):
        build_extractor(WaveformConfig())([np.zeros(399, np.float32)])
