"""The formula counts what XLA counts, and by hand what an encoder costs."""

import jax
import numpy as np
import pytest
from flax import nnx

from medusa_jax.config.model import ModelConfig
from medusa_jax.models.deepser import DeepSER
from medusa_jax.models.flops import forward_flops, training_flops

WIDTHS = {"speech": 48, "text": 32}
SIZES = dict(hidden=64, feedforward=128, heads=1)


def counted_by_xla(config: ModelConfig, batch: int, frames: dict[str, int]) -> float:
    """Operations a batch in one forward pass, products and all else."""
    model = DeepSER(config, list(WIDTHS.values()), 8, rngs=nnx.Rngs(0))
    inputs = [np.zeros((batch, frames[name], width), np.float32) for name, width in WIDTHS.items()]
    lengths = [np.full(batch, frames[name], np.int32) for name in WIDTHS]
    graph, state = nnx.split(model)
    lowered = jax.jit(lambda s, x, n: nnx.merge(graph, s)(x, n)).lower(state, inputs, lengths)
    return float(lowered.cost_analysis()["flops"])


@pytest.mark.parametrize(
    "config",
    [ModelConfig(**SIZES), ModelConfig(**SIZES, fusion="late"), ModelConfig(**SIZES, layers=1)],
    ids=str,
)
def test_the_formula_is_what_xla_counts_less_what_is_no_product(config):
    frames = {"speech": 200, "text": 40}
    ours = 4 * forward_flops(config, list(WIDTHS.values()), list(frames.values()))
    assert 1.0 < counted_by_xla(config, 4, frames) / ours < 1.12


def test_one_encoder_by_hand():
    config = ModelConfig(hidden=8, feedforward=16, layers=1, fusion="late")
    # 10 frames of 4: 2·(4·8 + 8·8) = 192 a frame into it; 2·(4·64 + 2·8·16) = 1024 and 4·8·10 = 320
    # in the layer; 2·64 for the projection
    assert forward_flops(config, [4], [10]) == 10 * (192 + 1024 + 320) + 128
    assert training_flops(config, [4], [10]) == 3 * forward_flops(config, [4], [10])


def test_stacked_frames_are_fewer_and_wider():
    config = ModelConfig(**SIZES)
    assert forward_flops(config, [16], [101], [2]) == forward_flops(config, [32], [51])
    assert forward_flops(config, [16], [100], [4]) < forward_flops(config, [16], [100]) / 3


def test_work_grows_with_frames_a_little_faster_than_in_proportion():
    config = ModelConfig()
    one, two = (forward_flops(config, [1024, 1024], [n, 40]) for n in (200, 400))
    assert 1.6 < two / one < 2.4
