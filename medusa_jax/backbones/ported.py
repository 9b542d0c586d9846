"""Models that JAX can run, by the settings of their folders."""

from collections.abc import Sequence
from pathlib import Path

from medusa_jax.backbones import speech_config, text_config, whisper_config
from medusa_jax.errors import FeatureError
from medusa_jax.hub.model_folder import read_settings


def unported(folder: Path) -> list[str]:
    """The options of a folder that keep its model from being run in JAX, in words; none: it can.

    The answer follows from config.json and preprocessor_config.json alone, so it is the same on
    every machine. Raises `FeatureError` if they cannot be read.
    """
    given = read_settings(folder)
    kind = given.get("model_type")
    if kind == whisper_config.KIND:
        return whisper_config.unported(given, whisper_config.preprocessing(folder))
    if kind in text_config.TEXT_FAMILIES:
        return text_config.unported(given)
    return speech_config.unported(given)


def lacking(
    folder: Path, compute: str, backend: str, others: str, also: Sequence[str] = ()
) -> list[str]:
    """All that keeps JAX from running a model at a precision: options of its folder, and `also`.

    Raises `FeatureError`, with the `others` to choose, if the `backend` asked for is flax.
    """
    found = [*unported(folder), *also]
    if compute == "float16":
        found.append("float16 (compute)")
    if found and backend == "flax":
        what, hint = f"not ported to JAX: {'; '.join(found)}", f"use `backend: auto` or `{others}`"
        raise FeatureError(what, where=folder, hint=hint)
    return found
