"""The meta-classifier: one linear map over the predictions of all members (paper section 3.5).

Legend: `b` utterance, `m` member, `c` class, `a` attribute (3), `f` feature: m·(c + a) or m·c,
`o` output: c + a or c.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Params = dict[str, Array | np.ndarray]
_MIDDLE, _HALF = 4.0, 3.0
"""Attributes 1–7 enter and leave as −1…1, so that one learning rate suits every feature."""


def features_of(
    logits_bmc: Float[Array, "b m c"], attributes_bma: Float[Array, "b m 3"] | None
) -> Float[Array, "b f"]:
    """Each member's posteriors and, unless None, its attributes, side by side."""
    parts = [jax.nn.softmax(logits_bmc)]
    if attributes_bma is not None:
        parts.append((attributes_bma - _MIDDLE) / _HALF)
    x_bmf = jnp.concatenate(parts, axis=-1)
    return x_bmf.reshape(x_bmf.shape[0], -1)


def initial(rng: np.random.Generator, features: int, outputs: int) -> Params:
    """PyTorch's initialisation of a linear layer: `w [f, o]`, `b [o]`, uniform within ±1/√f.

    Drawn by NumPy: XLA takes seconds to compile a draw, longer than all the training.
    """
    bound = features**-0.5
    shapes = {"w": (features, outputs), "b": (outputs,)}
    return {
        name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()
    }


def forward(
    params: Params, x_bf: Float[Array, "b f"], classes: int
) -> tuple[Float[Array, "b c"], Float[Array, "b a"]]:
    """Class logits, and attributes on 1–7 (`a` = 0 for a meta-classifier of posteriors alone).

    Linear to the last: no activation follows, unlike in the published code.
    """
    y_bo = x_bf @ params["w"] + params["b"]
    return y_bo[:, :classes], _MIDDLE + _HALF * y_bo[:, classes:]


def soup(many: Params) -> Params:
    """The uniform soup: every weight's mean over the first axis, one entry a seed (Stage 4)."""
    return jax.tree.map(lambda leaf: leaf.mean(axis=0), many)
