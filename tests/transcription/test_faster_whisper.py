"""Whisper through faster-whisper."""

import sys

import pytest
from small_corpus import waves

from medusa_jax.errors import DependencyError, FeatureError
from medusa_jax.features.registry import build_extractor

torch = pytest.importorskip("torch")
from small_whisper import config_of, save_whisper  # noqa: E402


def heard(config, inputs):
    return texts(build_extractor(config), inputs)


def texts(transcriber, inputs):
    return [frames.tobytes().decode() for frames in transcriber(inputs)]


def test_faster_whisper_names_its_extra_and_its_converter(whisper, tmp_path, monkeypatch):
    with pytest.raises(FeatureError, match="CTranslate2") as caught:
        build_extractor(config_of(whisper, backend="faster-whisper"))
    assert "ct2-transformers-converter" in caught.value.hint
    (tmp_path / "model.bin").touch()
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(DependencyError) as missing:
        build_extractor(config_of(tmp_path, backend="faster-whisper")).prepare()
    assert "medusa-jax[faster-whisper]" in missing.value.hint


@pytest.mark.slow
def test_faster_whisper_hears_too(tmp_path):
    pytest.importorskip("faster_whisper", reason="the extra faster-whisper is not installed")
    from ctranslate2.converters import TransformersConverter

    source = save_whisper(tmp_path / "source", seconds=30)
    TransformersConverter(
        str(source), copy_files=["tokenizer.json", "preprocessor_config.json"]
    ).convert(str(tmp_path / "converted"))
    config = config_of(tmp_path / "converted", backend="faster-whisper", device="cpu")
    inputs = waves(4, longest=1.0)
    first = heard(config, inputs)
    assert first == heard(config, inputs[::-1])[::-1]
    assert len(set(first)) > 1
    assert build_extractor(config).identity()["files"].keys() >= {"model.bin", "tokenizer.json"}
