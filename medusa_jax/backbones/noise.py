"""Noise that pretrained encoders are fine-tuned with: dropouts, skipped layers, masked time.

The rates are those that a model was published with, in its config.json. SpecAugment (Park et al.,
2019) replaces spans of frames by a vector that the model learned. Legend: `b` utterance, `t` frame,
`l` layer, `s` span.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray, UInt32

from medusa_jax.layers.dropout import Seed, seed_of

_PLACES = 4  # dropouts of a layer: attention weights, attended, widened, narrowed
_OUTSIDE = 2  # before the layers: the projected frames, and the first layer's input


@dataclass(frozen=True)
class Rates:
    """Shares of what is dropped in training, named as in config.json; all 0: no noise."""

    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    feat_proj_dropout: float = 0.0
    layerdrop: float = 0.0
    mask_time_prob: float = 0.0
    mask_time_length: int = 10
    mask_time_min_masks: int = 2

    @classmethod
    def published(cls, settings: Mapping[str, Any]) -> Self:
        """The rates of a config.json; those it lacks are the defaults of transformers."""
        usual = {"hidden_dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1}
        usual |= {"layerdrop": 0.1, "mask_time_prob": 0.05}
        names = [field.name for field in fields(cls)]
        given = {name: settings[name] for name in names if settings.get(name) is not None}
        if not settings.get("apply_spec_augment", True):
            given["mask_time_prob"] = 0.0
        return cls(**{**usual, **given})


class Noise(NamedTuple):
    """The random numbers of one pass through an encoder."""

    outside_s2: UInt32[Array, "2 2"]
    layers_ls2: UInt32[Array, "l 4 2"]
    skipped_l: Bool[Array, " l"]
    masked_bt: Bool[Array, "b t"]


def draw_noise(
    rates: Rates, key: PRNGKeyArray, layers: int, valid_bt: Bool[Array, "b t"], first_stays: bool
) -> Noise:
    """The noise of a batch; `first_stays`: the first layer is never skipped."""
    k_seeds, k_skip, k_mask = jax.random.split(key, 3)
    keys = jax.random.split(k_seeds, _OUTSIDE + layers * _PLACES)
    seeds = jax.vmap(seed_of)(keys)
    skipped_l = jax.random.uniform(k_skip, (layers,)) < rates.layerdrop
    skipped_l = skipped_l.at[0].set(False) if first_stays else skipped_l
    return Noise(
        outside_s2=seeds[:_OUTSIDE],
        layers_ls2=seeds[_OUTSIDE:].reshape(layers, _PLACES, 2),
        skipped_l=skipped_l,
        masked_bt=masked_spans(rates, k_mask, valid_bt),
    )


def masked_spans(
    rates: Rates, key: PRNGKeyArray, valid_bt: Bool[Array, "b t"]
) -> Bool[Array, "b t"]:
    """The frames in spans that start anywhere within an utterance, no two at one frame.

    There are `mask_time_prob · t / mask_time_length` spans, rounded up or down by chance, at least
    `mask_time_min_masks` and no more than fit one behind the other.
    """
    b, t = valid_bt.shape
    length, most = rates.mask_time_length, math.ceil(rates.mask_time_prob * t)
    spans = min(max(most // rates.mask_time_length + 1, rates.mask_time_min_masks), t)
    if rates.mask_time_prob == 0 or length > t:
        return jnp.zeros((b, t), bool)
    k_count, k_start = jax.random.split(key)
    frames_b1 = valid_bt.sum(axis=1, keepdims=True)
    wanted_b1 = rates.mask_time_prob * frames_b1 / length + jax.random.uniform(k_count, (b, 1))
    count_b1 = jnp.maximum(wanted_b1.astype(int), rates.mask_time_min_masks)
    count_b1 = jnp.minimum(count_b1, frames_b1 // length)
    possible_bt = jnp.arange(t) <= frames_b1 - length
    order_bt = jnp.where(possible_bt, jax.random.uniform(k_start, (b, t)), -1.0)
    _, start_bs = jax.lax.top_k(order_bt, spans)
    start_bs1 = jnp.where(jnp.arange(spans) < count_b1, start_bs, -length)[:, :, None]
    frame_t = jnp.arange(t)
    return ((frame_t >= start_bs1) & (frame_t < start_bs1 + length)).any(axis=1)


def seed_at(seeds: Array | None, place: int) -> Seed | None:
    """One seed of several, None without noise."""
    return None if seeds is None else seeds[place]
