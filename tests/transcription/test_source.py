"""The library that runs a Whisper, chosen by the model's folder."""

import json
import shutil
import sys

import pytest
from small_corpus import bytes_of

from medusa_jax.config.run import RunConfig
from medusa_jax.errors import DependencyError, FeatureError
from medusa_jax.features.extract import extract
from medusa_jax.features.registry import build_extractor
from medusa_jax.transcription.transcripts import texts_of

pytest.importorskip("torch")
from small_run import small_config
from small_whisper import config_of


def of(folder, **settings):
    return build_extractor(config_of(folder, **{"backend": "auto", **settings}))


def test_jax_runs_what_is_ported(whisper):
    assert of(whisper).packages == of(whisper, backend="flax").packages
    assert of(whisper).identity() == of(whisper, backend="flax").identity()


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "activation_function", "relu"),
        ("preprocessor_config.json", "hop_length", 80),
        ("generation_config.json", "no_repeat_ngram_size", 3),
        ("generation_config.json", "eos_token_id", [0, 1]),
    ],
)
def test_pytorch_runs_what_is_not(whisper, tmp_path, monkeypatch, file, key, value):
    folder = shutil.copytree(whisper, tmp_path / "whisper")
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**settings, key: value}))
    transcriber = of(folder)
    assert "torch" in transcriber.packages
    assert transcriber.identity()["backend"] == "transformers"
    with pytest.raises(FeatureError, match=f"not ported .*{key}"):
        of(folder, backend="flax")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match=f"PyTorch is not installed; not ported .*{key}"):
        transcriber.prepare()


def test_half_precision_is_pytorchs(whisper):
    half = of(whisper, compute="float16")
    assert half.identity() == of(whisper, backend="transformers", compute="float16").identity()


def test_the_identity_of_pytorchs_words_is_as_before_there_was_a_choice(whisper):
    keys = {"extractor", "backend", "language", "beams", "max_tokens", "compute", "version"}
    identity = of(whisper, backend="transformers").identity()
    assert set(identity) == keys | {"model", "revision", "files"}
    assert (identity["backend"], identity["version"]) == ("transformers", 1)


def test_pytorchs_words_are_not_taken_for_jaxs(whisper, corpus, store, tmp_path):
    """Rounding may change a word: a run has all of its words from one library."""
    shutil.copytree(store.folder, tmp_path / store.folder.name)
    made = extract(corpus, of(whisper).config, tmp_path, max_failures=0.2)
    assert made.folder.name != store.folder.name
    assert bytes_of(tmp_path / store.folder.name) == bytes_of(store.folder)
    assert "torch" not in made.entries[0].made_with
    assert texts_of(made) == texts_of(store), "here no words differ"


def test_a_run_that_named_pytorch_keeps_its_digest(whisper):
    def digest(**section):
        return RunConfig.model_validate(small_config(transcription=section)).digest()

    model = str(whisper)
    assert digest(model=model) == digest(model=model, backend="auto")
    assert digest(model=model) != digest(model=model, backend="transformers")
