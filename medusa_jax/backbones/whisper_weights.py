"""Load Whisper with its published weights."""

from pathlib import Path

import numpy as np
from flax import nnx

from medusa_jax.backbones.weights import Rule, as_is, fill, read_tensors, rules_of, turned
from medusa_jax.backbones.whisper import WhisperEncoder, Window
from medusa_jax.backbones.whisper_config import read_config
from medusa_jax.backbones.whisper_decoder import Whisper

_Path = tuple[str | int, ...]
_HEADS = r"(proj_out|projector|classifier|layer_weights)(\..*)?"
_PROJECTIONS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}


def load_encoder(folder: Path, window: Window = "full") -> WhisperEncoder:
    """The encoder of a folder with config.json and safetensors.

    Raises `FeatureError` for options that are not ported, and for weights of another model.
    """
    model = WhisperEncoder(read_config(folder), window, rngs=nnx.Rngs(0))
    fill_encoder(model, folder)
    return model


def fill_encoder(model: WhisperEncoder, folder: Path) -> None:
    """Give an encoder the weights of its folder. Raises `FeatureError` for those of another."""
    rules = encoder_rules(())
    fill(model, rules, _tensors(folder), folder, unused=rf"decoder\..*|{_HEADS}")


def load_whisper(folder: Path) -> Whisper:
    """Encoder and decoder of a folder with config.json and safetensors.

    Raises `FeatureError` for options that are not ported, and for weights of another model.
    """
    model = Whisper(read_config(folder), rngs=nnx.Rngs(0))
    rules = encoder_rules(("encoder",)) + decoder_rules(("decoder",))
    fill(model, rules, _tensors(folder), folder, unused=_HEADS)
    return model


def encoder_rules(path: _Path) -> list[Rule]:
    """The map of an encoder at `path`, from keys without the model's prefix."""
    found = [Rule("encoder.embed_positions.weight", (*path, "positions"))]
    for conv in ("conv1", "conv2"):
        found += rules_of(f"encoder.{conv}", (*path, conv), turned)
    found += rules_of("encoder.layer_norm", (*path, "norm"), as_is)
    return found + _layer_rules("encoder.layers.#", (*path, "layers"), stacked=True)


def decoder_rules(path: _Path) -> list[Rule]:
    """The map of a decoder at `path`, from keys without the model's prefix."""
    found = [
        Rule("decoder.embed_tokens.weight", (*path, "words")),
        Rule("decoder.embed_positions.weight", (*path, "positions")),
    ]
    found += rules_of("decoder.layer_norm", (*path, "norm"), as_is)
    layer, own = "decoder.layers.#", (*path, "layers", "#")
    found += _layer_rules(layer, own, stacked=False)
    found += rules_of(f"{layer}.encoder_attn_layer_norm", (*own, "cross_norm"), as_is)
    return found + _attention_rules(f"{layer}.encoder_attn", (*own, "cross"), stacked=False)


def _layer_rules(layer: str, path: _Path, stacked: bool) -> list[Rule]:
    """Those that layers of encoder and decoder share."""
    found = rules_of(f"{layer}.self_attn_layer_norm", (*path, "norm"), as_is, stacked)
    found += _attention_rules(f"{layer}.self_attn", (*path, "attention"), stacked)
    found += rules_of(f"{layer}.final_layer_norm", (*path, "feed", "norm"), as_is, stacked)
    found += rules_of(f"{layer}.fc1", (*path, "feed", "wide"), turned, stacked)
    return found + rules_of(f"{layer}.fc2", (*path, "feed", "narrow"), turned, stacked)


def _attention_rules(module: str, path: _Path, stacked: bool) -> list[Rule]:
    found = []
    for key, name in _PROJECTIONS.items():
        found += rules_of(f"{module}.{key}", (*path, name), turned, stacked)
    return found


def _tensors(folder: Path) -> dict[str, np.ndarray]:
    """The tensors by their keys without the prefix of a model with a head."""
    return {key.removeprefix("model."): tensor for key, tensor in read_tensors(folder).items()}
