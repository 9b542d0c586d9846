"""wav2vec 2.0, HuBERT and WavLM in Flax against transformers, on random weights."""

import copy
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from medusa_jax.backbones.noise import Rates, draw_noise
from medusa_jax.backbones.speech_weights import load_speech
from medusa_jax.backbones.waveform import normalised

torch = pytest.importorskip("torch")
import transformers  # noqa: E402

SAMPLES = (48_123, 20_001, 400)  # 150 frames, 62 and 1
NORMS = [(False, "group", False), (True, "layer", True)]
SHAPE = dict(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=48,
    conv_dim=(16,) * 7,
    num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=4,
    layerdrop=0.0,
)


def waves():
    """Noises `[b, n]` with zeros behind them."""
    rng = np.random.default_rng(0)
    wave_bn = np.zeros((len(SAMPLES), SAMPLES[0]), np.float32)
    for row, samples in zip(wave_bn, SAMPLES, strict=True):
        row[:samples] = rng.standard_normal(samples)
    return wave_bn


@pytest.fixture(scope="module", params=["WavLM", "Hubert", "Wav2Vec2"])
def name(request):
    return request.param


@pytest.fixture(scope="module", params=NORMS, ids=["group", "layer"])
def both(name, request, tmp_path_factory):
    """PyTorch's model and ours with its weights; norms and biases are not their initial ones."""
    stable, norm, bias = request.param
    torch.manual_seed(1)
    settings = dict(do_stable_layer_norm=stable, feat_extract_norm=norm, conv_bias=bias)
    config = getattr(transformers, f"{name}Config")(**SHAPE, **settings)
    model = getattr(transformers, f"{name}Model")(config).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.8, std=0.2)
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    return model, load_speech(folder)


def states_in_torch(model, wave_n):
    """Hidden states `[l, t, h]`, the last one normed."""
    with torch.inference_mode():
        out = model(torch.tensor(wave_n)[None], output_hidden_states=True)
    return torch.stack([*out.hidden_states[:-1], out.last_hidden_state])[:, 0].numpy()


def test_every_hidden_state_in_a_padded_batch_is_that_of_each_alone(both):
    model, ours = both
    found = nnx.jit(lambda model, *given: model(*given))(ours, waves(), jnp.array(SAMPLES))
    for row, samples in enumerate(SAMPLES):
        wanted = states_in_torch(model, waves()[row, :samples])
        valid = np.asarray(found.valid_bt[row])
        assert valid.sum() == wanted.shape[1]
        np.testing.assert_allclose(found.states_lbth[:, row, valid], wanted, atol=1e-4, rtol=1e-4)


def test_gradients_of_a_scalar(both):
    """Of the waveform, the positional convolution's g and v, projections, WavLM's bias and gate,
    against PyTorch in float64; a step that computes layers again has the same.
    """
    model, ours = copy.deepcopy(both[0]).double(), both[1]
    wave_1n = waves()[:1, :9_000]
    given = torch.tensor(wave_1n, dtype=torch.float64, requires_grad=True)
    last = model(given).last_hidden_state
    along_th = np.random.default_rng(2).standard_normal(last.shape[1:], np.float32)
    (last[0] * torch.tensor(along_th)).sum().backward()

    def scalar(params, wave_bn, remat):
        found = nnx.merge(graph, params)(wave_bn, jnp.array([9_000]), remat=remat)
        return (found.states_lbth[-1, 0] * along_th).sum()

    graph, params = nnx.split(ours)
    own = jax.jit(jax.grad(scalar, argnums=(0, 1)), static_argnums=2)
    of_params, of_wave = own(params, wave_1n, False)
    near(of_wave, given.grad.numpy())
    encoder = model.encoder
    weights = encoder.pos_conv_embed.conv.parametrizations.weight
    near(of_params["positions"]["g"][...], weights.original0.grad.reshape(-1))
    near(of_params["positions"]["v"][...], weights.original1.grad.numpy().T)
    layers = encoder.layers
    for theirs, path in {"q_proj": "query", "out_proj": "out"}.items():
        wanted = [getattr(layer.attention, theirs).weight.grad.numpy().T for layer in layers]
        near(of_params["layers"]["attention"][path]["kernel"][...], np.stack(wanted))
    if ours.bias is not None:
        near(of_params["bias"]["table"][...], layers[0].attention.rel_attn_embed.weight.grad)
        wanted = [layer.attention.gru_rel_pos_const.grad.reshape(-1) for layer in layers]
        near(of_params["layers"]["attention"]["gate"]["constant"][...], np.stack(wanted))
    again, _ = own(params, wave_1n, True)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(of_params))
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(of_params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6 * largest)


