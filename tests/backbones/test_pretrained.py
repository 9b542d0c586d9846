"""Any ported speech encoder as a part of a model: waves in, states out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_corpus import waves

from medusa_jax.audio.chunks import padded
from medusa_jax.backbones.pretrained import Backbone, encoder_flops

pytest.importorskip("torch")
from small_models import save_model

NAMES = ("wavlm-large", "whisper")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {name: save_model(name, place / name, "tiny") for name in NAMES}


@pytest.fixture(scope="module")
def backbones(folders):
    return {name: Backbone(folders[name], rngs=nnx.Rngs(0)) for name in NAMES}


@pytest.fixture(scope="module")
def run():
    """A backbone's states, compiled once for each shape."""
    compiled = nnx.jit(lambda backbone, x, lengths: backbone(x, lengths))
    return lambda backbone, x, lengths: compiled(backbone, jnp.asarray(x), jnp.asarray(lengths))


@pytest.mark.parametrize("name", NAMES)
def test_a_slot_without_audio_is_one_frame_of_silence(backbones, run, name):
    """Of an utterance whose extraction failed, beside others and in a batch of nothing else."""
    wave = waves(1)[0][:1600]
    x_bn1 = padded([wave, np.zeros(1, np.float32)])[:, :, None]
    found = run(backbones[name], x_bn1, [len(wave), 0])
    assert np.isfinite(found.states_lbth).all()
    assert found.valid_bt.sum(axis=1).tolist()[1] == 1
    short = run(backbones[name], x_bn1[1:, :8], [0])
    assert short.valid_bt.shape == (1, 1)
    states = found.states_lbth[:, 1, :1]
    np.testing.assert_allclose(short.states_lbth[:, 0], states, atol=1e-4)


def test_operations_of_the_layers_and_of_the_convolutions(folders, backbones):
    """By hand for ten frames of width 16, 37 wide, three layers; seven convolutions of 16."""
    layers = 3 * 10 * (2 * (4 * 16 * 16 + 2 * 16 * 37) + 2 * 2 * 16 * 10)
    folder = folders["wavlm-large"]
    assert encoder_flops(folder, 10, wave=False) == layers
    kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
    products, frames = 0, 10.0
    for place in reversed(range(7)):
        products += 2 * frames * kernels[place] * (16 if place else 1) * 16
        frames *= strides[place]
    assert encoder_flops(folder, 10, wave=True) == pytest.approx(layers + products)
    assert encoder_flops(folders["whisper"], 10, True, "real") == layers
    full = encoder_flops(folders["whisper"], 10, True, "full")
    assert full == encoder_flops(folders["whisper"], 50, True, "real")


def test_only_shapes_are_made_where_weights_are_not_wanted(folders, tmp_path):
    (tmp_path / "config.json").write_text((folders["wavlm-large"] / "config.json").read_text())
    made = nnx.eval_shape(lambda: Backbone(tmp_path, rngs=nnx.Rngs(0), published=False))
    whole = Backbone(folders["wavlm-large"], rngs=nnx.Rngs(0))
    shapes = [jax.tree.map(lambda x: x.shape, nnx.state(one, nnx.Param)) for one in (made, whole)]
    assert jax.tree.leaves(shapes[0]) == jax.tree.leaves(shapes[1])
