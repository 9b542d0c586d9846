"""Rates by layer of an encoder, on parameters as a model has them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from medusa_jax.config.finetuning import FinetuningConfig
from medusa_jax.tasks.layer_rates import layerwise

RATE, LAYERS = 1e-2, 3


def parameters(value=1.0):
    """Weights of three stacked layers, of what is below them, and of a head."""
    return {
        "backbones": {
            0: {
                "encoder": {
                    "layers": {"wide": jnp.full((LAYERS, 4), value)},
                    "positions": jnp.full((4,), value),
                }
            }
        },
        "classify": jnp.full((4,), value),
    }


def config_of(**settings):
    return FinetuningConfig(backbones={"wave": "hf:nowhere"}, **settings)


def trained(steps, gradient=None, decay=0.1, opened=lambda step: np.inf, clip=None, **settings):
    """Parameters after so many steps of constant gradients, and the last step's own change."""
    params, config = parameters(), config_of(**settings)
    gradient, state, change = gradient or parameters(), None, None
    for step in range(steps):
        made = layerwise(RATE, decay, opened(step), clip, config=config)
        state = made.init(params) if state is None else state
        change, state = made.update(gradient, state, params)
        params = optax.apply_updates(params, change)
    return params, change


def parts(tree):
    encoder = tree["backbones"][0]["encoder"]
    found = [*np.asarray(encoder["layers"]["wide"])[:, 0], encoder["positions"][0]]
    return np.array([*found, tree["classify"][0]], np.float64)


def test_rates_fall_from_the_top_and_heads_have_their_own():
    """A first step of AdamW is the rate times (sign + decay · weight)."""
    _, change = trained(1, layer_decay=0.5, head_factor=10.0)
    wanted = -RATE * 1.1 * np.array([0.25, 0.5, 1.0, 0.125, 10.0])
    np.testing.assert_allclose(parts(change), wanted, rtol=1e-5)


def test_without_settings_it_is_adamw():
    found, _ = trained(7)
    params, plain = parameters(), optax.adamw(RATE, weight_decay=0.1)
    state = plain.init(params)
    for _ in range(7):
        change, state = plain.update(parameters(), state, params)
        params = optax.apply_updates(params, change)
    jax.tree.map(np.testing.assert_array_equal, found, params)


@pytest.mark.parametrize("top", range(LAYERS + 1))
def test_layers_below_the_top_ones_never_change_even_by_decay(top):
    moved = parts(trained(3, top_layers=top)[0]) != 1
    wanted = [*(layer >= LAYERS - top for layer in range(LAYERS)), False, True]
    np.testing.assert_array_equal(moved, wanted)


def test_layers_open_one_by_one():
    """After each step a layer more, at last what lies below all of them."""
    for opened, wanted in ((1, "00101"), (2, "01101"), (3, "11101"), (4, "11111")):
        moved = parts(trained(1, opened=lambda _, n=opened: float(n))[0]) != 1
        np.testing.assert_array_equal(moved, [mark == "1" for mark in wanted])


def test_a_layer_that_opens_late_begins_with_steps_of_its_rate():
    """Not with moments of zero whose bias was corrected long before, and steps three times and more
    the rate.
    """
    params, config = parameters(), config_of()
    update = jax.jit(
        lambda opened, *rest: layerwise(RATE, 0.0, opened, config=config).update(*rest)
    )
    state = layerwise(RATE, 0.0, config=config).init(params)
    for step in range(130):
        change, state = update(1.0 if step < 100 else np.inf, parameters(), state, params)
        wanted = -RATE * np.array([step >= 100, step >= 100, 1, step >= 100, 1])
        np.testing.assert_allclose(parts(change), wanted, rtol=1e-3)


def test_the_clip_bounds_what_is_trained_alone():
    """Gradients of closed layers are as large as may be: the others' steps stay the same."""
    gradient = parameters(0.01)
    wide = gradient["backbones"][0]["encoder"]["layers"]["wide"]
    gradient["backbones"][0]["encoder"]["layers"]["wide"] = wide.at[0].set(1e6)
    plain, _ = trained(3, parameters(0.01), opened=lambda _: 2.0, clip=0.1)
    found, _ = trained(3, gradient, opened=lambda _: 2.0, clip=0.1)
    np.testing.assert_allclose(parts(found), parts(plain), rtol=1e-6)


def test_the_clip_scales_gradients_to_the_norm():
    """AdamW's second step tells how the first gradient compares with the second."""
    params, config = parameters(), config_of()
    made = layerwise(RATE, 0.0, np.inf, 1.0, config=config)
    plain = layerwise(RATE, 0.0, np.inf, config=config)
    small, large = parameters(0.01), parameters(5.0)
    share = 1.0 / np.sqrt(sum((np.asarray(x) ** 2).sum() for x in jax.tree.leaves(large)))
    states, changes = [made.init(params), plain.init(params)], []
    for gradients in ((large, parameters(5.0 * share)), (small, small)):
        pairs = zip((made, plain), gradients, states, strict=True)
        done = [one.update(gradient, state, params) for one, gradient, state in pairs]
        states, changes = [state for _, state in done], [change for change, _ in done]
    np.testing.assert_allclose(parts(changes[0]), parts(changes[1]), rtol=1e-5)


def test_low_rank_parts_have_their_layers_rate():
    tree = {"backbones": {0: {"layers": {"query": {"down": jnp.ones((LAYERS, 2, 2))}}}}}
    made = layerwise(RATE, 0.0, config=config_of(lora=2, layer_decay=0.5))
    change, _ = made.update(tree, made.init(tree), tree)
    found = np.asarray(jax.tree.leaves(change)[0])[:, 0, 0]
    np.testing.assert_allclose(found, -RATE * np.array([0.25, 0.5, 1.0]), rtol=1e-5)
