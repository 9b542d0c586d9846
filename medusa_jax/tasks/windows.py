"""Long utterances in windows, predicted one by one and averaged.

Legend: `b` utterance, `v` window, `t` sample or frame, `d` feature, `c` class.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

PyTree = Any
_TINY = 1e-9


class Windows(NamedTuple):
    """Rows of their own for each utterance's windows, and the share of an utterance in each."""

    inputs: list[Array]  # [b·v, t, d] each
    lengths: list[Array]  # [b·v] each
    share_bv: Array


def first_of(
    inputs: Sequence[Array], lengths: Sequence[Array], crops: Sequence[int | None]
) -> Windows:
    """The beginning of each slot, as long as its crop (None: all of it)."""
    slots = zip(inputs, lengths, crops, strict=True)
    parts = [(x[:, :crop], n if crop is None else jnp.minimum(n, crop)) for x, n, crop in slots]
    share_bv = jnp.ones((len(inputs[0]), 1))
    return Windows([x for x, _ in parts], [n for _, n in parts], share_bv)


def windowed(
    inputs: Sequence[Array], lengths: Sequence[Array], crops: Sequence[int | None]
) -> Windows:
    """All of each slot in windows as long as its crop; a slot without a crop is whole in each.

    A window behind an utterance's end has no share in it, whatever the padded length.
    """
    slots = list(zip(inputs, map(jnp.asarray, lengths), crops, strict=True))
    count = max(-(-x.shape[1] // crop) for x, _, crop in slots if crop is not None)
    cut = [_cut(x, n, crop, count) for x, n, crop in slots]
    whole_bv = jnp.zeros((len(inputs[0]), count)).at[:, 0].set(_TINY)  # of one without any input
    for (_, length_bv), crop in zip(cut, crops, strict=True):
        if crop is not None:
            whole_bv = jnp.maximum(whole_bv, length_bv / crop)
    lengths = [length_bv.reshape(-1) for _, length_bv in cut]
    return Windows([x for x, _ in cut], lengths, whole_bv / whole_bv.sum(axis=1, keepdims=True))


def _cut(x_btd: Array, length_b: Array, crop: int | None, count: int) -> tuple[Array, Array]:
    """A slot's windows, row by row, and their lengths `[b, v]`."""
    if crop is None:
        return jnp.repeat(x_btd, count, axis=0), jnp.repeat(length_b[:, None], count, axis=1)
    size = min(crop, x_btd.shape[1]) if count == 1 else crop
    x_btd = jnp.pad(x_btd, ((0, 0), (0, count * size - x_btd.shape[1]), (0, 0)))
    length_bv = jnp.clip(length_b[:, None] - jnp.arange(count) * size, 0, size)
    return x_btd.reshape(-1, size, x_btd.shape[2]), length_bv


def one_by_one(run: Callable[[list[Array], list[Array]], PyTree], windows: Windows) -> PyTree:
    """`run(inputs, lengths)` of an utterance's first windows, then of its second ones, and so on:
    its arrays `[b·v, …]`, in the memory of one window of each utterance.
    """
    b, v = windows.share_bv.shape
    given = windows.inputs, windows.lengths
    given = jax.tree.map(lambda x: x.reshape(b, v, *x.shape[1:]).swapaxes(0, 1), given)
    found = jax.lax.map(lambda some: run(*some), given)
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(b * v, *x.shape[2:]), found)


def averaged(
    predicted: Mapping[str, Float[Array, "r _"]], share_bv: Float[Array, "b v"]
) -> dict[str, Float[Array, "b _"]]:
    """The mean over the windows of attributes, and of posteriors as their logarithm.

    Logits of one window come back as log-posteriors too: an utterance's numbers do not depend on
    the windows that others in its batch have.
    """

    def mean(x: Array) -> Array:
        return (share_bv[:, :, None] * x.reshape(*share_bv.shape, -1)).sum(axis=1)

    return {
        name: mean(x) if name == "attributes" else jnp.log(mean(jax.nn.softmax(x)) + _TINY)
        for name, x in predicted.items()
    }
