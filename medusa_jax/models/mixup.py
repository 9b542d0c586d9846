"""Manifold MixUp on the fused representation (spec section 3, paper section 3.7). Legend as in `deepser`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar


def mix_pair(lam: Float[Scalar, ""], one: PyTree, other: PyTree) -> PyTree:
    """λ·one + (1−λ)·other for one pair of utterances: representation, soft label and attributes alike."""
    return jax.tree.map(lambda a, b: lam * a + (1 - lam) * b, one, other)


def manifold_mixup(
    key: PRNGKeyArray,
    batch: PyTree[Float[Array, "b ..."]],
    probability: float | Float[Scalar, ""],
    alpha: float | Float[Scalar, ""],
) -> tuple[PyTree[Float[Array, "b ..."]], Float[Array, " b"]]:
    """With `probability` mix each utterance of the batch with a partner by its own λ ~ Beta(α, α); else change nothing.

    Returns the mixed batch (any tree of arrays whose first axis is `b`) and λ `[b]`, all ones where nothing was mixed.
    """
    k_coin, k_partner, k_lam = jax.random.split(key, 3)
    size = jax.tree.leaves(batch)[0].shape[0]
    partner_b = jax.random.permutation(k_partner, size)
    lam_b = jax.random.beta(k_lam, alpha, alpha, (size,))
    lam_b = jnp.where(jax.random.bernoulli(k_coin, probability), lam_b, 1.0)
    others = jax.tree.map(lambda a: a[partner_b], batch)
    return jax.vmap(mix_pair)(lam_b, batch, others), lam_b
