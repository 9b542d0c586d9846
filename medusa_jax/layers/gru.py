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
from jaxtyping import Array, Float, Int


class Gates(NamedTuple):
    """What the inputs bring to each gate, biases included."""

    reset: Float[Array, "u b e h"]
    update: Float[Array, "u b e h"]
    new: Float[Array, "u b e h"]


class _Cell(NamedTuple):
    """What one step computes, `[e, b, h]`."""

    after: Array  # the state
    reset: Array
    update: Array
    new: Array
    state_new: Array  # the state's part of new


_Arrays = tuple[Array, ...]
_Tree = Any


def backwards(length_b: Int[Array, " b"], utterances: int) -> Int[Array, "b u"]:
    """Positions of each dialogue's utterances from its last to its first, those of its padding
    after them; its own inverse.
    """
    place_u = jnp.arange(utterances)
    return jnp.where(place_u < length_b[:, None], length_b[:, None] - 1 - place_u, place_u)


def alone(
    into: Gates, bias_eh: Float[Array, "e h"], mix_ube: Float[Array, "u b e"]
) -> Float[Array, "u b h"]:
    """`mixed_grus` in one direction where every utterance is a dialogue of its own."""
    new = jnp.tanh(into.new + jax.nn.sigmoid(into.reset) * bias_eh)
    state_ubeh = (1 - jax.nn.sigmoid(into.update)) * new
    return (state_ubeh * mix_ube[..., None]).sum(axis=2)


@jax.custom_vjp
def mixed_grus(
    into: tuple[Gates, ...],
    state_dgehi: Float[Array, "d 3 e h h"],
    bias_deh: Float[Array, "d e h"],
    mix: tuple[Float[Array, "u b e"], ...],
) -> tuple[Float[Array, "u b h"], ...]:
    """Outputs of the experts' GRUs (PyTorch's equations), each times its `mix`, summed.

    `into` is in each direction's order of utterances: padding stands last in both. `state` takes a
    state to the gates, `bias` is added to its part of new before the reset gate.
    """

    return _run(into, state_dgehi, bias_deh, mix, False)[0]


def _run(
    into: tuple[Gates, ...], state_dgehi: Array, bias_deh: Array, mix: _Arrays, keep: bool
) -> tuple[_Arrays, _Arrays]:
    """Mixed outputs and, if they are to be kept, the states ahead of each step `[u, e, b, h]`."""
    u, b, _, h = into[0].new.shape
    states = _start(into)

    def step(t: Array, carry: tuple[_Arrays, _Arrays, _Arrays]) -> tuple[_Arrays, _Arrays, _Arrays]:
        states, mixed, before = carry
        parts = zip(states, _at(t, into), state_dgehi, bias_deh, strict=True)
        after = tuple(_cell(*part).after for part in parts)
        mixed = _put(t, mixed, tuple(map(_mixed, after, _at(t, mix))))
        return after, mixed, _put(t, before, states) if keep else ()

    mixed = tuple(_blank((u, b, h), one.new) for one in into)
    before = tuple(
        _blank((u, *x_ebh.shape), one.new) for x_ebh, one in zip(states, into, strict=True)
    )
    _, mixed, before = jax.lax.fori_loop(0, u, step, (states, mixed, before if keep else ()))
    return mixed, before


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


def _start(into: tuple[Gates, ...]) -> _Arrays:
    return tuple(jnp.zeros_like(gates.new[0].swapaxes(0, 1)) for gates in into)


def _mixed(state_ebh: Array, mix_be: Array) -> Array:
    return (state_ebh * mix_be.T[..., None]).sum(axis=0)


def _cell(state_ebh: Array, into: Gates, weights_gehi: Array, bias_eh: Array) -> _Cell:
    x_reset, x_update, x_new = (x_beh.swapaxes(0, 1) for x_beh in into)
    s_reset, s_update, s_new = (_product("ebh,ehi->ebi", state_ebh, w) for w in weights_gehi)
    reset, update = jax.nn.sigmoid(x_reset + s_reset), jax.nn.sigmoid(x_update + s_update)
    s_new = s_new + bias_eh[:, None]
    new = jnp.tanh(x_new + reset * s_new)
    return _Cell(new + update * (state_ebh - new), reset, update, new, s_new)


