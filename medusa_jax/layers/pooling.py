"""Pooling of frames over time, padding left out.

Legend: `b` utterance, `t` frame, `h` hidden.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from medusa_jax.layers.matmul import dense

Kind = Literal["mean", "std", "mean_std", "attention", "attention_mean"]
_LEAST = 1e-5  # variance


class Pooling(nnx.Module):
    """Mean, standard deviation, or both, of frames weighed alike or by attention:
    `softmax_t(v · tanh(W x_t))` (attentive statistics, Okabe et al., 2018).
    """

    def __init__(self, kind: Kind, hidden: int, *, rngs: nnx.Rngs) -> None:
        self.kind: Kind = kind
        self.attentive = kind.startswith("attention")
        if self.attentive:
            self.inner = nnx.Linear(hidden, hidden, rngs=rngs)
            self.outer = nnx.Linear(hidden, 1, use_bias=False, rngs=rngs)
        self.width = hidden * (2 if kind in ("mean_std", "attention") else 1)

    def __call__(
        self, x_bth: Float[Array, "b t h"], valid_bt: Bool[Array, "b t"], compute: DTypeLike
    ) -> Float[Array, "b w"]:
        """Statistics over the valid frames, the mean before the deviation."""
        weight_bt1 = self._weights(x_bth, valid_bt, compute)[:, :, None]
        mean_bh = (weight_bt1 * x_bth).sum(axis=1)
        if self.kind in ("mean", "attention_mean"):
            return mean_bh
        variance_bh = (weight_bt1 * (x_bth - mean_bh[:, None, :]) ** 2).sum(axis=1)
        deviation_bh = jnp.sqrt(jnp.maximum(variance_bh, _LEAST))
        if self.kind == "std":
            return deviation_bh
        return jnp.concatenate([mean_bh, deviation_bh], axis=1)

    def _weights(self, x_bth: Array, valid_bt: Array, compute: DTypeLike) -> Array:
        """A weight for each frame; those of an utterance sum to 1."""
        if not self.attentive:
            return even_weights(valid_bt)
        score_bt = dense(self.outer, jnp.tanh(dense(self.inner, x_bth, compute)), compute)[..., 0]
        return jax.nn.softmax(jnp.where(valid_bt, score_bt, -1e30), axis=1)


def even_weights(valid_bt: Bool[Array, "b t"]) -> Float[Array, "b t"]:
    """Equal weights of the valid frames that sum to 1, 0 where there is none."""
    return valid_bt / jnp.maximum(valid_bt.sum(axis=1, keepdims=True), 1)


def mean_of(x_bth: Float[Array, "b t h"], valid_bt: Bool[Array, "b t"]) -> Float[Array, "b h"]:
    """The mean of the valid frames, 0 where there is none."""
    return (even_weights(valid_bt)[:, :, None] * x_bth).sum(axis=1)
