"""The extractor of pretrained speech encoders without PyTorch."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from small_corpus import RATE, waves

from medusa_jax.errors import AudioError, FeatureError
from medusa_jax.features import flax_runner
from medusa_jax.machines.mesh import devices_of

pytest.importorskip("torch")
from small_models import SPEECH, extractor_of, save_model

several_devices = pytest.mark.skipif(len(jax.devices()) < 2, reason="there is one device")


@pytest.fixture(scope="module", params=SPEECH)
def folder(request, tmp_path_factory):
    return save_model(request.param, tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def wavlm(tmp_path_factory):
    return save_model("wavlm-base", tmp_path_factory.mktemp("models") / "wavlm-base")


def near(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


def test_frames_are_pytorchs(folder):
    for layers in ("last", "sum_last_4", "all"):
        found = extractor_of(folder, layers, backend="flax")(waves(4))
        near(found, extractor_of(folder, layers)(waves(4)))


def test_frames_do_not_depend_on_the_batch(folder):
    extractor = extractor_of(folder, backend="flax", batch_seconds=1.5)
    every = waves(7, longest=1.2)
    together = extractor(every)
    for frames, wave in zip(together, every, strict=True):
        np.testing.assert_array_equal(frames, extractor([wave])[0])


@several_devices
def test_frames_do_not_depend_on_the_number_of_devices(wavlm, monkeypatch):
    together = extractor_of(wavlm, backend="flax")(waves(7))
    monkeypatch.setattr(flax_runner, "devices_for", lambda *_: devices_of(1))
    near(extractor_of(wavlm, backend="flax")(waves(7)), together)


def test_long_audio_is_joined_from_chunks(wavlm):
    settings = {"chunk_seconds": 2.0, "overlap_seconds": 0.5}
    wave = waves(1, longest=0.4)[0]
    long = np.tile(wave, 1 + 5 * RATE // len(wave))[: 5 * RATE]
    found = extractor_of(wavlm, backend="flax", **settings)([long])
    near(found, extractor_of(wavlm, **settings)([long]))


def test_audio_shorter_than_a_frame_is_an_error_in_its_place(wavlm):
    short, noise = np.zeros(399, np.float32), waves(1)[0]
    first, second, third = extractor_of(wavlm, backend="flax")([noise, short, np.zeros(400, "f4")])
    assert isinstance(second, AudioError)
    assert len(first) == (len(noise) - 400) // 320 + 1
    assert len(third) == 1


def test_equal_numbers_are_one_store(wavlm):
    torch, flax = extractor_of(wavlm), extractor_of(wavlm, backend="flax")
    assert torch.identity() == flax.identity()
    rounded = [extractor_of(wavlm, backend=name, compute="bfloat16") for name in ("torch", "flax")]
    assert rounded[0].identity() != rounded[1].identity()
    assert torch.packages != flax.packages


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"compute": "float16"}, "float16"), ({"device": "cuda:7"}, "device")],
)
def test_what_cannot_be_done_is_refused(wavlm, settings, word):
    with pytest.raises(FeatureError, match=word):
        extractor_of(wavlm, backend="flax", **settings).prepare()


def test_models_that_are_not_ported_are_refused(tmp_path):
    with pytest.raises(FeatureError, match="not ported"):
        extractor_of(save_model("electra", tmp_path / "electra"), backend="flax")


def test_pytorch_is_not_needed(wavlm):
    script = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.features.registry import build_extractor
extractor = build_extractor(HuggingFaceConfig(model={str(wavlm)!r}, backend="flax"))
print(extractor([np.ones(4000, np.float32)])[0].shape)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "(12, 32)"
