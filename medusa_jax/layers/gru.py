"""Gated recurrent units of many experts and both directions in one loop, mixed by weights.

Plain differentiation of a scan adds to the weights' gradient at every step, and keeps the states of
every expert outside of training too. Here that gradient is one product after the loop, and the
experts' outputs are mixed inside it: without differentiation no state is kept. Each gate has an
array of its own: XLA for CPUs computes gates cut from one array ten times as slowly.

Legend: `u` utterance of a dialogue, `b` dialogue, `e` expert, `h` and `i` hidden, `d` direction,
`g` gate (reset, update, new). Tuples run over directions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Gates(NamedTuple):
    """What the inputs bring to each gate, biases included."""

    reset: Float[Array, "u b e h"]
    update: Float[Array, "u b e h"]
    new: Float[Array, "u b e h"]


class _Kept(NamedTuple):
    """Arrays of each step that the gradient needs, `[u, e, b, h]`."""

    before: Array  # the state
    reset: Array
    update: Array
    new: Array
    state_new: Array  # the state's part of new


_Arrays = tuple[Array, ...]


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

    def step(states: _Arrays, now: tuple[tuple[Gates, ...], _Arrays]) -> tuple[_Arrays, _Arrays]:
        parts = zip(states, now[0], state_dgehi, bias_deh, strict=True)
        after = tuple(_cell(*part)[0] for part in parts)
        return after, tuple(map(_mixed, after, now[1]))

    return jax.lax.scan(step, _start(into), (into, mix))[1]


def _start(into: tuple[Gates, ...]) -> _Arrays:
    return tuple(jnp.zeros_like(gates.new[0].swapaxes(0, 1)) for gates in into)


def _mixed(state_ebh: Array, mix_be: Array) -> Array:
    return (state_ebh * mix_be.T[..., None]).sum(axis=0)


def _cell(
    state_ebh: Array, into: Gates, weights_gehi: Array, bias_eh: Array
) -> tuple[Array, _Kept]:
    """The next state."""
    x_reset, x_update, x_new = (x_beh.swapaxes(0, 1) for x_beh in into)
    s_reset, s_update, s_new = (_product("ebh,ehi->ebi", state_ebh, w) for w in weights_gehi)
    reset, update = jax.nn.sigmoid(x_reset + s_reset), jax.nn.sigmoid(x_update + s_update)
    s_new = s_new + bias_eh[:, None]
    new = jnp.tanh(x_new + reset * s_new)
    return new + update * (state_ebh - new), _Kept(state_ebh, reset, update, new, s_new)


def _product(equation: str, a: Array, b: Array) -> Array:
    return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)


def _forward(
    into: tuple[Gates, ...], state_dgehi: Array, bias_deh: Array, mix: _Arrays
) -> tuple[_Arrays, tuple[tuple[_Kept, ...], Array, _Arrays]]:
    def step(
        states: _Arrays, now: tuple[tuple[Gates, ...], _Arrays]
    ) -> tuple[_Arrays, tuple[_Arrays, tuple[_Kept, ...]]]:
        parts = zip(states, now[0], state_dgehi, bias_deh, strict=True)
        after, kept = zip(*(_cell(*part) for part in parts), strict=True)
        return after, (tuple(map(_mixed, after, now[1])), kept)

    _, (mixed, kept) = jax.lax.scan(step, _start(into), (into, mix))
    return mixed, (kept, state_dgehi, mix)


def _backward(
    saved: tuple[tuple[_Kept, ...], Array, _Arrays], g: _Arrays
) -> tuple[tuple[Gates, ...], Array, Array, _Arrays]:
    kept, state_dgehi, mix = saved

    def step(
        ahead: _Arrays, now: tuple[tuple[_Kept, ...], _Arrays, _Arrays]
    ) -> tuple[_Arrays, tuple[tuple[Gates, Array, Array], ...]]:
        before, found = zip(*map(_cell_backward, ahead, state_dgehi, *now), strict=True)
        return before, found

    last = tuple(jnp.zeros_like(one.before[0]) for one in kept)
    _, found = jax.lax.scan(step, last, (kept, mix, g), reverse=True)
    dinto, dstate_new, dmix = zip(*found, strict=True)
    dstate = [_weights(*parts) for parts in zip(kept, dinto, dstate_new, strict=True)]
    dbias = [d_uebh.sum(axis=(0, 2)) for d_uebh in dstate_new]
    return dinto, jnp.stack(dstate), jnp.stack(dbias), dmix


def _cell_backward(
    dafter_ebh: Array, weights_gehi: Array, kept: _Kept, mix_be: Array, g_bh: Array
) -> tuple[Array, tuple[Gates, Array, Array]]:
    """Gradients of the state before, of the gates' inputs, of the state's part of new, and of the
    mix.
    """
    before, reset, update, new, s_new = kept
    dmix_be = ((new + update * (before - new)) * g_bh).sum(axis=-1).T
    dafter_ebh = dafter_ebh + mix_be.T[..., None] * g_bh
    dnew = dafter_ebh * (1 - update) * (1 - new * new)
    dreset = dnew * s_new * reset * (1 - reset)
    dupdate = dafter_ebh * (before - new) * update * (1 - update)
    dparts = dreset, dupdate, dnew * reset
    through = [
        _product("ebi,ehi->ebh", d_ebi, w) for d_ebi, w in zip(dparts, weights_gehi, strict=True)
    ]
    dinto = Gates(*(d_ebh.swapaxes(0, 1) for d_ebh in (dreset, dupdate, dnew)))
    return dafter_ebh * update + sum(through), (dinto, dparts[2], dmix_be)


def _weights(kept: _Kept, dinto: Gates, dstate_new: Array) -> Array:
    """Gradient of one direction's weights, all steps at once."""
    dreset, dupdate = (
        _product("uebh,ubei->ehi", kept.before, d_ubei) for d_ubei in (dinto.reset, dinto.update)
    )
    return jnp.stack([dreset, dupdate, _product("uebh,uebi->ehi", kept.before, dstate_new)])


mixed_grus.defvjp(_forward, _backward)
