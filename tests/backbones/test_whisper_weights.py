"""Whisper's weights and options that do not fit, or are not ported: all in one error."""

import json

import numpy as np
import pytest

from medusa_jax.backbones.whisper_config import read_config
from medusa_jax.backbones.whisper_weights import load_encoder
from medusa_jax.errors import FeatureError

torch = pytest.importorskip("torch")
from model_files import copied, reset, rewrite, same  # noqa: E402
from small_whisper_encoders import save_encoder  # noqa: E402


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_encoder("80 bands", folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to change."""
    return copied(saved, tmp_path)


def test_every_fault_is_named_in_one_error(folder):
    def change(tensors):
        del tensors["encoder.layers.1.self_attn.q_proj.weight"]
        del tensors["encoder.conv2.bias"]
        tensors["encoder.layers.0.fc1.bias"] = np.zeros(3, np.float32)
        tensors["encoder.layers.0.self_attn.k_proj.bias"] = np.zeros(32, np.float32)
        return tensors

    rewrite(folder, change)
    with pytest.raises(FeatureError) as caught:
        load_encoder(folder)
    for word in ("query.kernel", "conv2.bias", "wide.bias", "key.bias"):
        assert word in caught.value.what


def test_a_model_with_a_head_gives_its_encoder(saved, folder):
    def change(tensors):
        named = {f"model.{key}": value for key, value in tensors.items()}
        return {**named, "proj_out.weight": tensors["decoder.embed_tokens.weight"]}

    rewrite(folder, change)
    assert same(load_encoder(folder), load_encoder(saved))


@pytest.mark.parametrize(
    ("name", "settings", "word"),
    [
        ("config.json", {"activation_function": "relu"}, "'relu'"),
        ("config.json", {"model_type": "moonshine"}, "'moonshine'"),
        ("config.json", {"num_mel_bins": 128}, "feature_size"),
        ("config.json", {"max_source_positions": 100}, "chunk_length"),
        ("preprocessor_config.json", {"n_fft": 512}, "n_fft 512"),
        ("preprocessor_config.json", {"hop_length": 80}, "hop_length 80"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, "sampling_rate 8000"),
        ("preprocessor_config.json", {"dither": 0.1}, "dither"),
    ],
)
def test_options_that_are_not_ported_are_refused_by_name(folder, name, settings, word):
    reset(folder, name, **settings)
    with pytest.raises(FeatureError, match="not ported") as caught:
        read_config(folder)
    assert word in caught.value.what


@pytest.mark.parametrize("text", ["", "{", json.dumps({"model_type": "whisper"})])
def test_a_config_that_cannot_be_used(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(FeatureError, match=r"config\.json"):
        read_config(folder)


def test_a_processors_file_is_read_too(folder):
    file = folder / "preprocessor_config.json"
    processor = {"feature_extractor": json.loads(file.read_text()) | {"n_fft": 512}}
    file.unlink()
    read_config(folder)
    (folder / "processor_config.json").write_text(json.dumps(processor))
    with pytest.raises(FeatureError, match="n_fft"):
        read_config(folder)
