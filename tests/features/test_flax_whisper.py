"""The extractor of Whisper's encoder without PyTorch."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from small_corpus import RATE, waves

from medusa_jax.features import flax_runner
from medusa_jax.features.flax_whisper import WhisperEncoder
from medusa_jax.machines.mesh import devices_of

pytest.importorskip("torch")
from small_models import extractor_of, save_model

WINDOWS = ("full", "real")
several_devices = pytest.mark.skipif(len(jax.devices()) < 2, reason="there is one device")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model whose window is a second."""
    return save_model("whisper", tmp_path_factory.mktemp("models") / "whisper")


@pytest.fixture(scope="module")
def speech():
    """Noises of up to 2.4 s, and edges: one sample, the window, one more than it."""
    edges = [np.full(count, 0.1, np.float32) for count in (1, RATE, RATE + 1)]
    return [*waves(5, longest=2.4), *edges]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("layers", ["last", "sum_last_4", "all"])
def test_frames_are_pytorchs(folder, speech, window, layers):
    found = extractor_of(folder, layers, backend="flax", window=window)(speech)
    wanted = extractor_of(folder, layers, window=window)(speech)
    for one, other, wave in zip(found, wanted, speech, strict=True):
        assert len(one) == len(other) == -(-len(wave) // 320)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("window", WINDOWS)
def test_frames_do_not_depend_on_the_batch(folder, speech, window):
    extractor = extractor_of(folder, backend="flax", batch_seconds=2.5, window=window)
    together = extractor(speech)
    for frames, wave in zip(together, speech, strict=True):
        np.testing.assert_array_equal(frames, extractor([wave])[0])


@pytest.mark.parametrize("window", WINDOWS)
def test_frames_do_not_depend_on_the_padded_length(folder, speech, window, monkeypatch):
    wanted = extractor_of(folder, backend="flax", window=window)(speech)
    monkeypatch.setattr(WhisperEncoder, "rung", lambda self, piece: 50)
    found = extractor_of(folder, backend="flax", window=window)(speech)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@several_devices
@pytest.mark.parametrize("window", WINDOWS)
def test_frames_do_not_depend_on_the_number_of_devices(folder, speech, window, monkeypatch):
    together = extractor_of(folder, backend="flax", window=window)(speech)
    monkeypatch.setattr(flax_runner, "devices_for", lambda *_: devices_of(1))
    alone = extractor_of(folder, backend="flax", window=window)(speech)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_full_window_has_few_padded_lengths(folder):
    encoder = WhisperEncoder(folder, extractor_of(folder).config)
    pieces = [encoder.pieces(np.zeros(n, np.float32))[0] for n in (1, 2240, 2241, 8000, 16_000)]
    assert [encoder.rung(piece) for piece in pieces] == [7, 7, 13, 25, 50]
    assert {piece.size for piece in pieces} == {50}


def test_audio_without_samples_is_a_zero_frame(folder):
    nothing = np.zeros(0, np.float32)
    for backend in ("torch", "flax"):
        np.testing.assert_array_equal(
            extractor_of(folder, backend=backend)([nothing])[0], np.zeros((1, 32))
        )


def test_the_window_is_in_the_identity_and_the_library_is_not(folder):
    def identity(**settings):
        return extractor_of(folder, **settings).identity()

    assert identity(backend="flax") == identity()
    assert identity(backend="flax", window="real") == identity(window="real") != identity()


def test_pytorch_is_not_needed(folder):
    script = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.features.registry import build_extractor
config = HuggingFaceConfig(model={str(folder)!r}, layers="last", backend="flax")
print(build_extractor(config)([np.ones(4000, np.float32)])[0].shape)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "(13, 32)"
