"""Class losses of fine-tuning, on soft targets, and that of secondary emotions.

Legend: `b` utterance, `c` class.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from medusa_jax.tasks.objective import classification_loss

Kind = Literal["cross_entropy", "kl", "focal"]
_TINY = 1e-9


def smoothed(
    target_bc: Float[Array, "b c"], share: float | Float[Scalar, ""]
) -> Float[Array, "b c"]:
    """Targets of which a share is spread over all classes; a row of zeros stays one."""
    known_b1 = target_bc.sum(axis=1, keepdims=True)
    return (1 - share) * target_bc + share * known_b1 / target_bc.shape[1]


def class_loss(
    kind: Kind,
    logits_bc: Float[Array, "b c"],
    target_bc: Float[Array, "b c"],
    weights_c: Float[Array, " c"],
    gamma: float | Float[Scalar, ""],
) -> Float[Scalar, ""]:
    """The weighted loss, averaged as `classification_loss`: an utterance without a target adds
    nothing.

    kl: cross-entropy less the targets' entropy, which has the same gradient. focal: each class's
    term times (1 − p_c)^`gamma` (Lin et al., 2017).
    """
    if kind == "focal":
        missed_bc = jnp.maximum(1 - jax.nn.softmax(logits_bc), _TINY)
        target_bc = target_bc * missed_bc**gamma
    loss = classification_loss(logits_bc, target_bc, weights_c)
    if kind == "kl":
        logs_bc = jnp.log(jnp.maximum(target_bc, _TINY))
        loss += (target_bc * weights_c * logs_bc).sum() / len(target_bc)
    return loss


def secondary_loss(
    logits_bc: Float[Array, "b c"], share_bc: Float[Array, "b c"], known_b: Float[Array, " b"]
) -> Float[Scalar, ""]:
    """Binary cross-entropy of each class's share of raters, averaged over the classes and over all
    utterances of the batch; those without secondary ratings (`known_b` 0) add nothing.

    Of mixed utterances shares and `known_b` are mixed alike, which mixes their losses.
    """
    named_bc = share_bc * jax.nn.log_sigmoid(logits_bc)
    other_bc = (known_b[:, None] - share_bc) * jax.nn.log_sigmoid(-logits_bc)
    return -(named_bc + other_bc).mean()
