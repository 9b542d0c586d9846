"""Whisper's decoder, a token at a time, with the keys and values of earlier tokens in a cache.

Several hypotheses of one utterance (beams) are decoded together and share what was heard.

Legend: `b` utterance, `k` hypothesis, `r` both of them (b · k), `n` head, `s` token in the cache or
frame heard, `h` hidden, `e` width of a head, `v` token of the vocabulary.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from medusa_jax.backbones.whisper import (
    Attention,
    FeedForward,
    WhisperEncoder,
)
from medusa_jax.backbones.whisper_config import WhisperConfig
from medusa_jax.layers.layer_norm import layer_norm
from medusa_jax.layers.matmul import contract

Keys = tuple[Array, Array]
"""Keys and values `[., n, s, e]` of a layer."""
_SMALL = 0.02  # standard deviation of fresh embeddings


class DecoderLayer(nnx.Module):
    """Attend to the tokens so far, then to what was heard, then widen and narrow."""

    def __init__(self, config: WhisperConfig, *, rngs: nnx.Rngs) -> None:
        h, heads = config.hidden, config.decoder_heads
        self.norm = layer_norm(h, rngs)
        self.attention = Attention(h, heads, rngs=rngs)
        self.cross_norm = layer_norm(h, rngs)
        self.cross = Attention(h, heads, rngs=rngs)
        self.feed = FeedForward(h, config.decoder_feedforward, rngs=rngs)

    def __call__(
        self,
        x_bkh: Float[Array, "b k h"],
        position: Int[Array, ""],
        own: Keys,
        heard: Keys,
        compute: DTypeLike,
    ) -> tuple[Float[Array, "b k h"], Keys]:
        """The layer's output, and `own` with the keys and values of this position."""
        b, k, h = x_bkh.shape
        x_r1h = self.norm(x_bkh).reshape(b * k, 1, h)
        new = self.attention.keys(x_r1h, compute)
        own_k, own_v = (
            jax.lax.dynamic_update_slice_in_dim(old, now, position, axis=2)
            for old, now in zip(own, new, strict=True)
        )
        seen_rs = jnp.broadcast_to(jnp.arange(own_k.shape[2]) <= position, (b * k, own_k.shape[2]))
        mixed_r1h = self.attention(x_r1h, own_k, own_v, seen_rs, compute)
        x_bkh += mixed_r1h.reshape(b, k, h)
        all_bs = jnp.ones((b, heard[0].shape[2]), bool)
        x_bkh += self.cross(self.cross_norm(x_bkh), *heard, all_bs, compute)
        return x_bkh + self.feed(x_bkh, compute), (own_k, own_v)


class WhisperDecoder(nnx.Module):
    """Tokens to the logits of the next one, given what was heard.

    Layers are compiled one by one: a scan would copy the cache of each at every token.
    """

    def __init__(self, config: WhisperConfig, *, rngs: nnx.Rngs) -> None:
        words = (config.vocabulary, config.hidden)
        self.words = nnx.Param(_SMALL * jax.random.normal(rngs.params(), words))
        places = (config.decoder_positions, config.hidden)
        self.positions = nnx.Param(_SMALL * jax.random.normal(rngs.params(), places))
        count = config.decoder_layers
        self.layers = nnx.List([DecoderLayer(config, rngs=rngs) for _ in range(count)])
        self.norm = layer_norm(config.hidden, rngs)
        self.config = config

    def heard(self, encoded_bsh: Float[Array, "b s h"], compute: DTypeLike) -> list[Keys]:
        """Every layer's keys and values of the encoder's frames."""
        return [layer.cross.keys(encoded_bsh, compute) for layer in self.layers]

    def empty(self, rows: int, tokens: int, compute: DTypeLike) -> list[Keys]:
        """A cache for so many hypotheses of so many tokens."""
        heads = self.config.decoder_heads
        shape = (rows, heads, tokens, self.config.hidden // heads)
        return [(jnp.zeros(shape, compute), jnp.zeros(shape, compute)) for _ in self.layers]

    def __call__(
        self,
        tokens_bk: Int[Array, "b k"],
        position: Int[Array, ""],
        own: list[Keys],
        heard: list[Keys],
        compute: DTypeLike = jnp.float32,
    ) -> tuple[Float[Array, "b k h"], list[Keys]]:
        """The last hidden state of the token at `position` of each hypothesis, and the cache."""
        x_bkh = self.words[...][tokens_bk] + self.positions[...][position]
        grown = []
        for layer, own_keys, heard_keys in zip(self.layers, own, heard, strict=True):
            x_bkh, keys = layer(x_bkh, position, own_keys, heard_keys, compute)
            grown.append(keys)
        return self.norm(x_bkh), grown

    def logits(
        self, x_bkh: Float[Array, "b k h"], compute: DTypeLike = jnp.float32
    ) -> Float[Array, "b k v"]:
        """Of the next token, by the embeddings of all tokens, float32."""
        return contract("bkh,vh->bkv", x_bkh, self.words[...], compute)


class Whisper(nnx.Module):
    """Encoder, for windows of 30 s, and decoder."""

    def __init__(self, config: WhisperConfig, *, rngs: nnx.Rngs) -> None:
        self.encoder = WhisperEncoder(config, rngs=rngs)
        self.decoder = WhisperDecoder(config, rngs=rngs)
        self.config = config
