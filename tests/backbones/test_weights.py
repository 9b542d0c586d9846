"""Published weights that do not fit, or are not ported: everything that is wrong in one error."""

import json

import numpy as np
import pytest

from medusa_jax.backbones.speech_config import read_config
from medusa_jax.backbones.speech_weights import load_speech
from medusa_jax.errors import FeatureError

torch = pytest.importorskip("torch")
from model_files import copied, reset, rewrite, same  # noqa: E402
from small_models import save_model  # noqa: E402


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_model("wavlm-base", tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to change."""
    return copied(saved, tmp_path)


def test_every_fault_is_named_in_one_error(folder):
    def change(tensors):
        del tensors["encoder.layers.1.attention.q_proj.weight"]
        del tensors["encoder.layer_norm.bias"]
        tensors["encoder.layers.0.feed_forward.output_dense.bias"] = np.zeros(3, np.float32)
        tensors["encoder.surprise"] = np.zeros(1, np.float32)

    rewrite(folder, change)
    with pytest.raises(FeatureError) as caught:
        load_speech(folder)
    for word in ("query.kernel", "norm.bias", "narrow.bias", "encoder.surprise"):
        assert word in caught.value.what


def test_a_model_with_a_head_gives_its_encoder(saved, folder):
    def change(tensors):
        headed = {f"wavlm.{key}": value for key, value in tensors.items()}
        return {**headed, "lm_head.weight": np.zeros((4, 4), np.float32)}

    rewrite(folder, change)
    assert same(load_speech(folder), load_speech(saved))


def test_weight_norm_is_read_by_its_older_names(saved, folder):
    def change(tensors):
        names = {"parametrizations.weight.original0": "weight_g"}
        names["parametrizations.weight.original1"] = "weight_v"
        for new, old in names.items():
            key = f"encoder.pos_conv_embed.conv.{new}"
            if key in tensors:
                tensors[f"encoder.pos_conv_embed.conv.{old}"] = tensors.pop(key)

    rewrite(folder, change)
    assert same(load_speech(folder), load_speech(saved))


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_damaged_weights(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(FeatureError, match="damaged"):
        load_speech(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(FeatureError, match="no safetensors"):
        load_speech(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("conv_pos_batch_norm", True),
        ("add_adapter", True),
        ("hidden_act", "relu"),
        ("feat_extract_norm", "batch"),
        ("model_type", "wav2vec2-conformer"),
    ],
)
def test_options_that_are_not_ported_are_refused_by_name(folder, key, value):
    reset(folder, **{key: value})
    with pytest.raises(FeatureError) as caught:
        read_config(folder)
    assert (str(value) if isinstance(value, str) else key) in caught.value.what


@pytest.mark.parametrize("text", ["", "{", json.dumps({"model_type": "hubert"})])
def test_a_config_that_cannot_be_used(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(FeatureError, match=r"config\.json"):
        read_config(folder)
