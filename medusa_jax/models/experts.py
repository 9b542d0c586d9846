"""SDMoE: experts that are gated recurrent units over a dialogue, chosen for each utterance.

Legend: `b` dialogue, `u` utterance of a dialogue, `w` width, `e` expert, `d` direction, `h` hidden
width of a direction, `g` gate (reset, update, new). Tuples run over directions.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.layers.gru import Gates, Weights, alone, mixed_grus
from medusa_jax.layers.matmul import dense, product
from medusa_jax.models.encoder import linear
from medusa_jax.models.rows import Rows

_NEVER = -1e30


def route(
    logits_bue: Float[Array, "b u e"],
    config: ConversationConfig,
    gumbel_bue: Float[Array, "b u e"] | None = None,
) -> tuple[Float[Array, "b u e"], Bool[Array, "b u e"]]:
    """Weights of each utterance's experts, which sum to 1, and which experts are on.

    Weights are a softmax over those that are on; in training of the logits with Gumbel noise,
    divided by the temperature.
    """
    on_bue = _chosen(logits_bue, config)
    if gumbel_bue is not None and config.gumbel > 0:
        logits_bue = (logits_bue + gumbel_bue) / config.gumbel
    return jax.nn.softmax(jnp.where(on_bue, logits_bue, _NEVER)), on_bue


def _chosen(logits_bue: Array, config: ConversationConfig) -> Array:
    """Which experts are on."""
    weight_bue = jax.lax.stop_gradient(logits_bue)
    if config.gate == "softmax":
        weight_bue = jax.nn.softmax(weight_bue)
    best_bu1 = weight_bue.max(axis=-1, keepdims=True)
    if config.routing == "top_k":
        return weight_bue >= jax.lax.top_k(weight_bue, config.top_k)[0][..., -1:]
    if config.routing != "dynamic":
        return jnp.ones_like(weight_bue, bool)
    centred_bue = weight_bue - weight_bue.mean(axis=-1, keepdims=True)
    deviation_bu1 = jnp.sqrt((centred_bue**2).mean(axis=-1, keepdims=True))
    # the range is closed: of equal weights all are on
    inside_bue = jnp.abs(centred_bue) <= config.alpha * deviation_bu1
    none_bu1 = ~inside_bue.any(axis=-1, keepdims=True)
    return inside_bue | (none_bu1 & (weight_bue == best_bu1))


class Experts(nnx.Module):
    """Experts of one stream: bidirectional GRUs; forward ones of the full width if nothing later
    may be seen; without recurrence if each utterance stands alone.
    """

    def __init__(self, config: ConversationConfig, *, rngs: nnx.Rngs) -> None:
        w, e = config.width, 1 if config.routing == "none" else config.experts
        d = 1 if config.context == "past" else 2
        h = w // d
        self.config, self.routed = config, config.routing != "none"
        if self.routed:
            self.gate = linear(w, e, rngs)
        # as PyTorch's GRUs: everything uniform within ±1/√h
        self.into = nnx.Param(_uniform(rngs, (d, 3, w, e * h), h))
        self.into_bias = nnx.Param(_uniform(rngs, (d, 3, e, h), h))
        self.bias = nnx.Param(_uniform(rngs, (d, e, h), h))
        if config.context != "none":
            self.state = nnx.Param(_uniform(rngs, (d, 3, e, h, h), h))

    def __call__(
        self,
        x_buw: Float[Array, "b u w"],
        rows: Rows,
        gumbel_bue: Float[Array, "b u e"] | None = None,
    ) -> tuple[Float[Array, "b u w"], Float[Array, "b u"]]:
        """Each utterance's mean of its experts' outputs, zeros at padding, and the share of experts
        that are off.
        """
        mix_bue, off_bu = self._mix(x_buw, gumbel_bue)
        reverse = self.config.context == "both"
        both = [(x_buw, mix_bue)] * len(self.bias[...])
        if reverse:
            both[1] = _ordered(x_buw, rows.reverse_bu), _ordered(mix_bue, rows.reverse_bu)
        x, mix = zip(*((x.swapaxes(0, 1), mix.swapaxes(0, 1)) for x, mix in both), strict=True)
        parts = [y_ubh.swapaxes(0, 1) for y_ubh in self._run(x, mix, rows.follows_bu.T)]
        if reverse:
            parts[1] = _ordered(parts[1], rows.reverse_bu)
        return jnp.where(rows.mask_bu[..., None], jnp.concatenate(parts, axis=-1), 0), off_bu

    def _mix(self, x_buw: Array, gumbel_bue: Array | None) -> tuple[Array, Array]:
        if not self.routed:
            return jnp.ones_like(x_buw[..., :1]), jnp.zeros_like(x_buw[..., 0])
        logits_bue = dense(self.gate, x_buw, jnp.float32)
        mix_bue, on_bue = route(logits_bue, self.config, gumbel_bue)
        return mix_bue, 1 - on_bue.mean(axis=-1, dtype=jnp.float32)

    def _run(
        self, x: tuple[Array, ...], mix: tuple[Array, ...], follows_ub: Array
    ) -> tuple[Array, ...]:
        """Mixed states `[u, b, h]` from inputs `[u, b, w]` in each direction's order."""
        into = tuple(map(self._gates, x, self.into[...]))
        if self.config.context == "none":
            return tuple(map(alone, into, self._weights(), mix))
        return mixed_grus(into, self._weights(), mix, follows_ub)

    def _weights(self) -> tuple[Weights, ...]:
        """Of each direction."""
        into, bias = self.into_bias[...], self.bias[...]
        _, e, h = bias.shape
        alone = self.config.context == "none"
        state = jnp.zeros((len(bias), 3, e, h, h)) if alone else self.state[...]
        return tuple(map(Weights, state, into, bias))

    def _gates(self, x_ubw: Array, weights_gwo: Array) -> Gates:
        """What the inputs bring to one direction's gates: large products ahead of the loop."""
        shape = *x_ubw.shape[:2], *self.bias.shape[1:]
        return Gates(*(product(x_ubw, w, jnp.float32).reshape(shape) for w in weights_gwo))


def _uniform(rngs: nnx.Rngs, shape: tuple[int, ...], hidden: int) -> Array:
    bound = 1 / math.sqrt(hidden)
    return jax.random.uniform(rngs.params(), shape, jnp.float32, -bound, bound)


def _ordered(x_bux: Array, order_bu: Array) -> Array:
    return jnp.take_along_axis(x_bux, order_bu[..., None], axis=1)
