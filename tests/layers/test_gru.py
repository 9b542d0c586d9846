"""The experts' loop against PyTorch's GRU, and its gradient against plain differentiation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.layers.gru import alone, backwards, mixed_grus

D, E, U, B, H = 2, 3, 5, 4, 6


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    shapes = (D, U, B, E, 3 * H), (D, E, H, 3 * H), (D, E, H), (D, U, B, E)
    return tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)


def plainly(into, state, bias, mix):
    """The equations, one utterance after the other."""
    h, outputs = jnp.zeros((D, B, E, H)), []
    for u in range(into.shape[1]):
        x_r, x_z, x_n = jnp.split(into[:, u], 3, axis=-1)
        s_r, s_z, s_n = jnp.split(jnp.einsum("dbeh,dehg->dbeg", h, state), 3, axis=-1)
        r, z = jax.nn.sigmoid(x_r + s_r), jax.nn.sigmoid(x_z + s_z)
        h = z * h + (1 - z) * jnp.tanh(x_n + r * (s_n + bias[:, None]))
        outputs.append((h * mix[:, u][..., None]).sum(axis=2))
    return jnp.stack(outputs, axis=1)


def test_outputs_and_gradients_of_the_equations():
    given = inputs()
    seen = jnp.asarray(np.random.default_rng(1).normal(size=(D, U, B, H)), jnp.float32)

    def loss(run, *given):
        return (run(*given) * seen).sum()

    found, wanted = (
        jax.jit(jax.value_and_grad(partial(loss, run), argnums=(0, 1, 2, 3)))(*given)
        for run in (mixed_grus, plainly)
    )
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(mixed_grus(*given), plainly(*given), atol=1e-5)
    for own, other in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


def test_members_side_by_side():
    """Under `vmap` each gets what it gets alone."""
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), inputs(0), inputs(1))

    def gradients(*given):
        return jax.grad(lambda *own: (mixed_grus(*own) ** 2).sum(), argnums=(0, 1, 2, 3))(*given)

    together = jax.jit(jax.vmap(gradients))(*both)
    for i in range(2):
        for own, other in zip(together, gradients(*inputs(i)), strict=True):
            np.testing.assert_allclose(own[i], other, atol=1e-4)


def test_outputs_of_pytorch():
    torch = pytest.importorskip("torch", reason="needs the extra `torch`")
    into, state, bias, mix = inputs()
    gru = torch.nn.GRU(3 * H, H)  # the identity passes the gates' inputs on
    with torch.no_grad():
        gru.weight_ih_l0.copy_(torch.eye(3 * H))
        gru.bias_ih_l0.zero_()
        gru.weight_hh_l0.copy_(torch.tensor(np.asarray(state[0, 1].T)))
        gru.bias_hh_l0.copy_(torch.tensor(np.concatenate([np.zeros(2 * H), bias[0, 1]])))
        wanted, _ = gru(torch.tensor(np.asarray(into[0, :, :, 1])))
    only = jnp.zeros_like(mix).at[0, :, :, 1].set(1)
    np.testing.assert_allclose(mixed_grus(into, state, bias, only)[0], wanted, atol=1e-6)


def test_an_utterance_alone_is_a_dialogue_of_one():
    into, state, bias, mix = inputs()
    found = alone(into, bias, mix)
    for u in range(U):
        own = mixed_grus(into[:, u : u + 1], state, bias, mix[:, u : u + 1])
        np.testing.assert_allclose(found[:, u], own[:, 0], atol=1e-6)


def test_backwards_leaves_padding_behind():
    order = np.asarray(backwards(jnp.array([4, 1, 0]), 4))
    assert order.tolist() == [[3, 2, 1, 0], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert np.asarray(backwards(jnp.array([2]), 4)).tolist() == [[1, 0, 2, 3]]
