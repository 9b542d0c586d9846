"""Load Whisper with its published weights."""

from pathlib import Path

import numpy as np
from flax import nnx

from medusa_jax.backbones.weights import Rule, as_is, fill, read_tensors, rules_of, turned
from medusa_jax.backbones.whisper import WhisperEncoder, Window
from medusa_jax.backbones.whisper_config import read_config

_HEADS = r"|(proj_out|projector|classifier|layer_weights)(\..*)?"
_DECODER = r"decoder\..*"
_PROJECTIONS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}


def encoder_rules() -> list[Rule]:
    """The map of an encoder, from keys without the model's prefix."""
    found = [Rule("encoder.embed_positions.weight", ("positions",))]
    for conv in ("conv1", "conv2"):
        found += rules_of(f"encoder.{conv}", (conv,), turned)
    found += rules_of("encoder.layer_norm", ("norm",), as_is)
    layer, path = "encoder.layers.#", ("layers",)
    found += rules_of(f"{layer}.self_attn_layer_norm", (*path, "norm"), as_is, stacked=True)
    for key, name in _PROJECTIONS.items():
        own = (*path, "attention", name)
        found += rules_of(f"{layer}.self_attn.{key}", own, turned, stacked=True)
    return found + _feed_rules(layer, (*path, "feed"), stacked=True)


def _feed_rules(layer: str, path: tuple[str | int, ...], stacked: bool) -> list[Rule]:
    found = rules_of(f"{layer}.final_layer_norm", (*path, "norm"), as_is, stacked)
    found += rules_of(f"{layer}.fc1", (*path, "wide"), turned, stacked)
    return found + rules_of(f"{layer}.fc2", (*path, "narrow"), turned, stacked)


def load_encoder(folder: Path, window: Window = "full") -> WhisperEncoder:
    """The encoder of a folder with config.json and safetensors.

    Raises `FeatureError` for options that are not ported, and for weights of another model.
    """
    model = WhisperEncoder(read_config(folder), window, rngs=nnx.Rngs(0))
    fill_encoder(model, folder)
    return model


def fill_encoder(model: WhisperEncoder, folder: Path) -> None:
    """Give an encoder the weights of its folder. Raises `FeatureError` for those of another."""
    fill(model, encoder_rules(), _tensors(folder), folder, unused=_DECODER + _HEADS)


def _tensors(folder: Path) -> dict[str, np.ndarray]:
    """The tensors by their keys without the prefix of a model with a head."""
    return {key.removeprefix("model."): tensor for key, tensor in read_tensors(folder).items()}
