"""A Whisper's prompt and its suppressed tokens, from generation_config.json."""

import json

import pytest

from medusa_jax.errors import ConfigError, FeatureError
from medusa_jax.transcription.prompt import read_prompt

ENGLISH = {
    "decoder_start_token_id": 7,
    "eos_token_id": 6,
    "is_multilingual": False,
    "no_timestamps_token_id": 9,
    "suppress_tokens": [1, 2],
    "begin_suppress_tokens": [3, 6],
}
MANY = {
    **ENGLISH,
    "is_multilingual": True,
    "lang_to_id": {"<|en|>": 10, "<|de|>": 11},
    "task_to_id": {"translate": 12, "transcribe": 13},
}


@pytest.fixture
def folder(tmp_path):
    """Writes generation_config.json."""

    def write(given, **changes):
        text = json.dumps({**given, **changes})
        (tmp_path / "generation_config.json").write_text(text)
        return tmp_path

    return write


def test_a_multilingual_model_is_given_its_language(folder):
    prompt = read_prompt(folder(MANY), "de")
    assert prompt.start == (7, 11, 13, 9)
    assert (prompt.end, prompt.never, prompt.never_first) == (6, (1, 2), (3, 6))


def test_an_english_model_is_not(folder):
    assert read_prompt(folder(ENGLISH), "en").start == (7, 9)
    with pytest.raises(ConfigError, match="English only"):
        read_prompt(folder(ENGLISH), "de")


def test_an_unknown_language(folder):
    with pytest.raises(ConfigError, match="'fr'") as caught:
        read_prompt(folder(MANY), "fr")
    assert "en, de" in caught.value.hint


def test_what_is_missing_is_nothing_or_named(folder):
    prompt = read_prompt(folder({"decoder_start_token_id": 7, "eos_token_id": 6}), "en")
    assert (prompt.start, prompt.never, prompt.never_first) == ((7,), (), ())
    with pytest.raises(FeatureError, match="eos_token_id"):
        read_prompt(folder({"decoder_start_token_id": 7}), "en")
    with pytest.raises(FeatureError, match="several ends"):
        read_prompt(folder(ENGLISH, eos_token_id=[6, 5]), "en")


@pytest.mark.parametrize(
    ("key", "value"),
    [("repetition_penalty", 1.2), ("no_repeat_ngram_size", 3), ("length_penalty", 0.5)],
)
def test_options_that_are_not_ported_are_refused_by_name(folder, key, value):
    with pytest.raises(FeatureError, match=key):
        read_prompt(folder(MANY, **{key: value}), "en")


def test_a_model_without_the_file_is_read_by_its_config(folder, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(ENGLISH))
    assert read_prompt(tmp_path, "en").start == (7, 9)
