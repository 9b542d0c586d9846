"""Whisper's encoder in Flax against transformers, on random and on published weights."""

import copy
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from flax import nnx

from medusa_jax.audio.decode import RATE
from medusa_jax.backbones import whisper
from medusa_jax.backbones.whisper import Stored
from medusa_jax.backbones.whisper_config import FRAME
from medusa_jax.backbones.whisper_weights import load_encoder
from medusa_jax.errors import FeatureError

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from small_whisper_encoders import SHAPES, energies, save_encoder, waves  # noqa: E402

run = nnx.jit(lambda model, *given: model(*given))
last = nnx.jit(lambda model, *given: model.last(*given))


@pytest.fixture(scope="module", params=SHAPES)
def saved(request, tmp_path_factory):
    """PyTorch's encoder, its feature extractor and the folder of both."""
    folder = tmp_path_factory.mktemp("model")
    model, feeder = save_encoder(request.param, folder)
    return model.get_encoder(), feeder, folder


def states_in_torch(encoder, mel_1dt):
    """Hidden states `[l, t, h]`, the last one normed."""
    with torch.inference_mode():
        out = encoder(mel_1dt, output_hidden_states=True)
    return torch.stack([*out.hidden_states[:-1], out.last_hidden_state])[:, 0].numpy()


def shortened(encoder, frames):
    """PyTorch's encoder for a window of so many frames, by the first of its positions."""
    config = copy.deepcopy(encoder.config)
    config.max_source_positions = int(frames)
    short = type(encoder)(config).eval()
    state = encoder.state_dict()
    state["embed_positions.weight"] = state["embed_positions.weight"][:frames]
    short.load_state_dict(state)
    return short