def _product(equation: str, a: Array, b: Array) -> Array:
    return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)


class _Saved(NamedTuple):
    """Arrays that the gradient needs."""

    into: tuple[Gates, ...]
    state_dgehi: Array
    bias_deh: Array
    mix: _Arrays
    before: _Arrays  # states ahead of each step, [u, e, b, h]


def _forward(
    into: tuple[Gates, ...], state_dgehi: Array, bias_deh: Array, mix: _Arrays
) -> tuple[_Arrays, _Saved]:
    mixed, before = _run(into, state_dgehi, bias_deh, mix, True)
    return mixed, _Saved(into, state_dgehi, bias_deh, mix, before)


def _backward(saved: _Saved, g: _Arrays) -> tuple[tuple[Gates, ...], Array, Array, _Arrays]:
    weights = saved.state_dgehi, saved.bias_deh
    u = len(g[0])

    def step(i: Array, carry: _Tree) -> _Tree:
        ahead, dinto, dstate_new, dmix = carry
        t = u - 1 - i
        # read before they are written over
        now = jax.lax.optimization_barrier(_at(t, (saved.before, dinto, saved.mix, g)))
        ahead, found = zip(*map(_cell_backward, ahead, *weights, *now), strict=True)
        return ahead, *_put(t, (dinto, dstate_new, dmix), tuple(zip(*found, strict=True)))

    last = tuple(jnp.zeros_like(before_uebh[0]) for before_uebh in saved.before)
    # gradients of the gates' inputs take the place of the inputs
    start = last, saved.into, _blanks(saved.before, g), _blanks(saved.mix, g)
    _, dinto, dstate_new, dmix = jax.lax.fori_loop(0, u, step, start)
    before, dinto, dstate_new = jax.lax.optimization_barrier((saved.before, dinto, dstate_new))
    dstate = [_weights(*parts) for parts in zip(before, dinto, dstate_new, strict=True)]
    dbias = [d_uebh.sum(axis=(0, 2)) for d_uebh in dstate_new]
    return dinto, jnp.stack(dstate), jnp.stack(dbias), dmix


def _blanks(arrays: _Arrays, like: _Arrays) -> _Arrays:
    return tuple(_blank(x.shape, one) for x, one in zip(arrays, like, strict=True))


def _cell_backward(
    dafter_ebh: Array,
    weights_gehi: Array,
    bias_eh: Array,
    before_ebh: Array,
    into: Gates,
    mix_be: Array,
    g_bh: Array,
) -> tuple[Array, tuple[Gates, Array, Array]]:
    """Gradients of the state before, of the gates' inputs, of the state's part of new, and of the
    mix.
    """
    after, reset, update, new, s_new = _cell(before_ebh, into, weights_gehi, bias_eh)
    dmix_be = (after * g_bh).sum(axis=-1).T
    dafter_ebh = dafter_ebh + mix_be.T[..., None] * g_bh
    dnew = dafter_ebh * (1 - update) * (1 - new * new)
    dreset = dnew * s_new * reset * (1 - reset)
    dupdate = dafter_ebh * (before_ebh - new) * update * (1 - update)
    dparts = dreset, dupdate, dnew * reset
    through = [
        _product("ebi,ehi->ebh", d_ebi, w) for d_ebi, w in zip(dparts, weights_gehi, strict=True)
    ]
    dinto = Gates(*(d_ebh.swapaxes(0, 1) for d_ebh in (dreset, dupdate, dnew)))
    return dafter_ebh * update + sum(through), (dinto, dparts[2], dmix_be)


def _weights(before_uebh: Array, dinto: Gates, dstate_new: Array) -> Array:
    """Gradient of one direction's weights, all steps at once."""
    dreset, dupdate = (
        _product("uebh,ubei->ehi", before_uebh, d_ubei) for d_ubei in (dinto.reset, dinto.update)
    )
    return jnp.stack([dreset, dupdate, _product("uebh,uebi->ehi", before_uebh, dstate_new)])


mixed_grus.defvjp(_forward, _backward)
