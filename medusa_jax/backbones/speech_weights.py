"""Load wav2vec 2.0, HuBERT and WavLM with their published weights."""

from pathlib import Path

import numpy as np
from flax import nnx

from medusa_jax.backbones.speech_config import FAMILIES, SpeechConfig, read_config
from medusa_jax.backbones.wav2vec2 import SpeechBackbone
from medusa_jax.backbones.weights import Rule, as_is, fill, flat, read_tensors, rules_of, turned

UNUSED = r"(lm_head|quantizer|project_q|project_hid|projector|classifier)\..*"
_LAYER = "encoder.layers.#"
_POSITIONS = "encoder.pos_conv_embed.conv"


def rules(config: SpeechConfig) -> list[Rule]:
    """The map of a whole model, from keys without the model's prefix."""
    conv = "feature_extractor.conv_layers.#"
    stack = ("convolutions", "stack", "#")
    found = rules_of(f"{conv}.conv", (*stack, "conv"), turned)
    found += rules_of(f"{conv}.layer_norm", (*stack, "norm"), as_is)
    found += rules_of("feature_projection.layer_norm", ("projection", "norm"), as_is)
    found += rules_of("feature_projection.projection", ("projection", "linear"), turned)
    found += rules_of("encoder.layer_norm", ("norm",), as_is)
    found += [
        Rule("masked_spec_embed", ("masked",)),
        Rule(f"{_POSITIONS}.bias", ("positions", "bias")),
        Rule(f"{_POSITIONS}.weight_v", ("positions", "v"), turned),
        Rule(f"{_POSITIONS}.weight_g", ("positions", "g"), flat),
        Rule(f"{_POSITIONS}.parametrizations.weight.original1", ("positions", "v"), turned),
        Rule(f"{_POSITIONS}.parametrizations.weight.original0", ("positions", "g"), flat),
    ]
    return found + _layer_rules() + (_wavlm_rules() if config.buckets else [])


def _layer_rules() -> list[Rule]:
    projections = {"q": "query", "k": "key", "v": "value", "out": "out"}
    found = []
    for key, name in projections.items():
        path = ("layers", "attention", name)
        found += rules_of(f"{_LAYER}.attention.{key}_proj", path, turned, stacked=True)
    fed = {"intermediate_dense": "wide", "output_dense": "narrow"}
    for key, name in fed.items():
        found += rules_of(f"{_LAYER}.feed_forward.{key}", ("layers", name), turned, stacked=True)
    norms = {"layer_norm": "norm1", "final_layer_norm": "norm2"}
    for key, name in norms.items():
        found += rules_of(f"{_LAYER}.{key}", ("layers", name), as_is, stacked=True)
    return found


def _wavlm_rules() -> list[Rule]:
    gate = ("layers", "attention", "gate")
    found = rules_of(
        f"{_LAYER}.attention.gru_rel_pos_linear", (*gate, "project"), turned, stacked=True
    )
    return [
        *found,
        Rule(f"{_LAYER}.attention.gru_rel_pos_const", (*gate, "constant"), flat, stacked=True),
        Rule("encoder.layers.0.attention.rel_attn_embed.weight", ("bias", "table")),
    ]


def load_speech(folder: Path) -> SpeechBackbone:
    """The model of a folder with config.json and safetensors.

    Raises `FeatureError` for options that are not ported, and for weights of another model.
    """
    model = SpeechBackbone(read_config(folder), rngs=nnx.Rngs(0))
    fill_speech(model, folder)
    return model


def fill_speech(model: SpeechBackbone, folder: Path) -> None:
    """Give a model the weights of its folder. Raises `FeatureError` for those of another."""
    tensors = {_bare(key): tensor for key, tensor in read_tensors(folder).items()}
    # models that were never trained with masked time lack its vector
    tensors.setdefault("masked_spec_embed", np.asarray(model.masked[...]))
    fill(model, rules(model.config), tensors, folder, unused=UNUSED)


def _bare(key: str) -> str:
    """A key without the prefix that models with a head give their encoder."""
    prefix, _, rest = key.partition(".")
    return rest if prefix in FAMILIES else key