def near(found, wanted):
    """Equal within what float32 leaves of sums that nearly cancel: PyTorch's own differ as much."""
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=5e-4 * np.abs(wanted).max())


def test_bfloat16_is_near_float32(both):
    _, ours = both
    exact = ours(waves(), jnp.array(SAMPLES)).states_lbth
    rounded = ours(waves(), jnp.array(SAMPLES), jnp.bfloat16).states_lbth
    assert rounded.dtype == jnp.float32
    error = np.abs(rounded - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.05


def trained(model, key, frozen=0):
    """The last state of a batch in training."""
    x_btc, valid_bt = model.convolutions(waves()[:2], jnp.array(SAMPLES[:2]), jnp.float32)
    return model.encoded(x_btc, valid_bt, key=key, frozen=frozen).states_lbth


def test_noise_follows_from_the_key(both):
    _, ours = both
    run = nnx.jit(trained)
    quiet = run(ours, None)
    first, again, other = (run(ours, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert np.abs(first - quiet).max() > 0.1


def test_masked_spans_are_transformers(both, monkeypatch):
    """Of equal masks of frames and features the last state is PyTorch's in training."""
    model, ours = copy.deepcopy(both[0]), nnx.clone(both[1])
    spans = {"mask_time_prob": 0.3, "mask_feature_prob": 0.5}
    rates, key = Rates(**spans), jax.random.key(3)
    ours.config, ours.layers.rates = replace(ours.config, rates=rates), rates
    found = nnx.jit(trained)(ours, key)[-1]
    frames = [(n - 400) // 320 + 1 for n in SAMPLES[:2]]
    valid_bt = jnp.arange(frames[0]) < jnp.array(frames)[:, None]
    noise = draw_noise(rates, key, 3, valid_bt, 32, first_stays=ours.bias is not None)
    masks = {frames[0]: noise.masked_bt, 32: noise.masked_bd}
    assert all(mask.any(axis=1).all() for mask in masks.values())
    model.config.mask_feature_min_masks = 0  # WavLM's configuration lacks it
    for setting, value in spans.items():
        setattr(model.config, setting, value)
    modeling = sys.modules[type(model).__module__]
    monkeypatch.setattr(
        modeling, "_compute_mask_indices", lambda shape, **_: np.array(masks[shape[1]])[:1]
    )
    for module in model.modules():  # no other noise
        module.training = isinstance(module, type(model))
    with torch.no_grad():
        wanted = model(torch.tensor(waves()[:1])).last_hidden_state[0].numpy()
    np.testing.assert_allclose(found[0], wanted, atol=1e-4, rtol=1e-4)


def test_no_gradient_reaches_frozen_layers(both):
    _, ours = both
    graph, params = nnx.split(ours)

    def scalar(params, frozen):
        states_lbth = trained(nnx.merge(graph, params), None, frozen)
        return (states_lbth[-1] ** 2).mean() + states_lbth[1].mean()

    found, whole = (jax.jit(jax.grad(scalar), static_argnums=1)(params, n) for n in (2, 0))
    for kernel in (
        found["layers"]["wide"]["kernel"][...],
        found["layers"]["narrow"]["kernel"][...],
    ):
        assert not np.abs(kernel[:2]).any()
        assert np.abs(kernel[2]).any()
    top = (found["layers"]["wide"]["kernel"][2], whole["layers"]["wide"]["kernel"][2])
    np.testing.assert_allclose(*top, rtol=1e-4, atol=1e-7)
    for name in ("projection", "positions"):
        assert not any(np.abs(leaf).any() for leaf in jax.tree.leaves(found[name]))
        assert any(np.abs(leaf).any() for leaf in jax.tree.leaves(whole[name]))


def test_waves_are_normalised_as_the_feature_extractor_does():
    feeder = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    found = np.asarray(normalised(3 * waves() + 1, jnp.array(SAMPLES)))
    for row, samples in enumerate(SAMPLES):
        wanted = feeder(3 * waves()[row, :samples] + 1, sampling_rate=16_000)["input_values"][0]
        np.testing.assert_allclose(found[row, :samples], wanted, atol=1e-5)
        assert not found[row, samples:].any()
