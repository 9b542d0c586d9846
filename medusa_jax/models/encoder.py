"""ENC: two linear maps, L transformer encoder layers, mean over the valid frames (spec section 2, paper Algorithm 1).

Legend: `b` utterance, `t` query frame, `s` key frame, `d` input width, `h` hidden width, `n` head, `e` width of a head.
Post-norm, ReLU, no positional encoding: PyTorch's `TransformerEncoderLayer` as the paper's code uses it, and initialised
as PyTorch does, so that the paper's learning rates mean the same here.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray


def linear(d_in: int, d_out: int, rngs: nnx.Rngs, zero_bias: bool = False) -> nnx.Linear:
    """A linear map with PyTorch's initialisation: weights and, unless `zero_bias`, bias uniform within ±1/√d_in."""
    bound = 1 / math.sqrt(d_in)

    def initial(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any = jnp.float32, **_: object) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(d_in, d_out, kernel_init=initial, bias_init=jax.nn.initializers.zeros if zero_bias else initial, rngs=rngs)


def dropout(x: Float[Array, "..."], rate: float, key: PRNGKeyArray | None) -> Float[Array, "..."]:
    """Zero a share `rate` (rounded to 1/256) of `x` and scale the rest; the identity if `key` is None.

    Eight random bits an element, cut from 32-bit words, cost an eighth of what float noise does.
    """
    threshold = min(round(rate * 256), 255)
    if key is None or threshold == 0:
        return x
    words = jax.random.bits(key, (-(-x.size // 4),), jnp.uint32)
    bits = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[: x.size].reshape(x.shape)
    return jnp.where(bits >= threshold, x * (256 / (256 - threshold)), 0)


class Attention(nnx.Module):
    """Self-attention that gives padded frames no weight."""

    def __init__(self, hidden: int, heads: int, rate: float, *, rngs: nnx.Rngs) -> None:
        xavier = jax.nn.initializers.xavier_uniform()
        self.into = nnx.Linear(hidden, 3 * hidden, kernel_init=xavier, bias_init=jax.nn.initializers.zeros, rngs=rngs)
        self.out = linear(hidden, hidden, rngs, zero_bias=True)
        self.heads, self.rate = heads, rate

    def __call__(self, x_bth: Float[Array, "b t h"], valid_bt: Bool[Array, "b t"], key: PRNGKeyArray | None) -> Float[Array, "b t h"]:
        """Mix each utterance's valid frames."""
        b, t, h = x_bth.shape
        q_btne, k_btne, v_btne = (part.reshape(b, t, self.heads, -1) for part in jnp.split(self.into(x_bth), 3, axis=-1))
        scores_bnts = jnp.einsum("btne,bsne->bnts", q_btne, k_btne) / math.sqrt(h // self.heads)
        scores_bnts = jnp.where(valid_bt[:, None, None, :], scores_bnts, jnp.finfo(scores_bnts.dtype).min)
        weights_bnts = dropout(jax.nn.softmax(scores_bnts), self.rate, key)
        return self.out(jnp.einsum("bnts,bsne->btne", weights_bnts, v_btne).reshape(b, t, h))


class Layer(nnx.Module):
    """One post-norm transformer encoder layer."""

    def __init__(self, hidden: int, feedforward: int, heads: int, rate: float, *, rngs: nnx.Rngs) -> None:
        self.attention = Attention(hidden, heads, rate, rngs=rngs)
        self.norm1 = nnx.LayerNorm(hidden, epsilon=1e-5, use_fast_variance=False, rngs=rngs)
        self.wide = linear(hidden, feedforward, rngs)
        self.narrow = linear(feedforward, hidden, rngs)
        self.norm2 = nnx.LayerNorm(hidden, epsilon=1e-5, use_fast_variance=False, rngs=rngs)
        self.rate = rate

    def __call__(self, x_bth: Float[Array, "b t h"], valid_bt: Bool[Array, "b t"], key: PRNGKeyArray | None) -> Float[Array, "b t h"]:
        """Attend, then widen and narrow, each with a residual and a norm behind it."""
        k_attention, k_after, k_wide, k_narrow = (None,) * 4 if key is None else jax.random.split(key, 4)
        attended_bth = self.attention(x_bth, valid_bt, k_attention)
        x_bth = self.norm1(x_bth + dropout(attended_bth, self.rate, k_after))
        wide = dropout(jax.nn.relu(self.wide(x_bth)), self.rate, k_wide)
        return self.norm2(x_bth + dropout(self.narrow(wide), self.rate, k_narrow))


class Encoder(nnx.Module):
    """ENC of the paper: returns what every layer saw, and the mean of the last."""

    def __init__(self, width: int, hidden: int, feedforward: int, layers: int, heads: int, rate: float, *, rngs: nnx.Rngs) -> None:
        self.w1 = linear(width, hidden, rngs)
        self.w2 = linear(hidden, hidden, rngs)
        self.layers = nnx.List([Layer(hidden, feedforward, heads, rate, rngs=rngs) for _ in range(layers)])

    def __call__(
        self, x_btd: Float[Array, "b t d"], valid_bt: Bool[Array, "b t"], key: PRNGKeyArray | None
    ) -> tuple[list[Float[Array, "b t h"]], Float[Array, "b h"]]:
        """The output of each layer, and the mean of the last one over the valid frames (h1, h2 and h3 for two layers)."""
        x_bth = self.w2(jax.nn.relu(self.w1(x_btd)))
        outputs = []
        for i, layer in enumerate(self.layers):
            x_bth = layer(x_bth, valid_bt, None if key is None else jax.random.fold_in(key, i))
            outputs.append(x_bth)
        return outputs, masked_mean(x_bth, valid_bt)


def masked_mean(x_bth: Float[Array, "b t h"], valid_bt: Bool[Array, "b t"]) -> Float[Array, "b h"]:
    """Mean over the valid frames of each utterance."""
    total_bh = jnp.where(valid_bt[:, :, None], x_bth, 0).sum(axis=1)
    return total_bh / valid_bt.sum(axis=1, keepdims=True)
