"""Scaled dot-product attention with its own gradient, which keeps one array the size of the scores
and no mask.

Plain differentiation keeps several: scores, weights, random bits, dropped weights. Here the
exponentials stay, dropout's mask is made again from its seed, and the softmax's gradient takes its
row sums from the output (FlashAttention's appendix: Σ_s dP·P = Σ_e dO·O), which spares a pass over
the scores.

Legend: `b` utterance, `n` head, `t` query frame, `s` key frame, `e` width of a head.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from medusa_jax.layers.dropout import Seed, kept
from medusa_jax.layers.matmul import contract, over_rows, summed
from medusa_jax.layers.tuning import tuned

_NEVER = -1e30


def by_head(x_bth: Float[Array, "b t h"], heads: int) -> Float[Array, "b n t e"]:
    """The width of each frame dealt out to heads."""
    b, t, _ = x_bth.shape
    return x_bth.reshape(b, t, heads, -1).swapaxes(1, 2)


def together(x_bnte: Float[Array, "b n t e"]) -> Float[Array, "b t h"]:
    """The heads side by side again: the inverse of `by_head`."""
    b, _, t, _ = x_bnte.shape
    return x_bnte.swapaxes(1, 2).reshape(b, t, -1)


class _Kept(NamedTuple):
    """Arrays that the gradient needs."""

    q_bnte: Array  # scaled; these three in the dtype of the products
    k_bnse: Array
    v_bnse: Array
    seed: Seed | None
    exp_bnts: Array  # exponentials of the scores less their row's maximum
    sum_bnt1: Array  # of their rows
    out_bnte: Array


def attend(
    q_bnte: Float[Array, "b n t e"],
    k_bnse: Float[Array, "b n s e"],
    v_bnse: Float[Array, "b n s e"],
    valid_bs: Bool[Array, "b s"],
    seed: Seed | None,
    rate: float,
    compute: DTypeLike,
) -> Float[Array, "b n t e"]:
    """Each query's mean of the values at valid keys, by softmax of q·k/√e; with a `seed` a share
    `rate` of the weights is dropped.

    Products have operands of dtype `compute`; softmax and result are float32. Every utterance needs
    a valid key.
    """
    run = _attend if tuned("attention") else _attend_plainly
    return run(q_bnte, k_bnse, v_bnse, valid_bs, seed, rate, compute)


def _attend_plainly(
    q_bnte: Array,
    k_bnse: Array,
    v_bnse: Array,
    valid_bs: Array,
    seed: Seed | None,
    rate: float,
    compute: DTypeLike,
) -> Array:
    """`attend` as XLA fuses and JAX differentiates it."""
    q_bnte = q_bnte / math.sqrt(q_bnte.shape[-1])
    scores_bnts = contract("bnte,bnse->bnts", q_bnte, k_bnse, compute)
    weights_bnts = jax.nn.softmax(jnp.where(valid_bs[:, None, None, :], scores_bnts, _NEVER))
    weights_bnts = _dropped(weights_bnts, seed, rate) * _scale(seed, rate)
    return contract("bnts,bnse->bnte", weights_bnts, v_bnse, compute)


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _attend(
    q_bnte: Array,
    k_bnse: Array,
    v_bnse: Array,
    valid_bs: Array,
    seed: Seed | None,
    rate: float,
    compute: DTypeLike,
) -> Array:
    """`attend` with its own gradient."""
    return _forward(q_bnte, k_bnse, v_bnse, valid_bs, seed, rate, compute)[0]


def _forward(
    q_bnte: Array,
    k_bnse: Array,
    v_bnse: Array,
    valid_bs: Array,
    seed: Seed | None,
    rate: float,
    compute: DTypeLike,
) -> tuple[Array, _Kept]:
    q_bnte, k_bnse, v_bnse = (
        (q_bnte / math.sqrt(q_bnte.shape[-1])).astype(compute),
        k_bnse.astype(compute),
        v_bnse.astype(compute),
    )
    scores_bnts = jnp.where(
        valid_bs[:, None, None, :], summed("bnte,bnse->bnts", q_bnte, k_bnse), _NEVER
    )
    exp_bnts = jnp.exp(scores_bnts - scores_bnts.max(axis=-1, keepdims=True))
    sum_bnt1 = exp_bnts.sum(axis=-1, keepdims=True)
    exp_bnts = exp_bnts.astype(compute)
    out_bnte = summed("bnts,bnse->bnte", _dropped(exp_bnts, seed, rate), v_bnse) * (
        _scale(seed, rate) / sum_bnt1
    )
    return out_bnte, _Kept(q_bnte, k_bnse, v_bnse, seed, exp_bnts, sum_bnt1, out_bnte)


def _backward(
    rate: float, compute: DTypeLike, saved: _Kept, g_bnte: Array
) -> tuple[Array | None, ...]:
    share_bnte = g_bnte / saved.sum_bnt1
    scaled_bnte = (share_bnte * _scale(saved.seed, rate)).astype(compute)
    rows_bnt1 = (share_bnte * saved.out_bnte).sum(axis=-1, keepdims=True)
    dv_bnse = over_rows("bnts,bnte->bnse", _dropped(saved.exp_bnts, saved.seed, rate), scaled_bnte)
    dweights_bnts = _dropped(summed("bnte,bnse->bnts", scaled_bnte, saved.v_bnse), saved.seed, rate)
    dscores_bnts = (saved.exp_bnts * (dweights_bnts - rows_bnt1)).astype(compute)
    dq_bnte = summed("bnts,bnse->bnte", dscores_bnts, saved.k_bnse) / math.sqrt(
        saved.q_bnte.shape[-1]
    )
    dk_bnse = over_rows("bnts,bnte->bnse", dscores_bnts, saved.q_bnte)
    return dq_bnte, dk_bnse, dv_bnse, None, None


_attend.defvjp(_forward, _backward)


def _dropped(x_bnts: Array, seed: Seed | None, rate: float) -> Array:
    """`x` with zeros where dropout strikes, not scaled."""
    return x_bnts if seed is None else jnp.where(kept(seed, rate, x_bnts.shape), x_bnts, 0)


def _scale(seed: Seed | None, rate: float) -> float:
    return 1.0 if seed is None else 1 / (1 - rate)
