"""The positional convolution's own gradient, against XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.backbones.positions import grouped


def plain(x_bth, w_kih, groups):
    taps = len(w_kih)
    return jax.lax.conv_general_dilated(
        x_bth,
        w_kih,
        (1,),
        [(taps // 2, taps // 2 - (taps % 2 == 0))],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
    )


@pytest.mark.parametrize("taps", [1, 5, 8])
@pytest.mark.parametrize("groups", [1, 4])
def test_gradients_are_xlas(taps, groups):
    k_x, k_w, k_g = jax.random.split(jax.random.key(taps + groups), 3)
    x_bth = jax.random.normal(k_x, (2, 21, 16))
    w_kih = jax.random.normal(k_w, (taps, 16 // groups, 16))
    along_bth = jax.random.normal(k_g, x_bth.shape)
    found, pull = jax.vjp(lambda x, w: grouped(x, w, groups, jnp.float32), x_bth, w_kih)
    wanted, own = jax.vjp(lambda x, w: plain(x, w, groups), x_bth, w_kih)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    for one, other in zip(pull(along_bth), own(along_bth), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)