def test_every_hidden_state_of_the_full_window(saved):
    encoder, feeder, folder = saved
    wave_bn, samples_b = waves(feeder.n_samples)
    found = run(load_encoder(folder), wave_bn, samples_b)
    for row, samples in enumerate(samples_b):
        wanted = states_in_torch(encoder, energies(feeder, wave_bn[row, :samples]))
        assert found.valid_bt[row].sum() == -(-samples // FRAME)
        np.testing.assert_allclose(found.states_lbth[:, row], wanted, atol=1e-4, rtol=1e-4)


def test_every_hidden_state_of_the_real_length(saved):
    encoder, feeder, folder = saved
    wave_bn, samples_b = waves(feeder.n_samples)
    found = run(load_encoder(folder, "real"), wave_bn, samples_b)
    for row, samples in enumerate(samples_b):
        frames = -(-samples // FRAME)
        padded = min(frames * FRAME + 480, feeder.n_samples)
        mel_1dt = energies(feeder, wave_bn[row, :samples], padded)[..., : 2 * frames]
        wanted = states_in_torch(shortened(encoder, frames), mel_1dt)
        valid = np.asarray(found.valid_bt[row])
        np.testing.assert_allclose(found.states_lbth[:, row, valid], wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("window", ["full", "real"])
def test_states_do_not_depend_on_batch_or_padding(saved, window):
    _, feeder, folder = saved
    model = load_encoder(folder, window)
    wave_bn, samples_b = waves(feeder.n_samples)
    together = run(model, wave_bn, samples_b).states_lbth
    wave_bn[2, samples_b[2] :] = 7  # what lies behind an utterance is no part of it
    frames = -(-samples_b[2] // FRAME)
    alone = run(model, wave_bn[2:3, : samples_b[2] + 100], samples_b[2:3])
    assert alone.states_lbth.shape[2] == alone.valid_bt.shape[1] == frames
    np.testing.assert_allclose(alone.states_lbth[:, 0], together[:, 2, :frames], atol=1e-5)


def test_the_windows_differ(saved):
    _, feeder, folder = saved
    given = waves(feeder.n_samples)
    full, real = (run(load_encoder(folder, name), *given) for name in ("full", "real"))
    np.testing.assert_allclose(full.states_lbth[-1, 0], real.states_lbth[-1, 0], atol=1e-5)
    assert np.abs(full.states_lbth[-1, 2, :15] - real.states_lbth[-1, 2, :15]).max() > 0.01


def test_the_last_state_alone(saved):
    _, feeder, folder = saved
    wave_bn, samples_b = waves(feeder.n_samples)
    model = load_encoder(folder)
    every = run(model, wave_bn, samples_b).states_lbth[-1]
    np.testing.assert_allclose(last(model, wave_bn, samples_b), every, atol=1e-5)
    short = last(model, wave_bn[2:3, :6_000], samples_b[2:3])
    np.testing.assert_allclose(short[0], every[2], atol=1e-5)


def test_gradients_of_a_scalar(saved):
    """Of every parameter but the stored positions, against PyTorch in float64; a step that
    computes layers again has the same.
    """
    encoder, feeder, folder = saved
    wave_bn, samples_b = waves(feeder.n_samples)
    model = copy.deepcopy(encoder).double()
    state = model(energies(feeder, wave_bn[1, : samples_b[1]]).double()).last_hidden_state[0]
    along_th = np.random.default_rng(2).standard_normal(state.shape, np.float32)
    (state * torch.tensor(along_th)).sum().backward()

    def scalar(params, remat):
        found = nnx.merge(graph, params)(wave_bn[1:2], samples_b[1:2], remat=remat)
        return (found.states_lbth[-1, 0] * along_th).sum()

    graph, params = nnx.split(load_encoder(folder))
    own = jax.jit(jax.grad(scalar), static_argnums=1)
    found = own(params, False)
    theirs = {name: tensor.grad for name, tensor in model.named_parameters()}
    pairs = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
    for ours, name in pairs.items():
        near(found["layers"]["attention"][ours]["kernel"], theirs, f"self_attn.{name}.weight")
    for ours, name in {"wide": "fc1", "narrow": "fc2"}.items():
        near(found["layers"]["feed"][ours]["kernel"], theirs, f"{name}.weight")
        near(found["layers"]["feed"][ours]["bias"], theirs, f"{name}.bias")
    near(found["layers"]["norm"]["scale"], theirs, "self_attn_layer_norm.weight")
    near(found["layers"]["feed"]["norm"]["bias"], theirs, "final_layer_norm.bias")
    for conv in ("conv1", "conv2"):
        near(found[conv]["kernel"], theirs, f"{conv}.weight")
    near(found["norm"]["scale"], theirs, "layer_norm.weight")
    again = own(params, True)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(found))
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6 * largest)
    stored = nnx.state(load_encoder(folder), Stored)
    assert [path for path, _ in nnx.to_flat_state(stored)] == [("positions",)]


def near(found, theirs, name):
    """A gradient, or those of all layers, within 1e-4 of the largest of PyTorch's."""
    stacked = name.endswith(("bias", "weight")) and name not in theirs
    count = len(found[...]) if stacked else 0
    names = [f"layers.{k}.{name}" for k in range(count)] if stacked else [name]
    wanted = np.stack([theirs[one].numpy().T for one in names])
    np.testing.assert_allclose(
        found[...], wanted if stacked else wanted[0], atol=1e-4 * np.abs(wanted).max()
    )


@pytest.mark.parametrize("window", ["full", "real"])
def test_long_utterances_are_attended_to_head_by_head(saved, window, monkeypatch):
    """With the same states and gradients."""
    _, feeder, folder = saved
    given, model = waves(feeder.n_samples), load_encoder(folder, window)
    graph, params = nnx.split(model)

    def scalar(params):
        states_lbth = nnx.merge(graph, params)(*given).states_lbth
        return jnp.square(states_lbth[-1]).mean(), states_lbth

    both = []
    for longest in (10, 1000):
        monkeypatch.setattr(whisper, "_LONG", longest)
        both.append(jax.jit(jax.grad(scalar, has_aux=True))(params))
    leaves = [jax.tree.leaves(one) for one in both]
    for one, other in zip(*leaves, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max() + 1e-8)


def test_bfloat16_is_near_float32(saved):
    _, feeder, folder = saved
    given, model = waves(feeder.n_samples), load_encoder(folder)
    exact = run(model, *given).states_lbth
    rounded = model(*given, jnp.bfloat16).states_lbth
    assert rounded.dtype == jnp.float32
    error = np.abs(rounded - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.05


def test_more_than_the_window_is_refused(saved):
    _, feeder, folder = saved
    wave_1n = np.zeros((1, feeder.n_samples + 1), np.float32)
    with pytest.raises(FeatureError, match="window"):
        load_encoder(folder)(wave_1n, jnp.array([wave_1n.size]))


@pytest.fixture(params=["whisper-tiny.en", "whisper-base"])
def published(request):
    folder = Path(os.environ.get("MEDUSA_TEST_MODELS", "")) / request.param
    if not (folder / "config.json").is_file():
        pytest.skip(f"MEDUSA_TEST_MODELS has no {request.param}")
    return folder


@pytest.fixture
def speech(shared_data):
    """Two clips of RAVDESS, padded to one length, and their samples."""
    paths = sorted((shared_data / "ravdess" / "audio").rglob("*.*"))[:100:99]
    clips = [soundfile.read(path, dtype="float32")[0] for path in paths]
    samples = [len(clip) for clip in clips]
    padded = [np.pad(clip, (0, max(samples) - len(clip))) for clip in clips]
    return np.stack(padded), np.array(samples)


@pytest.mark.slow
def test_published_weights_give_transformers_states(published, speech):
    wave_bn, samples_b = speech
    encoder = transformers.WhisperModel.from_pretrained(published).eval().get_encoder()
    feeder = transformers.WhisperFeatureExtractor.from_pretrained(published)
    found = run(load_encoder(published), wave_bn, samples_b)
    for row, samples in enumerate(samples_b):
        wanted = states_in_torch(encoder, energies(feeder, wave_bn[row, :samples]))
        frames = int(found.valid_bt[row].sum())
        ours, theirs = found.states_lbth[:, row, :frames], wanted[:, :frames]
        np.testing.assert_allclose(ours[-1], theirs[-1], atol=1e-3)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())


@pytest.mark.slow
def test_published_weights_give_ctranslate2s_states(published, speech):
    ctranslate2 = pytest.importorskip("ctranslate2")
    wave_bn, samples_b = speech
    feeder = transformers.WhisperFeatureExtractor.from_pretrained(published)
    model = ctranslate2.models.Whisper(
        str(published / "ctranslate2"), device="cpu", compute_type="float32"
    )
    found = np.asarray(last(load_encoder(published), wave_bn, samples_b))
    for row, samples in enumerate(samples_b):
        wave_n = wave_bn[row, :samples]
        mel = feeder(wave_n, sampling_rate=RATE, return_tensors="np")["input_features"]
        wanted = model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mel)))
        np.testing.assert_allclose(found[row], np.array(wanted)[0], atol=1e-3)
