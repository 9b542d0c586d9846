"""Manifold MixUp on the fused representation (paper section 3.7).

The coin, the partners and λ of a step are drawn ahead of it; mixing is written for one pair and
`vmap`ped. Legend: `b` utterance.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, Scalar


class Mix(NamedTuple):
    """Whom each utterance of a batch is mixed with, and how much of itself it keeps; λ = 1 mixes
    nothing.
    """

    partner_b: Int[Array, " b"]
    lam_b: Float[Array, " b"]


def draw_mix(
    key: PRNGKeyArray,
    size: int,
    probability: float | Float[Scalar, ""],
    alpha: float | Float[Scalar, ""],
) -> Mix:
    """With `probability` a partner and a λ ~ Beta(α, α) for each of `size` utterances; else λ = 1
    for all.
    """
    k_coin, k_partner, k_lam = jax.random.split(key, 3)
    partner_b = jax.random.permutation(k_partner, size)
    lam_b = jax.random.beta(k_lam, alpha, alpha, (size,))
    return Mix(partner_b, jnp.where(jax.random.bernoulli(k_coin, probability), lam_b, 1.0))


def mix_pair(lam: Float[Scalar, ""], one: PyTree, other: PyTree) -> PyTree:
    """λ·one + (1−λ)·other for one pair of utterances: representation, soft label and attributes
    alike.
    """
    return jax.tree.map(lambda a, b: lam * a + (1 - lam) * b, one, other)


def manifold_mixup(mix: Mix, batch: PyTree[Float[Array, "b ..."]]) -> PyTree[Float[Array, "b ..."]]:
    """Each utterance of the batch (any tree of arrays whose first axis is `b`) mixed with its
    partner.
    """
    others = jax.tree.map(lambda a: a[mix.partner_b], batch)
    return jax.vmap(mix_pair)(mix.lam_b, batch, others)
