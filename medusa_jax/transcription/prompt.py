"""How a Whisper begins and ends a transcript, from generation_config.json of its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medusa_jax.errors import ConfigError, FeatureError
from medusa_jax.hub.model_folder import REFETCH, read_settings

FILE = "generation_config.json"
# Options of generation that change the words, with the values at which they do nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "length_penalty": (None, 1.0),
    "early_stopping": (None, False),
    "repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1.0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "num_beam_groups": (None, 1),
    "bad_words_ids": (None,),
    "sequence_bias": (None,),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "exponential_decay_length_penalty": (None,),
    "no_speech_threshold": (None,),
}


@dataclass(frozen=True)
class Prompt:
    """Token ids: those before the words, the one after them, and those that are never written,
    at all or as the first one.
    """

    start: tuple[int, ...]
    end: int
    never: tuple[int, ...]
    never_first: tuple[int, ...]


def read_prompt(folder: Path, language: str) -> Prompt:
    """The prompt for a transcript in `language`, without timestamps.

    Raises `ConfigError` for a language that the model does not support, `FeatureError` for options
    that are not ported or tokens that are missing.
    """
    if others := unported_search(folder):
        hint = "use `backend: transformers` for this model"
        what = f"not ported to JAX: {'; '.join(others)}"
        raise FeatureError(what, where=folder / FILE, hint=hint)
    given = _settings(folder)
    spoken = language_of(given, language)
    try:
        start = [given["decoder_start_token_id"]]
        if spoken is not None:
            start += [given["lang_to_id"][f"<|{spoken}|>"], given["task_to_id"]["transcribe"]]
        end = given["eos_token_id"]
    except KeyError as error:
        raise FeatureError(f"{FILE} has no {error}", where=folder, hint=REFETCH) from error
    if given.get("no_timestamps_token_id") is not None:
        start.append(given["no_timestamps_token_id"])
    never, first = (given.get(key) or () for key in ("suppress_tokens", "begin_suppress_tokens"))
    return Prompt(tuple(start), end, tuple(never), tuple(first))


def unported_search(folder: Path) -> list[str]:
    """The options of generation that the search cannot do, in words."""
    given = _settings(folder)
    others = {k: given[k] for k, same in _NEUTRAL.items() if given.get(k) not in same}
    found = [f"{key} {value} of generation" for key, value in others.items()]
    if not isinstance(given.get("eos_token_id", 0), int):
        found.append("several ends of a text (eos_token_id)")
    return found


def _settings(folder: Path) -> dict[str, Any]:
    """The settings of generation; older folders keep them in config.json."""
    return read_settings(folder, FILE if (folder / FILE).is_file() else "config.json")


def language_of(given: Mapping[str, Any], language: str) -> str | None:
    """The language to name in the prompt; none for an English-only model.

    Raises `ConfigError` for a language that the model does not support.
    """
    if not given.get("is_multilingual", False):
        if language != "en":
            raise ConfigError(
                "this model supports English only",
                where="transcription.language",
                hint="set it to en, or choose a multilingual model",
            )
        return None
    known = [token.strip("<|>") for token in given.get("lang_to_id", {})]
    if language not in known:
        raise ConfigError(
            f"the model does not support the language {language!r}",
            where="transcription.language",
            hint=f"one of {', '.join(known)}",
        )
    return language
