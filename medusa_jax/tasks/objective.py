"""Losses of the paper: weighted soft-target cross-entropy and the attributes' squared error
(section 3.6, eq. 1).

Legend: `n` utterance of a set, `b` utterance of a batch, `c` class, `a` attribute.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar


def class_weights(soft_nc: np.ndarray) -> np.ndarray:
    """α_c = (N / (|C|·f_c))^½, float32 `[c]`, f_c the sum of the soft labels of class c and N of
    all (section 3.6).

    Rows of zeros (no class target) do not count; a class that never occurs weighs 0.
    """
    frequency_c = np.asarray(soft_nc, np.float64).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights_c = np.sqrt(frequency_c.sum() / (len(frequency_c) * frequency_c))
    return np.where(frequency_c > 0, weights_c, 0).astype(np.float32)


def classification_loss(
    logits_bc: Float[Array, "b c"], soft_bc: Float[Array, "b c"], weights_c: Float[Array, " c"]
) -> Float[Scalar, ""]:
    """−Σ_c α_c y_c log p_c, averaged over all utterances of the batch; those without a class target
    add nothing.

    The plain mean over `b`: an utterance counts the same in any batch, whatever stands beside it.
    """
    return -(soft_bc * weights_c * jax.nn.log_softmax(logits_bc)).sum() / len(soft_bc)


def attribute_loss(
    predicted_ba: Float[Array, "b 3"], truth_ba: Float[Array, "b 3"], rated_ba: Float[Array, "b 3"]
) -> Float[Scalar, ""]:
    """Squared error averaged over the ratings in the batch; 0 if there are none."""
    return (rated_ba * (predicted_ba - truth_ba) ** 2).sum() / jnp.maximum(rated_ba.sum(), 1)
