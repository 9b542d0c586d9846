"""config.json of text encoders: options that are not ported are named, all of them in one error."""

import json

import pytest

from medusa_jax.backbones.text_config import BertConfig, ModernBertConfig, read_text_config
from medusa_jax.errors import FeatureError

SHAPE = dict(
    vocab_size=120,
    hidden_size=32,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=37,
    max_position_embeddings=64,
)


@pytest.fixture
def read(tmp_path):
    """Reads the configuration of a model of some settings."""

    def read(kind, **settings):
        text = json.dumps({**SHAPE, "model_type": kind, **settings})
        (tmp_path / "config.json").write_text(text)
        return read_text_config(tmp_path)

    return read


@pytest.mark.parametrize(("kind", "filler", "longest"), [("bert", 0, 64), ("roberta", 1, 62)])
def test_defaults_are_transformers(read, kind, filler, longest):
    config = read(kind)
    assert isinstance(config, BertConfig)
    assert (config.epsilon, config.types, config.filler) == (1e-12, 2, filler)
    assert config.longest == longest


def test_modernbert_in_its_older_form(read):
    """As the published files have it, and with a layer in two that sees all."""
    config = read("modernbert", position_embedding_type="absolute")
    assert isinstance(config, ModernBertConfig)
    assert config.everywhere == (True, False, False, True)
    assert (config.reach, config.bases, config.longest) == (64, (160_000.0, 10_000.0), 64)
    settings = {"global_attn_every_n_layers": 2, "local_attention": 9}
    config = read("modernbert", **settings, global_rope_theta=5.0, local_rope_theta=3.0)
    assert config.everywhere == (True, False, True, False)
    assert (config.reach, config.bases) == (4, (5.0, 3.0))


SCALED = {"full_attention": {"rope_type": "yarn", "rope_theta": 5.0}}


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("bert", {"hidden_act": "relu", "is_decoder": True}, ["relu", "is_decoder"]),
        ("bert", {"position_embedding_type": "relative_key"}, ["relative_key"]),
        ("roberta", {"add_cross_attention": True}, ["add_cross_attention"]),
        ("roberta", {"pruned_heads": {"1": [2]}}, ["pruned_heads"]),
        (
            "modernbert",
            {"hidden_activation": "silu", "rope_scaling": {"factor": 2}},
            ["silu", "sc"],
        ),
        ("modernbert", {"rope_parameters": SCALED}, ["yarn", "rope_parameters.full_attention"]),
        ("modernbert", {"layer_types": ["chunked_attention"] * 4}, ["chunked_attention"]),
        ("wavlm", {}, ["'wavlm'"]),
        ("distilbert", {}, ["'distilbert'"]),
        (None, {}, ["None"]),
    ],
)
def test_options_that_are_not_ported_are_refused_by_name(read, kind, settings, words):
    with pytest.raises(FeatureError, match="not ported") as caught:
        read(kind, **settings)
    assert all(word in caught.value.what for word in words)


@pytest.mark.parametrize(
    ("kind", "settings", "word"),
    [
        ("bert", {"hidden_size": "wide"}, "wide"),
        ("bert", {"num_attention_heads": 5}, "num_attention_heads"),
        ("roberta", {"pad_token_id": None}, "used"),
        ("modernbert", {"layer_types": ["full_attention"]}, "layer_types"),
        ("modernbert", {"local_rope_theta": None}, "used"),
    ],
)
def test_settings_that_cannot_be_used(read, kind, settings, word):
    with pytest.raises(FeatureError, match=r"config\.json") as caught:
        read(kind, **settings)
    assert word in caught.value.what


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"model_type": "bert"})])
def test_a_file_that_cannot_be_used(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(FeatureError, match=r"config\.json"):
        read_text_config(tmp_path)
