"""Read the weights of the published PyTorch DeepSER (github.com/emopodntua/medusa) into ours.

Their network has two layers an encoder, two fusion encoders, one attention head, a feed-forward
width of 2048, eight classes in the challenge's order, and arousal, valence, dominance. It reads raw
frames: `standardise` is off. Their code masks no padding, so numbers agree for unpadded utterances.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from medusa_jax.config.model import ModelConfig
from medusa_jax.errors import CheckpointError
from medusa_jax.models.deepser import DeepSER

CLASSES = 8
NAMES = {  # our name of a part: theirs
    "encoders": "legs",
    "project": "linear1",
    "classify": "linear2",
    "regress": "linear3",
    "w1": "linear1",
    "w2": "linear2",
    "layers": "transformer.layers",
    "attention": "self_attn",
    "into": "in_proj",
    "out": "out_proj",
    "wide": "linear1",
    "narrow": "linear2",
    "kernel": "weight",
    "scale": "weight",
}
JOINED = {"fusions.0.": "leg4.", "fusions.1.": "leg5.", "in_proj.": "in_proj_"}
FIXED = {"layers": 2, "heads": 1, "fusion": "deep", "standardise": False}
_SHOWN = 8  # mistakes that an error lists


def published_deepser(
    arrays: Mapping[str, np.ndarray], config: ModelConfig, widths: Mapping[str, int]
) -> DeepSER:
    """A DeepSER with the published weights; `widths` in the order of their `features`.

    `arrays` is their state dict (`medusa_jax.hub.convert.read_arrays`). Raises
    `CheckpointError` for a configuration that differs from their network, and, all together, for
    keys that are missing or unknown and shapes that differ.
    """
    _check_config(config)
    model = DeepSER(config, list(widths.values()), CLASSES, rngs=nnx.Rngs(0))
    params = nnx.to_flat_state(nnx.state(model, nnx.Param))
    shapes = {published_name(path): _torch_shape(path, leaf.shape) for path, leaf in params}
    _check_arrays(shapes, arrays)
    for path, leaf in params:
        array = np.asarray(arrays[published_name(path)], np.float32)
        leaf[...] = jnp.asarray(array.T if path[-1] == "kernel" else array)
    return model


def published_name(path: tuple[Any, ...]) -> str:
    """The published key of a parameter: ("encoders", 0, "w1", "bias") is legs.0.linear1.bias."""
    name = ".".join(NAMES.get(str(part), str(part)) for part in path)
    for ours, theirs in JOINED.items():
        name = name.replace(ours, theirs)
    return name


def _torch_shape(path: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in the published file: PyTorch keeps the weights of a linear map as `[out, in]`."""
    return shape[::-1] if path[-1] == "kernel" else shape


def _check_config(config: ModelConfig) -> None:
    found = config.model_dump(include=set(FIXED))
    wrong = [
        f"{key} {found[key]}, not {value}" for key, value in FIXED.items() if found[key] != value
    ]
    if wrong:
        what = f"the published DeepSER has another configuration: {', '.join(wrong)}"
        raise CheckpointError(
            what, hint="set these keys of the model section to the values named last"
        )


def _check_arrays(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, np.ndarray]) -> None:
    """Raise `CheckpointError` with every key that is missing, unknown or of another shape."""
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in wanted]
    for name, shape in wanted.items():
        if name in found and found[name].shape != shape:
            wrong.append(f"{name} has shape {found[name].shape}, not {shape}")
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise CheckpointError(
            f"these weights are not of this DeepSER: {'; '.join(wrong[:_SHOWN])}{more}",
            hint="check model.hidden, and that the modalities stand in the order of their features",
        )
