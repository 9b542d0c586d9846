"""Shape of a wav2vec 2.0, HuBERT or WavLM model, from the config.json of its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medusa_jax.audio.decode import RATE
from medusa_jax.backbones.config_file import read_ported
from medusa_jax.backbones.noise import Rates
from medusa_jax.errors import FeatureError
from medusa_jax.hub.model_folder import read_settings

FAMILIES = ("wav2vec2", "hubert", "wavlm")
_REFUSED = {
    "conv_pos_batch_norm": "a batch norm before the positional convolution",
    "add_adapter": "an adapter behind the encoder",
    "adapter_attn_dim": "attention adapters",
}
_GELU = ("hidden_act", "feat_extract_activation")


@dataclass(frozen=True)
class SpeechConfig:
    """What the modules need to know; names as in config.json where they say enough.

    `grouped` models norm the first convolution over time, others every convolution over its
    channels. `stable` models norm before attention and feed-forward, others behind them. `rates`
    are of the noise in training.
    """

    conv_dim: tuple[int, ...]
    conv_kernel: tuple[int, ...]
    conv_stride: tuple[int, ...]
    conv_bias: bool
    grouped: bool
    project_norm: bool
    hidden: int
    layers: int
    heads: int
    feedforward: int
    epsilon: float
    position_kernel: int
    position_groups: int
    stable: bool
    buckets: int
    farthest: int
    rates: Rates


def read_config(folder: Path) -> SpeechConfig:
    """The configuration of a model's folder.

    Raises `FeatureError` that names every option that is not ported, or keys that are missing.
    """
    instead = "extract with `backend: torch`; to fine-tune, choose another model"
    return read_ported(folder, unported, _config_of, instead)


def normalises(folder: Path) -> bool:
    """Tell whether waves are to be normalised for a model. Raises `FeatureError` for another rate
    than 16 kHz.
    """
    if not (folder / "preprocessor_config.json").is_file():
        return True
    given = read_settings(folder, "preprocessor_config.json")
    if given.get("sampling_rate", RATE) != RATE:
        what = f"the model expects audio at {given['sampling_rate']} Hz; only {RATE} is supported"
        raise FeatureError(what, where=folder)
    return bool(given.get("do_normalize", True))


def unported(given: Mapping[str, Any]) -> list[str]:
    """The options of a config.json that the modules cannot do, in words."""
    if given.get("model_type") not in FAMILIES:
        return [f"the architecture {given.get('model_type')!r}"]
    found = [f"{what} ({key})" for key, what in _REFUSED.items() if given.get(key)]
    others = {key: given[key] for key in _GELU if given.get(key, "gelu") != "gelu"}
    found += [f"the activation {name!r} ({key})" for key, name in others.items()]
    if given.get("feat_extract_norm", "group") not in ("group", "layer"):
        found.append(f"the norm {given['feat_extract_norm']!r} (feat_extract_norm)")
    return found


def _config_of(given: Mapping[str, Any]) -> SpeechConfig:
    wavlm = given["model_type"] == "wavlm"
    return SpeechConfig(
        conv_dim=tuple(given["conv_dim"]),
        conv_kernel=tuple(given["conv_kernel"]),
        conv_stride=tuple(given["conv_stride"]),
        conv_bias=given.get("conv_bias", False),
        grouped=given.get("feat_extract_norm", "group") == "group",
        project_norm=given.get("feat_proj_layer_norm", True),
        hidden=given["hidden_size"],
        layers=given["num_hidden_layers"],
        heads=given["num_attention_heads"],
        feedforward=given["intermediate_size"],
        epsilon=given.get("layer_norm_eps", 1e-5),
        position_kernel=given.get("num_conv_pos_embeddings", 128),
        position_groups=given.get("num_conv_pos_embedding_groups", 16),
        stable=given.get("do_stable_layer_norm", False),
        buckets=given.get("num_buckets", 320) if wavlm else 0,
        farthest=given.get("max_bucket_distance", 800) if wavlm else 0,
        rates=Rates.published(given),
    )
