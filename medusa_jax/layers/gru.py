"""Gated recurrent units of many experts and both directions in one loop, mixed by weights.

Plain differentiation of a scan adds to the weights' gradient at every step, and keeps the states of
every expert outside of training too. Here that gradient is one product after the loop, and the
experts' outputs are mixed inside it: without differentiation no state is kept.

Legend: `d` direction, `e` expert, `b` dialogue, `u` utterance of a dialogue, `h` hidden, `g` the
three gates' widths side by side (3·h: reset, update, new).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def backwards(length_b: Int[Array, " b"], utterances: int) -> Int[Array, "b u"]:
    """Positions of each dialogue's utterances from its last to its first, those of its padding
    after them; its own inverse.
    """
    place_u = jnp.arange(utterances)
    return jnp.where(place_u < length_b[:, None], length_b[:, None] - 1 - place_u, place_u)


def alone(
    into_dubeg: Float[Array, "d u b e g"],
    bias_deh: Float[Array, "d e h"],
    mix_dube: Float[Array, "d u b e"],
) -> Float[Array, "d u b h"]:
    """`mixed_grus` where every utterance is a dialogue of its own."""
    reset, update, new = jnp.split(into_dubeg, 3, axis=-1)
    bias = bias_deh[:, None, None]
    new = jnp.tanh(new + jax.nn.sigmoid(reset) * bias)
    return jnp.einsum("dubeh,dube->dubh", (1 - jax.nn.sigmoid(update)) * new, mix_dube)


@jax.custom_vjp
def mixed_grus(
    into_dubeg: Float[Array, "d u b e g"],
    state_dehg: Float[Array, "d e h g"],
    bias_deh: Float[Array, "d e h"],
    mix_dube: Float[Array, "d u b e"],
) -> Float[Array, "d u b h"]:
    """Outputs of the experts' GRUs (PyTorch's equations), each times its `mix`, summed.

    `into` is what the inputs bring to the gates, biases included, in each direction's order of
    utterances: padding stands last in both. `bias` is added to the new state's part before the
    reset gate.
    """

    def step(h_debh: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        into_dbeg, mix_dbe = now
        h_debh = _gates(h_debh, into_dbeg, state_dehg, bias_deh)[0]
        return h_debh, _mixed(h_debh, mix_dbe)

    steps = into_dubeg.swapaxes(0, 1), mix_dube.swapaxes(0, 1)
    return jax.lax.scan(step, _start(into_dubeg, bias_deh), steps)[1].swapaxes(0, 1)


def _start(into_dubeg: Array, bias_deh: Array) -> Array:
    d, e, h = bias_deh.shape
    return jnp.zeros((d, e, into_dubeg.shape[2], h), into_dubeg.dtype)


def _mixed(h_debh: Array, mix_dbe: Array) -> Array:
    return jnp.einsum("debh,dbe->dbh", h_debh, mix_dbe)


def _gates(
    h_debh: Array, into_dbeg: Array, state_dehg: Array, bias_deh: Array
) -> tuple[Array, tuple[Array, ...]]:
    """The next state; reset, update, new, and the state's part of new."""
    x_debg = into_dbeg.swapaxes(1, 2)
    x_reset, x_update, x_new = jnp.split(x_debg, 3, axis=-1)
    s_debg = jnp.einsum("debh,dehg->debg", h_debh, state_dehg)
    s_reset, s_update, s_new = jnp.split(s_debg, 3, axis=-1)
    reset, update = jax.nn.sigmoid(x_reset + s_reset), jax.nn.sigmoid(x_update + s_update)
    s_new = s_new + bias_deh[:, :, None]
    new = jnp.tanh(x_new + reset * s_new)
    return new + update * (h_debh - new), (reset, update, new, s_new)


def _forward(
    into_dubeg: Array, state_dehg: Array, bias_deh: Array, mix_dube: Array
) -> tuple[Array, tuple[Array, ...]]:
    def step(h_debh: Array, now: tuple[Array, Array]) -> tuple[Array, tuple[Array, ...]]:
        into_dbeg, mix_dbe = now
        after_debh, gates = _gates(h_debh, into_dbeg, state_dehg, bias_deh)
        return after_debh, (_mixed(after_debh, mix_dbe), h_debh, *gates)

    steps = into_dubeg.swapaxes(0, 1), mix_dube.swapaxes(0, 1)
    _, (y_udbh, *kept) = jax.lax.scan(step, _start(into_dubeg, bias_deh), steps)
    return y_udbh.swapaxes(0, 1), (state_dehg, mix_dube, *kept)


def _backward(saved: tuple[Array, ...], g_dubh: Array) -> tuple[Array, ...]:
    state_dehg, mix_dube, *kept = saved

    def step(dh_debh: Array, now: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        g_dbh, mix_dbe, h_debh, reset, update, new, s_new = now
        after_debh = new + update * (h_debh - new)
        dmix_dbe = jnp.einsum("debh,dbh->dbe", after_debh, g_dbh)
        dh_debh = dh_debh + mix_dbe.swapaxes(1, 2)[..., None] * g_dbh[:, None]
        dnew = dh_debh * (1 - update) * (1 - new * new)
        dreset = dnew * s_new * reset * (1 - reset)
        dupdate = dh_debh * (h_debh - new) * update * (1 - update)
        ds_debg = jnp.concatenate([dreset, dupdate, dnew * reset], axis=-1)
        before_debh = dh_debh * update + jnp.einsum("debg,dehg->debh", ds_debg, state_dehg)
        dx_dbeg = jnp.concatenate([dreset, dupdate, dnew], axis=-1).swapaxes(1, 2)
        return before_debh, (dmix_dbe, dx_dbeg, ds_debg)

    steps = (g_dubh.swapaxes(0, 1), mix_dube.swapaxes(0, 1), *kept)
    last = jnp.zeros_like(kept[0][0])
    _, (dmix_udbe, dx_udbeg, ds_udebg) = jax.lax.scan(step, last, steps, reverse=True)
    dstate_dehg = jnp.einsum("udebh,udebg->dehg", kept[0], ds_udebg)
    h = kept[0].shape[-1]
    dbias_deh = ds_udebg[..., 2 * h :].sum(axis=(0, 3))
    return dx_udbeg.swapaxes(0, 1), dstate_dehg, dbias_deh, dmix_udbe.swapaxes(0, 1)


mixed_grus.defvjp(_forward, _backward)
