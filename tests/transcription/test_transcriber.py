"""Words by a tiny random Whisper: batches, long audio, settings."""

import json

import numpy as np
import pytest
from small_corpus import RATE, waves

from medusa_jax.errors import ConfigError, FeatureError
from medusa_jax.features.registry import build_extractor
from medusa_jax.transcription.transcriber import windows

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from small_whisper import TOKENS, config_of, save_whisper  # noqa: E402


def heard(config, inputs):
    return texts(build_extractor(config), inputs)


def texts(transcriber, inputs):
    return [frames.tobytes().decode() for frames in transcriber(inputs)]


@pytest.mark.parametrize("beams", [1, 3])
def test_the_words_are_those_of_transformers_generate(whisper, beams):
    inputs = waves(4, longest=1.0)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    model.generation_config.max_length = None
    feeder, plain = (
        transformers.WhisperFeatureExtractor.from_pretrained(whisper),
        transformers.AutoTokenizer.from_pretrained(whisper),
    )
    expected = []
    for wave in inputs:
        mel = feeder(wave, sampling_rate=RATE, return_tensors="pt")["input_features"]
        tokens = model.generate(
            mel,
            language="en",
            task="transcribe",
            num_beams=beams,
            do_sample=False,
            max_new_tokens=TOKENS,
        )
        expected.append(
            " ".join(plain.batch_decode(tokens, skip_special_tokens=True)[0].split()) + "\n"
        )
    assert heard(config_of(whisper, beams=beams), inputs) == expected
    assert len(set(expected)) > 2, "the model hears differences, or the test says nothing"


@pytest.mark.parametrize("beams", [1, 3])
def test_words_do_not_depend_on_the_batch(whisper, beams):
    inputs = waves(7, longest=1.0)
    threes, together = (
        build_extractor(config_of(whisper, beams=beams, batch_seconds=seconds))
        for seconds in (3, 100)
    )
    alone = [texts(together, [wave])[0] for wave in inputs]
    assert texts(threes, inputs) == texts(together, inputs) == alone
    assert texts(together, inputs[::-1]) == alone[::-1]
    assert len(set(alone)) > 3


@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_lower_precisions_write_too(whisper, compute):
    assert all(text.endswith("\n") for text in heard(config_of(whisper, compute=compute), waves(2)))


def test_long_audio_is_heard_window_by_window(whisper):
    first, second = waves(2, seed=3, longest=0.9)
    gap = np.zeros(RATE - len(first), np.float32)
    whole = np.concatenate([first, gap, second])
    cut = windows(whole, RATE)
    assert len(cut) == 2
    assert heard(config_of(whisper), [whole]) == [
        " ".join(text.strip() for text in heard(config_of(whisper), cut)) + "\n"
    ]


def test_windows_are_cut_where_it_is_quiet():
    rng = np.random.default_rng(0)
    wave = rng.standard_normal(80 * RATE).astype(np.float32)
    wave[27 * RATE : 27 * RATE + RATE // 2] = 0
    cut = windows(wave)
    assert np.array_equal(np.concatenate(cut), wave)
    assert all(25 * RATE <= len(part) <= 30 * RATE for part in cut[:-1])
    assert 27 * RATE < len(cut[0]) < 27.5 * RATE
    assert [len(part) for part in windows(wave[: 30 * RATE])] == [30 * RATE]


def test_the_identity_names_what_decides_the_words(whisper, tmp_path):
    def identity(**settings):
        return build_extractor(config_of(whisper, **settings)).identity()

    first = identity()
    assert first["model"] == "whisper-tiny"
    assert {
        "model.safetensors",
        "tokenizer.json",
        "generation_config.json",
        "preprocessor_config.json",
    } <= set(first["files"])
    assert str(whisper.parent) not in json.dumps(first)
    assert identity(batch_seconds=3, device="cpu") == first
    for other in ({"language": "de"}, {"beams": 2}, {"max_tokens": 5}, {"compute": "bfloat16"}):
        assert identity(**other) != first, other


def test_english_alone_and_another_language(whisper, tmp_path):
    english = save_whisper(tmp_path / "english", multilingual=False)
    assert heard(config_of(english), waves(1))
    for folder, language, message in (
        (english, "de", "English only"),
        (whisper, "fr", "does not support the language 'fr'"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_extractor(config_of(folder, language=language)).prepare()
    with pytest.raises(ConfigError, match="at most 36 tokens"):
        build_extractor(config_of(whisper, max_tokens=37))


def test_a_model_of_another_kind_does_not_transcribe(whisper, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    with pytest.raises(FeatureError, match="do not transcribe"):
        build_extractor(config_of(tmp_path))
