"""Shape of a BERT, RoBERTa or ModernBERT model, from the config.json of its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medusa_jax.backbones.config_file import read_ported

ROBERTA = ("roberta", "xlm-roberta", "camembert")  # one architecture
TEXT_FAMILIES = ("bert", *ROBERTA, "modernbert")
_REFUSED = {
    "is_decoder": "a decoder",
    "add_cross_attention": "attention to another model",
    "pruned_heads": "heads that were pruned",
}
_FULL, _SLIDING = "full_attention", "sliding_attention"
_BASES = {_FULL: 160_000.0, _SLIDING: 10_000.0}
_BASE_KEYS = {_FULL: "global_rope_theta", _SLIDING: "local_rope_theta"}


@dataclass(frozen=True)
class BertConfig:
    """Shape of a BERT or RoBERTa. `counted` models number the tokens that are not the filler from
    `filler + 1`, others number all tokens from 0.
    """

    vocabulary: int
    positions: int
    types: int
    hidden: int
    layers: int
    heads: int
    feedforward: int
    epsilon: float
    filler: int
    counted: bool

    @property
    def longest(self) -> int:
        """The most tokens that have positions."""
        return self.positions - (self.filler + 1 if self.counted else 0)


@dataclass(frozen=True)
class ModernBertConfig:
    """Shape of a ModernBERT. A token of a layer that is not `everywhere` sees those at most `reach`
    away; the bases of the rotary positions are of the layers that see all and of the others.
    """

    vocabulary: int
    positions: int
    hidden: int
    layers: int
    heads: int
    feedforward: int
    epsilon: float
    filler: int
    norm_bias: bool
    attention_bias: bool
    feedforward_bias: bool
    everywhere: tuple[bool, ...]
    reach: int
    bases: tuple[float, float]

    @property
    def longest(self) -> int:
        """The most tokens that the model was made for."""
        return self.positions


TextConfig = BertConfig | ModernBertConfig


def read_text_config(folder: Path) -> TextConfig:
    """The configuration of a model's folder.

    Raises `FeatureError` that names every option that is not ported, or what cannot be used.
    """

    def make(given: Mapping[str, Any]) -> TextConfig:
        return _modernbert(given) if given["model_type"] == "modernbert" else _bert(given)

    return read_ported(folder, unported, make)


def unported(given: Mapping[str, Any]) -> list[str]:
    """The options of a config.json that the modules cannot do, in words."""
    kind = given.get("model_type")
    if kind not in TEXT_FAMILIES:
        return [f"the architecture {kind!r}"]
    found = [f"{what} ({key})" for key, what in _REFUSED.items() if given.get(key)]
    modern = kind == "modernbert"
    key = "hidden_activation" if modern else "hidden_act"
    if given.get(key, "gelu") != "gelu":
        found.append(f"the activation {given[key]!r} ({key})")
    if modern:
        return found + _unported_in_modernbert(given)
    positions = given.get("position_embedding_type") or "absolute"
    if positions != "absolute":
        found.append(f"positions of the type {positions!r} (position_embedding_type)")
    return found


def _unported_in_modernbert(given: Mapping[str, Any]) -> list[str]:
    kinds = set(given.get("layer_types") or ()) - set(_BASES)
    found = [f"layers of the type {kind!r} (layer_types)" for kind in sorted(kinds)]
    if given.get("rope_scaling"):
        found.append("scaled rotary positions (rope_scaling)")
    for layers, settings in (given.get("rope_parameters") or {}).items():
        scaling = (settings or {}).get("rope_type", "default")
        if scaling != "default":
            found.append(f"rotary positions of the type {scaling!r} (rope_parameters.{layers})")
    return found


def _bert(given: Mapping[str, Any]) -> BertConfig:
    counted = given["model_type"] in ROBERTA
    return BertConfig(
        **_common(given, "layer_norm_eps", 1e-12),
        types=int(given.get("type_vocab_size", 2)),
        filler=int(given.get("pad_token_id", 1))
        if counted
        else int(given.get("pad_token_id") or 0),
        counted=counted,
    )


def _modernbert(given: Mapping[str, Any]) -> ModernBertConfig:
    layers = int(given["num_hidden_layers"])
    kinds = given.get("layer_types") or _alternating(layers, given)
    if len(kinds) != layers:
        raise ValueError(f"layer_types names {len(kinds)} layers, not {layers}")
    return ModernBertConfig(
        **_common(given, "norm_eps", 1e-5),
        filler=int(given.get("pad_token_id") or 0),
        norm_bias=bool(given.get("norm_bias", False)),
        attention_bias=bool(given.get("attention_bias", False)),
        feedforward_bias=bool(given.get("mlp_bias", False)),
        everywhere=tuple(kind == _FULL for kind in kinds),
        reach=int(given.get("local_attention", 128)) // 2,
        bases=(_base(given, _FULL), _base(given, _SLIDING)),
    )


def _common(given: Mapping[str, Any], epsilon: str, default: float) -> dict[str, Any]:
    """The fields that both have. Raises `ValueError` if the width cannot be split into heads."""
    hidden, heads = int(given["hidden_size"]), int(given["num_attention_heads"])
    if heads < 1 or hidden % heads:
        raise ValueError(f"hidden_size {hidden} is no multiple of num_attention_heads {heads}")
    return {
        "vocabulary": int(given["vocab_size"]),
        "positions": int(given["max_position_embeddings"]),
        "hidden": hidden,
        "layers": int(given["num_hidden_layers"]),
        "heads": heads,
        "feedforward": int(given["intermediate_size"]),
        "epsilon": float(given.get(epsilon, default)),
    }


def _alternating(layers: int, given: Mapping[str, Any]) -> list[str]:
    """The older form: every n-th layer sees all tokens, from the first."""
    every = int(given.get("global_attn_every_n_layers", 3))
    return [_SLIDING if layer % every else _FULL for layer in range(layers)]


def _base(given: Mapping[str, Any], kind: str) -> float:
    """θ of a kind of layer, by its new key or by its old one."""
    new = ((given.get("rope_parameters") or {}).get(kind) or {}).get("rope_theta")
    return float(given.get(_BASE_KEYS[kind], _BASES[kind]) if new is None else new)
