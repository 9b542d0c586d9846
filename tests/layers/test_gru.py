"""The experts' loop against PyTorch's GRU, and its gradient against plain differentiation."""

from functools import partial
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.layers.gru import Gates, alone, backwards, mixed_grus

D, E, U, B, H = 2, 3, 5, 4, 6


def inputs(seed=0):
    """Of two directions."""
    rng = np.random.default_rng(seed)

    def drawn(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    into = tuple(Gates(*(drawn(U, B, E, H) for _ in range(3))) for _ in range(D))
    mix = tuple(drawn(U, B, E) for _ in range(D))
    return into, drawn(D, 3, E, H, H), drawn(D, E, H), mix


def plainly(into, state, bias, mix):
    """The equations, one utterance after the other."""
    found = []
    for d, gates in enumerate(into):
        h, outputs = jnp.zeros((B, E, H)), []
        for u in range(len(gates.new)):
            s_r, s_z, s_n = (jnp.einsum("beh,ehi->bei", h, w) for w in state[d])
            r, z = jax.nn.sigmoid(gates.reset[u] + s_r), jax.nn.sigmoid(gates.update[u] + s_z)
            h = z * h + (1 - z) * jnp.tanh(gates.new[u] + r * (s_n + bias[d]))
            outputs.append((h * mix[d][u][..., None]).sum(axis=1))
        found.append(jnp.stack(outputs))
    return tuple(found)


def test_outputs_and_gradients_of_the_equations():
    given = inputs()
    seen = np.random.default_rng(1).normal(size=(D, U, B, H))

    def loss(run, *given):
        return (jnp.stack(run(*given)) * seen).sum()

    found, wanted = (
        jax.jit(jax.value_and_grad(partial(loss, run), argnums=(0, 1, 2, 3)))(*given)
        for run in (mixed_grus, plainly)
    )
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(mixed_grus(*given), plainly(*given), atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), found[1], wanted[1])


def test_members_side_by_side():
    """Under `vmap` each gets what it gets alone."""
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), inputs(0), inputs(1))

    def gradients(*given):
        def loss(*own):
            return (jnp.stack(mixed_grus(*own)) ** 2).sum()

        return jax.grad(loss, argnums=(0, 1, 2, 3))(*given)

    together = jax.jit(jax.vmap(gradients))(*both)
    for i in range(2):
        own = jax.tree.map(itemgetter(i), together)
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), own, gradients(*inputs(i)))


def test_outputs_of_pytorch():
    torch = pytest.importorskip("torch", reason="needs the extra `torch`")
    into, state, bias, mix = inputs()
    gru = torch.nn.GRU(3 * H, H)  # the identity passes the gates' inputs on
    with torch.no_grad():
        gru.weight_ih_l0.copy_(torch.eye(3 * H))
        gru.bias_ih_l0.zero_()
        gru.weight_hh_l0.copy_(torch.tensor(np.concatenate(state[0, :, 1].swapaxes(1, 2))))
        gru.bias_hh_l0.copy_(torch.tensor(np.concatenate([np.zeros(2 * H), bias[0, 1]])))
        gates = np.concatenate([x_ubeh[:, :, 1] for x_ubeh in into[0]], axis=-1)
        wanted, _ = gru(torch.tensor(gates))
    only = jnp.zeros_like(mix[0]).at[..., 1].set(1)
    np.testing.assert_allclose(mixed_grus(into, state, bias, (only, only))[0], wanted, atol=1e-6)


def test_an_utterance_alone_is_a_dialogue_of_one():
    into, state, bias, mix = inputs()
    found = [alone(*one) for one in zip(into, bias, mix, strict=True)]
    for u in range(U):
        one = jax.tree.map(lambda x, u=u: x[u : u + 1], (into, mix))
        own = mixed_grus(one[0], state, bias, one[1])
        np.testing.assert_allclose([y[u] for y in found], [y[0] for y in own], atol=1e-6)


def test_backwards_leaves_padding_behind():
    order = np.asarray(backwards(jnp.array([4, 1, 0]), 4))
    assert order.tolist() == [[3, 2, 1, 0], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert np.asarray(backwards(jnp.array([2]), 4)).tolist() == [[1, 0, 2, 3]]
