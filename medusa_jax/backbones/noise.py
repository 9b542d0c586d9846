"""Noise that pretrained encoders are fine-tuned with: dropouts, skipped layers, masked spans.

The rates are those that a model was published with, in its config.json. SpecAugment (Park et al.,
2019) replaces spans of frames, and of features, by a filler. Legend: `b` utterance, `t` frame, `d`
feature, `l` layer, `s` span.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

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
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int = 0

    @classmethod
    def published(cls, settings: Mapping[str, Any]) -> Self:
        """The rates in the config.json of a wav2vec 2.0, HuBERT or WavLM; those it lacks are the
        defaults of transformers.
        """
        usual = {"hidden_dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1}
        usual |= {"layerdrop": 0.1, "mask_time_prob": 0.05}
        return cls._of(usual | _set(settings), settings.get("apply_spec_augment", True))

    @classmethod
    def of_whisper(cls, settings: Mapping[str, Any]) -> Self:
        """The rates of the encoder in a Whisper's config.json, likewise."""
        own = {"hidden_dropout": "dropout", "layerdrop": "encoder_layerdrop"}
        renamed = {name: settings.get(key) for name, key in own.items()}
        given = {"mask_time_prob": 0.05} | _set({**settings, **renamed})
        return cls._of(given, settings.get("apply_spec_augment", False))

    @classmethod
    def _of(cls, given: Mapping[str, Any], augmented: bool) -> Self:
        names = [field.name for field in fields(cls)]
        found = {name: given[name] for name in names if name in given}
        if not augmented:
            found |= {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
        return cls(**found)

    @property
    def time(self) -> "Spans":
        """The spans of masked frames."""
        return Spans(self.mask_time_prob, self.mask_time_length, self.mask_time_min_masks)

    @property
    def feature(self) -> "Spans":
        """The spans of masked features."""
        least = self.mask_feature_min_masks
        return Spans(self.mask_feature_prob, self.mask_feature_length, least)


class Spans(NamedTuple):
    """Spans of an axis that are masked: an upper bound of the share of it, places of a span, and
    their least number.
    """

    share: float
    length: int
    least: int


class Noise(NamedTuple):
    """The random numbers of one pass through an encoder."""

    outside_s2: UInt32[Array, "2 2"]
    layers_ls2: UInt32[Array, "l 4 2"]
    skipped_l: Bool[Array, " l"]
    masked_bt: Bool[Array, "b t"]
    masked_bd: Bool[Array, "b d"] | None  # None: no feature is ever masked


def draw_noise(
    rates: Rates,
    key: PRNGKeyArray,
    layers: int,
    valid_bt: Bool[Array, "b t"],
    features: int,
    first_stays: bool = False,
) -> Noise:
    """The noise of a batch of frames with so many `features`; `first_stays`: the first layer is
    never skipped.
    """
    k_seeds, k_skip, k_mask = jax.random.split(key, 3)
    keys = jax.random.split(k_seeds, _OUTSIDE + layers * _PLACES)
    seeds = jax.vmap(seed_of)(keys)
    skipped_l = jax.random.uniform(k_skip, (layers,)) < rates.layerdrop
    skipped_l = skipped_l.at[0].set(False) if first_stays else skipped_l
    masked_bd = None
    if rates.mask_feature_prob > 0:
        every_bd = jnp.ones((len(valid_bt), features), bool)
        masked_bd = masked_spans(rates.feature, jax.random.fold_in(k_mask, 1), every_bd)
    return Noise(
        outside_s2=seeds[:_OUTSIDE],
        layers_ls2=seeds[_OUTSIDE:].reshape(layers, _PLACES, 2),
        skipped_l=skipped_l,
        masked_bt=masked_spans(rates.time, k_mask, valid_bt),
        masked_bd=masked_bd,
    )


def masked_spans(
    wanted: Spans, key: PRNGKeyArray, valid_bt: Bool[Array, "b t"]
) -> Bool[Array, "b t"]:
    """The frames in spans that start anywhere within an utterance, no two at one frame.

    There are `share · t / length` spans, rounded up or down by chance, at least the `least` and no
    more than fit one behind the other.
    """
    b, t = valid_bt.shape
    share, length, least = wanted
    spans = min(max(math.ceil(share * t) // length + 1, least), t)
    if share == 0 or length > t:
        return jnp.zeros((b, t), bool)
    k_count, k_start = jax.random.split(key)
    frames_b1 = valid_bt.sum(axis=1, keepdims=True)
    wanted_b1 = share * frames_b1 / length + jax.random.uniform(k_count, (b, 1))
    count_b1 = jnp.maximum(wanted_b1.astype(int), least)
    count_b1 = jnp.minimum(count_b1, frames_b1 // length)
    possible_bt = jnp.arange(t) <= frames_b1 - length
    order_bt = jnp.where(possible_bt, jax.random.uniform(k_start, (b, t)), -1.0)
    _, start_bs = jax.lax.top_k(order_bt, spans)
    start_bs1 = jnp.where(jnp.arange(spans) < count_b1, start_bs, -length)[:, :, None]
    frame_t = jnp.arange(t)
    return ((frame_t >= start_bs1) & (frame_t < start_bs1 + length)).any(axis=1)


def augmented(
    x_btd: Float[Array, "b t d"], noise: Noise, filler: float | Float[Array, " d"] = 0.0
) -> Float[Array, "b t d"]:
    """Frames with the masked ones replaced by the filler, and masked features by zeros."""
    x_btd = jnp.where(noise.masked_bt[:, :, None], filler, x_btd)
    if noise.masked_bd is None:
        return x_btd
    return jnp.where(noise.masked_bd[:, None], 0, x_btd)


def _set(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that have a value."""
    return {name: value for name, value in settings.items() if value is not None}


def seed_at(seeds: Array | None, place: int) -> Seed | None:
    """One seed of several, None without noise."""
    return None if seeds is None else seeds[place]
