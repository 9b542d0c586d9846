"""The experts' loop against PyTorch's GRU, and its gradient against plain differentiation."""

from functools import partial
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.layers.gru import Gates, Weights, alone, mixed_grus

D, E, U, B, H = 2, 3, 5, 4, 6
ALL = jnp.ones((U, B), bool)


def inputs(seed=0):
    """Of two directions."""
    rng = np.random.default_rng(seed)

    def drawn(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    into = tuple(Gates(*(drawn(U, B, E, H) for _ in range(3))) for _ in range(D))
    mix = tuple(drawn(U, B, E) for _ in range(D))
    parts = (3, E, H, H), (3, E, H), (E, H)
    weights = tuple(Weights(*(drawn(*shape) for shape in parts)) for _ in range(D))
    return into, weights, mix


def plainly(into, weights, mix, follows):
    """The equations, one utterance after the other."""
    found = []
    for gates, own, weight in zip(into, weights, mix, strict=True):
        h, outputs = jnp.zeros((B, E, H)), []
        for u in range(len(gates.new)):
            x_r, x_z, x_n = (x[u] + bias for x, bias in zip(gates, own.into_geh, strict=True))
            s_r, s_z, s_n = (jnp.einsum("beh,ehi->bei", h, w) for w in own.state_gehi)
            r, z = jax.nn.sigmoid(x_r + s_r), jax.nn.sigmoid(x_z + s_z)
            h = z * h + (1 - z) * jnp.tanh(x_n + r * (s_n + own.state_eh))
            outputs.append((h * weight[u][..., None]).sum(axis=1))
            h = h * follows[u][:, None, None]
        found.append(jnp.stack(outputs))
    return tuple(found)


@pytest.mark.parametrize("share", [0.6, 1])
def test_outputs_and_gradients_of_the_equations(share):
    given, rng = inputs(), np.random.default_rng(1)
    follows = jnp.asarray(rng.random((U, B)) < share)
    seen = rng.normal(size=(D, U, B, H))

    def loss(run, *given):
        return (jnp.stack(run(*given, follows)) * seen).sum()

    found, wanted = (
        jax.jit(jax.value_and_grad(partial(loss, run), argnums=(0, 1, 2)))(*given)
        for run in (mixed_grus, plainly)
    )
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(mixed_grus(*given, follows), plainly(*given, follows), atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), found[1], wanted[1])


def test_members_side_by_side():
    """Under `vmap` each gets what it gets alone."""
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), inputs(0), inputs(1))

    def gradients(*given):
        def loss(*own):
            return (jnp.stack(mixed_grus(*own, ALL)) ** 2).sum()

        return jax.grad(loss, argnums=(0, 1, 2))(*given)

    together = jax.jit(jax.vmap(gradients))(*both)
    for i in range(2):
        own = jax.tree.map(itemgetter(i), together)
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), own, gradients(*inputs(i)))


def test_outputs_of_pytorch():
    torch = pytest.importorskip("torch", reason="needs the extra `torch`")
    into, weights, mix = inputs()
    state_gehi, into_geh, state_eh = weights[0]
    gru = torch.nn.GRU(3 * H, H)  # the identity passes the gates' inputs on
    with torch.no_grad():
        gru.weight_ih_l0.copy_(torch.eye(3 * H))
        gru.bias_ih_l0.copy_(torch.tensor(np.concatenate(into_geh[:, 1])))
        gru.weight_hh_l0.copy_(torch.tensor(np.concatenate(state_gehi[:, 1].swapaxes(1, 2))))
        gru.bias_hh_l0.copy_(torch.tensor(np.concatenate([np.zeros(2 * H), state_eh[1]])))
        gates = np.concatenate([x_ubeh[:, :, 1] for x_ubeh in into[0]], axis=-1)
        wanted, _ = gru(torch.tensor(gates))
    only = jnp.zeros_like(mix[0]).at[..., 1].set(1)
    np.testing.assert_allclose(mixed_grus(into, weights, (only, only), ALL)[0], wanted, atol=1e-6)


def test_an_utterance_alone_is_a_dialogue_of_one():
    into, weights, mix = inputs()
    found = [alone(*one) for one in zip(into, weights, mix, strict=True)]
    for u in range(U):
        one = jax.tree.map(lambda x, u=u: x[u : u + 1], (into, mix))
        own = mixed_grus(one[0], weights, one[1], ALL[:1])
        np.testing.assert_allclose([y[u] for y in found], [y[0] for y in own], atol=1e-6)
