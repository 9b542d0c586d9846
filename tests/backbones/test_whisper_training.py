"""Whisper's encoder in training: noise, low-rank parts, and layers that stay as they are."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from medusa_jax.backbones import whisper
from medusa_jax.backbones.noise import Rates, draw_noise
from medusa_jax.backbones.whisper import WhisperEncoder
from medusa_jax.backbones.whisper_config import FRAME, read_config
from medusa_jax.backbones.whisper_weights import fill_encoder, load_encoder

torch = pytest.importorskip("torch")
from small_whisper_encoders import energies, save_encoder, waves  # noqa: E402
from transformers.models.whisper import modeling_whisper  # noqa: E402

KEY = jax.random.key(6)
SPANS = {"mask_time_prob": 0.3, "mask_time_length": 7, "mask_feature_prob": 0.2}
run = nnx.jit(lambda model, wave, samples, key: model(wave, samples, key=key).states_lbth)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """PyTorch's model, its feature extractor and the folder of both."""
    folder = tmp_path_factory.mktemp("model")
    return *save_encoder("80 bands", folder), folder


def noisy(folder, window="full", **rates):
    """The encoder as published, with this noise alone."""
    config = replace(read_config(folder), rates=Rates(**rates))
    model = WhisperEncoder(config, window, rngs=nnx.Rngs(0))
    fill_encoder(model, folder)
    return model


def test_the_published_rates_are_those_of_the_configuration():
    given = {"dropout": 0.1, "encoder_layerdrop": 0.2, "activation_dropout": 0.3, "d_model": 8}
    rates = Rates.of_whisper(given | {"mask_time_prob": 0.5})
    wanted = {"hidden_dropout": 0.1, "layerdrop": 0.2, "activation_dropout": 0.3}
    assert rates == Rates(**wanted), "SpecAugment is off unless it is asked for"
    asked = Rates.of_whisper({"apply_spec_augment": True, "mask_feature_prob": 0.1})
    assert asked == Rates(mask_time_prob=0.05, mask_feature_prob=0.1)


def test_masked_spans_and_skipped_layers_are_transformers(saved, monkeypatch):
    """Of equal masks every state is PyTorch's in training."""
    model, feeder, folder = saved
    wave_bn, samples_b = waves(feeder.n_samples)
    ours = noisy(folder, layerdrop=0.5, **SPANS)
    found = run(ours, wave_bn, samples_b, KEY)
    valid_bt = np.arange(100) < 2 * -(-samples_b // FRAME)[:, None]
    noise = draw_noise(ours.config.rates, KEY, 3, jnp.asarray(valid_bt), 80)
    assert noise.masked_bt[0].any()
    assert noise.masked_bd.any(axis=1).all()
    assert not noise.masked_bt[~valid_bt].any()
    skipped = np.asarray(noise.skipped_l)
    assert 0 < skipped.sum() < 3
    masks = {100: noise.masked_bt, 80: noise.masked_bd}
    model.config.apply_spec_augment, model.config.mask_feature_prob = True, 0.2
    model.encoder.layerdrop = 0.5
    monkeypatch.setattr(
        modeling_whisper,
        "_compute_mask_indices",
        lambda shape, **_: np.array(masks[shape[1]]),
    )
    mel = torch.cat([energies(feeder, w[:n]) for w, n in zip(wave_bn, samples_b, strict=True)])
    drawn = iter([torch.tensor(0.0 if skip else 1.0) for skip in skipped])
    monkeypatch.setattr(modeling_whisper.torch, "rand", lambda *_: next(drawn))
    model.train()
    with torch.no_grad():
        last = model.encoder(model._mask_input_features(mel)).last_hidden_state
    model.eval()
    np.testing.assert_allclose(found[-1], last.numpy(), atol=1e-4, rtol=1e-4)
    quiet = run(ours, wave_bn, samples_b, None)
    assert np.abs(found[-1] - quiet[-1]).max() > 0.1


@pytest.mark.parametrize(
    "rate", ["hidden_dropout", "attention_dropout", "activation_dropout", "layerdrop"]
)
def test_every_rate_is_noise_that_follows_from_the_key(saved, rate):
    _, feeder, folder = saved
    given = waves(feeder.n_samples)
    model = noisy(folder, "real", **{rate: 0.4})
    first, again, other, quiet = (
        run(model, *given, key) for key in (KEY, KEY, jax.random.key(7), None)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert np.abs(first - quiet).max() > 0.01
    np.testing.assert_array_equal(run(load_encoder(folder, "real"), *given, KEY), quiet)


def test_attention_head_by_head_drops_the_same_weights(saved, monkeypatch):
    """With the same gradients."""
    _, feeder, folder = saved
    given = waves(feeder.n_samples)
    graph, params = nnx.split(noisy(folder, attention_dropout=0.4))

    def scalar(params):
        states_lbth = nnx.merge(graph, params)(*given, key=KEY).states_lbth
        return jnp.square(states_lbth[-1]).mean(), states_lbth

    both = []
    for longest in (10, 1000):
        monkeypatch.setattr(whisper, "_LONG", longest)
        both.append(jax.jit(jax.grad(scalar, has_aux=True))(params))
    leaves = [jax.tree.leaves(one) for one in both]
    for one, other in zip(*leaves, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max() + 1e-8)


def test_low_rank_parts_change_nothing_at_first_and_every_map_later(saved):
    _, feeder, folder = saved
    wave_bn, samples_b = waves(feeder.n_samples)
    model = WhisperEncoder(read_config(folder), rank=2, rngs=nnx.Rngs(0))
    fill_encoder(model, folder)
    plain = run(load_encoder(folder), wave_bn, samples_b, None)
    np.testing.assert_array_equal(run(model, wave_bn, samples_b, None), plain)
    low = nnx.state(model, nnx.LoRAParam)
    paths = [path for path, _ in nnx.to_flat_state(low)]
    assert len(paths) == 2 * 6, "of four maps of attention and two of the feed-forward"
    graph, params, rest = nnx.split(model, nnx.LoRAParam, ...)

    def scalar(params):
        states_lbth = nnx.merge(graph, params, rest)(wave_bn, samples_b).states_lbth
        return jnp.square(states_lbth[-1]).mean()

    for path, leaf in nnx.to_flat_state(jax.jit(jax.grad(scalar))(params)):
        changes = np.abs(leaf[...]).max(axis=(1, 2))
        assert (changes > 0).all() == (path[-1] == "up"), "a product with zeros, of which one moves"


def test_no_gradient_reaches_frozen_layers(saved):
    """Nor what lies below them; above, it is what it is without frozen layers."""
    _, feeder, folder = saved
    given = waves(feeder.n_samples)
    graph, params = nnx.split(load_encoder(folder, "real"))

    def scalar(params, frozen):
        states_lbth = nnx.merge(graph, params)(*given, frozen=frozen).states_lbth
        return jnp.square(states_lbth).mean(), states_lbth

    own = jax.jit(jax.grad(scalar, has_aux=True), static_argnums=1)
    (found, states), (whole, wanted) = own(params, 2), own(params, 0)
    np.testing.assert_allclose(states, wanted, atol=1e-5)
    for part in ("wide", "narrow"):
        kernel, other = (one["layers"]["feed"][part]["kernel"] for one in (found, whole))
        assert not np.abs(kernel[:2]).any()
        np.testing.assert_allclose(kernel[2], other[2], rtol=1e-4, atol=1e-7)
    for name in ("conv1", "conv2"):
        assert not np.abs(found[name]["kernel"]).any()
        assert np.abs(whole[name]["kernel"]).any()
