"""Frames in 8 bits: their error, and stores of them."""

import numpy as np
import pytest

from medusa_jax.config.features import LogMelConfig
from medusa_jax.errors import StoreError
from medusa_jax.features.extract import extract
from medusa_jax.store.int8 import quantise


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 300.0, 6e4])
@pytest.mark.parametrize("frames", [1, 7, 200])
def test_int8_is_within_half_a_step_of_each_feature(size, frames):
    x_td = np.random.default_rng(frames).standard_normal((frames, 16)) * np.geomspace(1e-3, 1, 16)
    x_td = (x_td / np.abs(x_td).max() * size).astype(np.float32)
    coded = quantise(x_td)
    exact = coded.codes_td * coded.scale_d.astype(np.float64)
    half = np.abs(x_td).max(axis=0) / 127 / 2
    assert (np.abs(exact - x_td) <= half * (1 + 1e-5)).all()
    rounding = np.maximum(np.abs(exact) * 2**-11, 2**-25)
    assert (np.abs(coded.decoded() - exact) <= rounding * (1 + 1e-3)).all()
    assert coded.decoded().dtype == np.float16
    if frames == 200 and size == 1:
        assert np.abs(exact - x_td).max() > half.max() / 2, (
            "a bound that is never neared shows nothing"
        )


def test_int8_of_zeros_and_of_the_smallest_numbers_is_finite():
    x_td = np.zeros((3, 4), np.float32)
    x_td[:, 1], x_td[0, 2] = 65504.0, np.finfo(np.float32).smallest_subnormal
    decoded = quantise(x_td).decoded()
    assert np.isfinite(decoded).all()
    assert (decoded[:, 1] == 65504).all()
    assert not decoded[:, [0, 2, 3]].any()


def test_a_store_in_int8_gives_float16_near_the_original(corpus, made, tmp_path):
    store = extract(corpus, LogMelConfig(dtype="int8"), tmp_path / "int8", shard_rows=3)
    assert (store.plan.dtype, store.dtype) == ("int8", "float16")
    for id in made.ids:
        x_td, bound = made[id], np.abs(made[id]).max(axis=0) / 254 + np.abs(made[id]) * 2**-10
        assert store[id].dtype == np.float16
        assert (np.abs(store[id] - x_td) <= bound).all()
    half = extract(corpus, LogMelConfig(dtype="int8"), tmp_path / "other shards", shard_rows=10)
    assert all(np.array_equal(store[id], half[id]) for id in store.ids), (
        "no number depends on its neighbours"
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_frames_as_stored_decode_to_the_frames(corpus, tmp_path, dtype):
    store = extract(corpus, LogMelConfig(dtype=dtype), tmp_path, shard_rows=4)
    for id, length in zip(store.ids, store.lengths, strict=True):
        stored_td, scale_d = store.stored(id)
        assert stored_td.shape == (length, store.width)
        assert stored_td.dtype == np.dtype(dtype)
        assert not stored_td.flags.writeable
        if scale_d is None:
            assert np.array_equal(stored_td, store.frames(id))
        else:
            assert (scale_d.shape, scale_d.dtype) == ((store.width,), np.float32)
            decoded_td = (stored_td.astype(np.float32) * scale_d).astype(np.float16)
            assert np.array_equal(decoded_td, store.frames(id))
        assert (scale_d is not None) == (dtype == "int8")


def test_stored_frames_of_an_unknown_utterance_are_refused(made):
    with pytest.raises(StoreError, match="has no features"):
        made.stored("utterance-004.wav")
