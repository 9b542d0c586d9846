"""Losses of SUMMER's student and teacher, averaged over turns (arXiv 2503.23721).

Legend: `b` dialogue, `u` turn, `c` class, `w` feature.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar


def turn_mean(values_bu: Float[Array, "b u"], mask_bu: Float[Array, "b u"]) -> Float[Scalar, ""]:
    """Mean over the turns of a mask; 0 without any."""
    return (values_bu * mask_bu).sum() / jnp.maximum(mask_bu.sum(), 1)


def cross_entropy(
    logits_buc: Float[Array, "b u c"], target_buc: Float[Array, "b u c"]
) -> Float[Scalar, ""]:
    """−Σ_c y_c log p_c, averaged over turns with a target: those whose row is not zero."""
    entropy_bu = -(target_buc * jax.nn.log_softmax(logits_buc)).sum(axis=-1)
    return turn_mean(entropy_bu, (target_buc.sum(axis=-1) > 0).astype(jnp.float32))


def distillation_loss(
    crossed_buc: Float[Array, "b u c"],
    teacher_buc: Float[Array, "b u c"],
    mask_bu: Float[Array, "b u"],
    temperature: float | Float[Scalar, ""],
) -> Float[Scalar, ""]:
    """KL(p ‖ q), averaged over all turns: p is the teacher's classifier on the student's features,
    q the teacher's prediction, both softened by `temperature`, whose square scales the loss.
    """
    log_p_buc = jax.nn.log_softmax(crossed_buc / temperature)
    log_q_buc = jax.nn.log_softmax(teacher_buc / temperature)
    divergence_bu = (jnp.exp(log_p_buc) * (log_p_buc - log_q_buc)).sum(axis=-1)
    return temperature**2 * turn_mean(divergence_bu, mask_bu)


def feature_loss(
    student_buw: Float[Array, "b u w"],
    teacher_buw: Float[Array, "b u w"],
    mask_bu: Float[Array, "b u"],
) -> Float[Scalar, ""]:
    """Squared difference of inner features, averaged over features and turns."""
    return turn_mean(((student_buw - teacher_buw) ** 2).mean(axis=-1), mask_bu)
