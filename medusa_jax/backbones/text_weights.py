"""Load BERT, RoBERTa and ModernBERT with their published weights."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flax import nnx

from medusa_jax.backbones.bert import BertBackbone
from medusa_jax.backbones.modernbert import ModernBertBackbone
from medusa_jax.backbones.text_config import BertConfig, ModernBertConfig, read_text_config
from medusa_jax.backbones.weights import Rule, as_is, fill, read_tensors, rules_of, turned

TextBackbone = BertBackbone | ModernBertBackbone
_PREFIXES = ("bert", "roberta", "camembert", "model")
# Heads, and tables of numbers that are no parameters.
UNUSED = (
    r"(pooler|cls|lm_head|head|decoder|classifier|qa_outputs)\..*"
    r"|embeddings\.(position_ids|token_type_ids)"
)


def load_text(folder: Path) -> TextBackbone:
    """The model of a folder with config.json and safetensors.

    Raises `FeatureError` for options that are not ported, and for weights of another model.
    """
    config, rngs = read_text_config(folder), nnx.Rngs(0)
    tensors = _bare(read_tensors(folder))
    if isinstance(config, BertConfig):
        bert = BertBackbone(config, rngs=rngs)
        fill(bert, bert_rules(), tensors, folder, unused=UNUSED)
        return bert
    modern = ModernBertBackbone(config, rngs=rngs)
    fill(modern, modernbert_rules(config), tensors, folder, unused=UNUSED)
    return modern


def _bare(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors by keys without the prefix that models with a head give their encoder."""
    parts = {key: key.partition(".") for key in tensors}
    return {
        rest if prefix in _PREFIXES else key: tensors[key]
        for key, (prefix, _, rest) in parts.items()
    }


def bert_rules() -> list[Rule]:
    """The map of a BERT or RoBERTa, from keys without the model's prefix."""
    tables = {"word": "words", "position": "positions", "token_type": "types"}
    found = [
        Rule(f"embeddings.{key}_embeddings.weight", ("embeddings", name, "embedding"))
        for key, name in tables.items()
    ]
    found += _bert_norm("embeddings", ("embeddings", "norm"), stacked=False)
    linear = {
        "attention.self.query": "query",
        "attention.self.key": "key",
        "attention.self.value": "value",
        "attention.output.dense": "out",
        "intermediate.dense": "wide",
        "output.dense": "narrow",
    }
    for key, name in linear.items():
        found += rules_of(f"encoder.layer.#.{key}", ("layers", name), turned, stacked=True)
    for key, name in {"attention.output": "norm1", "output": "norm2"}.items():
        found += _bert_norm(f"encoder.layer.#.{key}", ("layers", name), stacked=True)
    return found


def _bert_norm(module: str, path: tuple[str, ...], stacked: bool) -> list[Rule]:
    """A norm by its names of today and by those of BERT's first files, gamma and beta."""
    norm = f"{module}.LayerNorm"
    return [
        *rules_of(norm, path, as_is, stacked),
        Rule(f"{norm}.gamma", (*path, "scale"), as_is, stacked),
        Rule(f"{norm}.beta", (*path, "bias"), as_is, stacked),
    ]


def modernbert_rules(config: ModernBertConfig) -> list[Rule]:
    """The map of a ModernBERT, from keys without the model's prefix.

    Norms before attention stand behind the layer before; the final norm behind the last one.
    """
    linear = {
        "attn.Wqkv": ("attention", "parts"),
        "attn.Wo": ("attention", "out"),
        "mlp.Wi": ("wide",),
        "mlp.Wo": ("narrow",),
    }
    found = [Rule("embeddings.tok_embeddings.weight", ("words", "embedding"))]
    found += rules_of("embeddings.norm", ("norm",), as_is)
    for key, path in linear.items():
        found += rules_of(f"layers.#.{key}", ("layers", *path), turned, stacked=True)
    found += rules_of("layers.#.mlp_norm", ("layers", "norm"), as_is, stacked=True)
    found += rules_of("layers.#.attn_norm", ("layers", "after"), as_is, stacked=True)
    return [
        *found,
        Rule("final_norm.weight", ("layers", "after", "scale"), row=config.layers),
        Rule("final_norm.bias", ("layers", "after", "bias"), row=config.layers),
    ]
