"""BERT and RoBERTa in Flax, one module: only the numbers of the positions differ.

BERT is Devlin et al. 2019, RoBERTa Liu et al. 2019; XLM-RoBERTa and CamemBERT are RoBERTa with
other weights. Layers are stacked and scanned, so one is compiled instead of 24.

Legend: `b` utterance, `t` token, `h` hidden, `l` layer, `n` head, `e` width of a head.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from medusa_jax.backbones.stack import States, stack_of
from medusa_jax.backbones.text_config import BertConfig
from medusa_jax.backbones.waveform import gelu
from medusa_jax.layers.attention import attend, by_head, together
from medusa_jax.layers.layer_norm import layer_norm
from medusa_jax.layers.matmul import dense


class Embeddings(nnx.Module):
    """Token, position and the first token type, summed and normed."""

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs) -> None:
        h = config.hidden
        self.words = nnx.Embed(config.vocabulary, h, rngs=rngs)
        self.positions = nnx.Embed(config.positions, h, rngs=rngs)
        self.types = nnx.Embed(config.types, h, rngs=rngs)
        self.norm = layer_norm(h, rngs, config.epsilon)
        self.config = config

    def __call__(
        self, ids_bt: Int[Array, "b t"], valid_bt: Bool[Array, "b t"]
    ) -> Float[Array, "b t h"]:
        """The input of the first layer; padding is as good as any token."""
        x_bth = self.words.embedding[...][ids_bt] + self.types.embedding[0]
        return self.norm(x_bth + self.positions.embedding[...][self._places(ids_bt, valid_bt)])

    def _places(self, ids_bt: Array, valid_bt: Array) -> Array:
        """The row of each token in the table of positions; padding takes one that exists."""
        if self.config.counted:
            counted_bt = valid_bt & (ids_bt != self.config.filler)
            return jnp.cumsum(counted_bt, axis=1) * counted_bt + self.config.filler
        return jnp.minimum(jnp.arange(ids_bt.shape[1])[None], self.config.positions - 1)


class Layer(nnx.Module):
    """A transformer layer with norms behind its parts."""

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs) -> None:
        h, wide = config.hidden, config.feedforward
        self.query, self.key, self.value, self.out = (nnx.Linear(h, h, rngs=rngs) for _ in range(4))
        self.norm1 = layer_norm(h, rngs, config.epsilon)
        self.wide = nnx.Linear(h, wide, rngs=rngs)
        self.narrow = nnx.Linear(wide, h, rngs=rngs)
        self.norm2 = layer_norm(h, rngs, config.epsilon)
        self.heads = config.heads

    def __call__(
        self, x_bth: Float[Array, "b t h"], valid_bt: Bool[Array, "b t"], compute: DTypeLike
    ) -> Float[Array, "b t h"]:
        """Attend to the valid tokens, then widen and narrow, each added to what came in."""
        x_bth = self.norm1(x_bth + self._attended(x_bth, valid_bt, compute))
        fed_bth = dense(self.narrow, gelu(dense(self.wide, x_bth, compute)), compute)
        return self.norm2(x_bth + fed_bth)

    def _attended(self, x_bth: Array, valid_bt: Array, compute: DTypeLike) -> Array:
        q_bnte, k_bnte, v_bnte = (
            by_head(dense(part, x_bth, compute), self.heads)
            for part in (self.query, self.key, self.value)
        )
        mixed_bnte = attend(q_bnte, k_bnte, v_bnte, valid_bt, None, 0.0, compute)
        return dense(self.out, together(mixed_bnte), compute)


class BertBackbone(nnx.Module):
    """A pretrained BERT or RoBERTa. A text's states do not depend on its batch or padding, rounding
    aside.
    """

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs) -> None:
        self.embeddings = Embeddings(config, rngs=rngs)
        self.layers = stack_of(lambda own: Layer(config, rngs=own), config.layers, rngs)
        self.config = config

    def __call__(
        self,
        ids_bt: Int[Array, "b t"],
        count_b: Int[Array, " b"],
        compute: DTypeLike = jnp.float32,
        remat: bool = False,
    ) -> States:
        """Hidden states `[l + 1, b, t, h]`, float32, of texts of so many tokens, special ones
        included: at least 1, at most `config.longest`.

        Products have operands of dtype `compute`. With `remat` a layer is computed again for its
        gradient.
        """
        valid_bt = jnp.arange(ids_bt.shape[1]) < count_b[:, None]
        x_bth = self.embeddings(ids_bt, valid_bt)
        graph, stacked = nnx.split(self.layers)

        def one(x_bth: Array, own: nnx.State) -> tuple[Array, Array]:
            x_bth = nnx.merge(graph, own)(x_bth, valid_bt, compute)
            return x_bth, x_bth

        _, states_lbth = jax.lax.scan(jax.checkpoint(one) if remat else one, x_bth, stacked)
        return States(jnp.concatenate([x_bth[None], states_lbth]), valid_bt)
