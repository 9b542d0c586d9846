"""Words by Whisper in Flax: those of transformers, without PyTorch."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from small_corpus import RATE, waves

from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.errors import ConfigError, FeatureError
from medusa_jax.features.registry import build_extractor
from medusa_jax.machines.mesh import devices_of
from medusa_jax.transcription import flax_whisper

torch = pytest.importorskip("torch")
from small_whisper import config_of, save_whisper  # noqa: E402

several_devices = pytest.mark.skipif(len(jax.devices()) < 2, reason="there is one device")


def heard(folder, inputs, **settings):
    return texts(build_extractor(config_of(folder, **{"backend": "flax", **settings})), inputs)


def texts(transcriber, inputs):
    return [frames.tobytes().decode() for frames in transcriber(inputs)]


@pytest.mark.parametrize("beams", [1, 3])
def test_the_words_are_those_of_transformers(whisper, beams):
    inputs = [*waves(6, longest=2.4), np.zeros(RATE, np.float32)]
    wanted = heard(whisper, inputs, backend="transformers", beams=beams)
    assert heard(whisper, inputs, beams=beams) == wanted
    assert len(set(wanted)) > 4


@pytest.mark.parametrize("beams", [1, 3])
def test_words_do_not_depend_on_the_batch(whisper, beams):
    inputs = waves(7, longest=1.0)
    three, together = (
        build_extractor(config_of(whisper, backend="flax", beams=beams, batch_seconds=seconds))
        for seconds in (3, 16)
    )
    alone = [texts(together, [wave])[0] for wave in inputs]
    assert texts(three, inputs) == texts(together, inputs) == alone
    assert texts(together, inputs[::-1]) == alone[::-1]
    assert len(set(alone)) > 3


@several_devices
def test_words_do_not_depend_on_the_number_of_devices(whisper, monkeypatch):
    inputs = waves(7, longest=1.0)
    together = heard(whisper, inputs, batch_seconds=8)
    monkeypatch.setattr(flax_whisper, "devices_for", lambda *_: devices_of(1))
    assert heard(whisper, inputs, batch_seconds=8) == together


def test_bfloat16_writes_too(whisper):
    assert all(text.endswith("\n") for text in heard(whisper, waves(2), compute="bfloat16"))


def test_nothing_is_kept_on_the_device(whisper):
    gc.collect()
    before = sum(array.nbytes for array in jax.live_arrays())
    heard(whisper, waves(1))
    assert sum(array.nbytes for array in jax.live_arrays()) <= before


def test_a_batch_that_does_not_fit_is_halved(whisper, monkeypatch):
    inputs = waves(7, longest=1.0)
    wanted, start = heard(whisper, inputs, batch_seconds=16), flax_whisper.FlaxDecoder._started

    def limited(self, some, rows):
        if rows > 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return start(self, some, rows)

    monkeypatch.setattr(flax_whisper.FlaxDecoder, "_started", limited)
    assert heard(whisper, inputs, batch_seconds=16) == wanted


def test_nothing_to_transcribe(whisper):
    assert build_extractor(config_of(whisper, backend="flax"))([]) == []


def test_an_english_model_and_other_languages(whisper, tmp_path):
    english = save_whisper(tmp_path / "english", multilingual=False)
    assert heard(english, waves(1))
    for folder, language in ((english, "de"), (whisper, "fr")):
        with pytest.raises(ConfigError, match=r"language|English"):
            heard(folder, waves(1), language=language)
    assert heard(whisper, waves(3), language="de") != heard(whisper, waves(3))


@pytest.mark.parametrize(
    ("settings", "word"), [({"compute": "float16"}, "float16"), ({"device": "cuda:7"}, "device")]
)
def test_what_cannot_be_done_is_refused(whisper, settings, word):
    with pytest.raises(FeatureError, match=word):
        build_extractor(config_of(whisper, backend="flax", **settings)).prepare()


def test_the_backend_is_in_the_identity(whisper):
    ours = build_extractor(config_of(whisper, backend="flax"))
    theirs = build_extractor(config_of(whisper))
    assert ours.identity() == {**theirs.identity(), "backend": "flax"}
    assert "torch" not in ours.packages


def test_pytorch_is_not_needed(whisper):
    script = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.features.registry import build_extractor
config = TranscriptionConfig(model={str(whisper)!r}, backend="flax", max_tokens=3)
print(build_extractor(config)([np.ones(4000, np.float32)])[0].shape[1])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "1"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "clips"), [("whisper-tiny.en", 12), ("whisper-base", 4)])
def test_published_weights_hear_what_transformers_hears(name, clips, shared_data):
    folder = Path(os.environ.get("MEDUSA_TEST_MODELS", "")) / name
    if not (folder / "config.json").is_file():
        pytest.skip(f"MEDUSA_TEST_MODELS has no {name}")
    paths = sorted((shared_data / "ravdess" / "audio").rglob("*.*"))
    inputs = [soundfile.read(path, dtype="float32")[0] for path in paths[:: len(paths) // clips]]
    config = TranscriptionConfig(model=str(folder), max_tokens=40)
    found, wanted = (
        texts(build_extractor(config.model_copy(update={"backend": backend})), inputs[:clips])
        for backend in ("flax", "transformers")
    )
    assert found == wanted
    assert sum("by the door" in text for text in found) > clips / 4
