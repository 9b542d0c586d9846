"""Gated recurrent units of many experts and both directions in one loop, mixed by weights.

Plain differentiation of a scan adds to the weights' gradient at every step, and keeps every gate of
every expert. Here that gradient is one product after the loop, and what is kept is states alone,
from which the backward loop computes the gates again. Without differentiation nothing is kept: the
experts' outputs are mixed inside the loop. Each gate has an array of its own: XLA for CPUs computes
gates cut from one array ten times as slowly.

Legend: `u` utterance of a dialogue, `b` dialogue, `e` expert, `h` and `i` hidden, `d` direction,
`g` gate (reset, update, new). Tuples run over directions.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Gates(NamedTuple):
    """What the inputs bring to each gate, without biases."""

    reset: Float[Array, "u b e h"]
    update: Float[Array, "u b e h"]
    new: Float[Array, "u b e h"]


class Weights(NamedTuple):
    """Of the experts in one direction."""

    state_gehi: Float[Array, "3 e h h"]  # from the state to the gates
    into_geh: Float[Array, "3 e h"]  # biases of the gates
    state_eh: Float[Array, "e h"]  # bias of the state's part of new, before the reset gate


class _Apart(NamedTuple):
    """`Weights` with an array a gate: cut here, or the loop cuts them at each step."""

    state: tuple[Array, ...]
    into: tuple[Array, ...]
    state_new: Array


class _Cell(NamedTuple):
    """What one step computes, `[e, b, h]`."""

    after: Array  # the state
    reset: Array
    update: Array
    new: Array
    state_new: Array  # the state's part of new


_Arrays = tuple[Array, ...]
_Tree = Any


def alone(into: Gates, weights: Weights, mix_ube: Float[Array, "u b e"]) -> Float[Array, "u b h"]:
    """`mixed_grus` in one direction where every utterance is a dialogue of its own."""
    reset, update, new = (x + bias for x, bias in zip(into, weights.into_geh, strict=True))
    new = jnp.tanh(new + jax.nn.sigmoid(reset) * weights.state_eh)
    state_ubeh = (1 - jax.nn.sigmoid(update)) * new
    return (state_ubeh * mix_ube[..., None]).sum(axis=2)


@jax.custom_vjp
def mixed_grus(
    into: tuple[Gates, ...],
    weights: tuple[Weights, ...],
    mix: tuple[Float[Array, "u b e"], ...],
    follows_ub: Bool[Array, "u b"],
) -> tuple[Float[Array, "u b h"], ...]:
    """Outputs of the experts' GRUs (PyTorch's equations), each times its `mix`, summed.

    `into` is in each direction's order of utterances: padding stands last in both. An utterance
    that does not follow the one before it (`follows` there) begins with a state of zeros.
    """
    return _run(into, weights, mix, follows_ub, False)[0]


def _run(
    into: tuple[Gates, ...],
    weights: tuple[Weights, ...],
    mix: _Arrays,
    follows_ub: Array,
    keep: bool,
) -> tuple[_Arrays, _Arrays]:
    """Mixed outputs and, if they are to be kept, the states ahead of each step `[u, e, b, h]`."""
    u, b, e, h = into[0].new.shape
    experts = tuple(map(_apart, weights))

    def step(t: Array, carry: tuple[_Arrays, _Arrays, _Arrays]) -> tuple[_Arrays, _Arrays, _Arrays]:
        states, mixed, before = carry
        cells = map(_cell, states, _at(t, into), experts)
        after = tuple(cell.after for cell in cells)
        mixed = _put(t, mixed, tuple(map(_mixed, after, _at(t, mix))))
        before = _put(t, before, states) if keep else ()
        return tuple(_carried(x_ebh, _at(t, follows_ub)) for x_ebh in after), mixed, before

    start = tuple(jnp.zeros((e, b, h)) for _ in into)
    mixed = tuple(_blank((u, b, h), one.new) for one in into)
    before = tuple(_blank((u, e, b, h), one.new) for one in into) if keep else ()
    _, mixed, before = jax.lax.fori_loop(0, u, step, (start, mixed, before))
    return mixed, before


def _apart(weights: Weights) -> _Apart:
    return _Apart(tuple(weights.state_gehi), tuple(weights.into_geh), weights.state_eh)


def _carried(state_ebh: Array, follows_b: Array) -> Array:
    """The state, or its gradient, where the next utterance follows."""
    return jnp.where(follows_b[:, None], state_ebh, 0)


def _at(t: Array, arrays: _Tree) -> _Tree:
    """Step `t` of each array."""
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, t, keepdims=False), arrays)


def _put(t: Array, arrays: _Tree, values: _Tree) -> _Tree:
    """The arrays with these values at step `t`."""
    return jax.tree.map(
        lambda x, one: jax.lax.dynamic_update_index_in_dim(x, one, t, 0), arrays, values
    )


def _blank(shape: tuple[int, ...], like: Array) -> Array:
    """Zeros that XLA cannot make before it has `like`: constant ones it makes at the start of the
    program, for all loops at once.
    """
    return jnp.broadcast_to(0 * like.ravel()[0], shape)


def _mixed(state_ebh: Array, mix_be: Array) -> Array:
    return (state_ebh * mix_be.T[..., None]).sum(axis=0)


def _cell(state_ebh: Array, into: Gates, weights: _Apart) -> _Cell:
    x_reset, x_update, x_new = (
        x_beh.swapaxes(0, 1) + bias_eh[:, None]
        for x_beh, bias_eh in zip(into, weights.into, strict=True)
    )
    s_reset, s_update, s_new = (
        _product("ebh,ehi->ebi", state_ebh, w_ehi) for w_ehi in weights.state
    )
    reset, update = jax.nn.sigmoid(x_reset + s_reset), jax.nn.sigmoid(x_update + s_update)
    s_new = s_new + weights.state_new[:, None]
    new = jnp.tanh(x_new + reset * s_new)
    return _Cell(new + update * (state_ebh - new), reset, update, new, s_new)


def _product(equation: str, a: Array, b: Array) -> Array:
    return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)


class _Saved(NamedTuple):
    """Arrays that the gradient needs."""

    into: tuple[Gates, ...]
    weights: tuple[Weights, ...]
    mix: _Arrays
    follows_ub: Array
    before: _Arrays  # states ahead of each step, [u, e, b, h]


def _forward(
    into: tuple[Gates, ...],
    weights: tuple[Weights, ...],
    mix: _Arrays,
    follows_ub: Array,
) -> tuple[_Arrays, _Saved]:
    mixed, before = _run(into, weights, mix, follows_ub, True)
    return mixed, _Saved(into, weights, mix, follows_ub, before)


def _backward(
    saved: _Saved, g: _Arrays
) -> tuple[tuple[Gates, ...], tuple[Weights, ...], _Arrays, None]:
    experts = tuple(map(_apart, saved.weights))
    u = len(g[0])

    def step(i: Array, carry: _Tree) -> _Tree:
        ahead, dinto, dstate_new, dmix = carry
        t = u - 1 - i
        # read before they are written over
        now = jax.lax.optimization_barrier(_at(t, (saved.before, dinto, saved.mix, g)))
        dafter = tuple(_carried(x_ebh, _at(t, saved.follows_ub)) for x_ebh in ahead)
        ahead, found = zip(*map(_cell_backward, dafter, experts, *now), strict=True)
        return ahead, *_put(t, (dinto, dstate_new, dmix), tuple(zip(*found, strict=True)))

    last = tuple(jnp.zeros_like(before_uebh[0]) for before_uebh in saved.before)
    # gradients of the gates' inputs take the place of the inputs
    start = last, saved.into, _blanks(saved.before, g), _blanks(saved.mix, g)
    _, dinto, dstate_new, dmix = jax.lax.fori_loop(0, u, step, start)
    before, dinto, dstate_new = jax.lax.optimization_barrier((saved.before, dinto, dstate_new))
    return dinto, tuple(map(_dweights, before, dinto, dstate_new)), dmix, None


def _blanks(arrays: _Arrays, like: _Arrays) -> _Arrays:
    return tuple(_blank(x.shape, one) for x, one in zip(arrays, like, strict=True))


def _cell_backward(
    dafter_ebh: Array,
    weights: _Apart,
    before_ebh: Array,
    into: Gates,
    mix_be: Array,
    g_bh: Array,
) -> tuple[Array, tuple[Gates, Array, Array]]:
    """Gradients of the state before, of the gates' inputs, of the state's part of new, and of the
    mix.
    """
    after, reset, update, new, s_new = _cell(before_ebh, into, weights)
    dmix_be = (after * g_bh).sum(axis=-1).T
    dafter_ebh = dafter_ebh + mix_be.T[..., None] * g_bh
    dnew = dafter_ebh * (1 - update) * (1 - new * new)
    dreset = dnew * s_new * reset * (1 - reset)
    dupdate = dafter_ebh * (before_ebh - new) * update * (1 - update)
    dparts = dreset, dupdate, dnew * reset
    parts = zip(dparts, weights.state, strict=True)
    through = [_product("ebi,ehi->ebh", d_ebi, w_ehi) for d_ebi, w_ehi in parts]
    dinto = Gates(*(d_ebh.swapaxes(0, 1) for d_ebh in (dreset, dupdate, dnew)))
    return dafter_ebh * update + sum(through), (dinto, dparts[2], dmix_be)


def _dweights(before_uebh: Array, dinto: Gates, dstate_new_uebi: Array) -> Weights:
    """Gradients of one direction's weights, all steps at once."""
    dreset, dupdate = (
        _product("uebh,ubei->ehi", before_uebh, d_ubei) for d_ubei in (dinto.reset, dinto.update)
    )
    dnew = _product("uebh,uebi->ehi", before_uebh, dstate_new_uebi)
    dbiases = [d_ubeh.sum(axis=(0, 1)) for d_ubeh in dinto]
    return Weights(
        jnp.stack([dreset, dupdate, dnew]), jnp.stack(dbiases), dstate_new_uebi.sum(axis=(0, 2))
    )


mixed_grus.defvjp(_forward, _backward)
