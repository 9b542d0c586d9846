"""Whisper through transformers: batches of windows, greedy or with beams, no timestamps, each window by itself."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.backbones.model_folder import (
    digests,
    load_model,
    load_preprocessor,
    load_tokenizer,
    locate,
    read_settings,
)
from medusa_jax.backbones.record import Record
from medusa_jax.config.features import TranscriptionConfig
from medusa_jax.errors import ConfigError, FeatureError, MedusaError
from medusa_jax.torch_encoders.batch_runner import explained
from medusa_jax.torch_encoders.device import Placement

PACKAGES = ("transformers", "torch")
BATCH_SECONDS = {"cpu": 120.0, "cuda": 720.0}
_PROMPT = 4
"""Tokens that stand before the words: start, language, task, no timestamps."""


class Source:
    """A folder of safetensors and its settings, before anything is loaded."""

    def __init__(self, config: TranscriptionConfig) -> None:
        self.config, self.folder = (
            config,
            locate(config.model, config.revision, offline=config.offline),
        )
        settings = read_settings(self.folder)
        if settings.get("model_type") != "whisper":
            raise FeatureError(
                f"models of the kind {settings.get('model_type')!r} do not transcribe; Whisper does",
                where=self.folder,
            )
        longest = int(settings.get("max_target_positions", 448)) - _PROMPT
        if config.max_tokens > longest:
            raise ConfigError(
                f"this model writes {longest} tokens at most",
                where="transcription.max_tokens",
                hint=f"set it to {longest} or less",
            )

    def identity(self) -> dict[str, object]:
        """Commit and digests."""
        record = Record.load(self.folder)
        return {
            "revision": record.revision if record else self.config.revision,
            "files": digests(self.folder, "generation_config.json"),
        }

    def decoder(self) -> "WhisperDecoder":
        """The model, loaded."""
        return WhisperDecoder(self)


class WhisperDecoder:
    """See `Decoder`."""

    def __init__(self, source: Source) -> None:
        self._config = source.config
        model = load_model(source.folder, "AutoModelForSpeechSeq2Seq")
        logging.getLogger("transformers.generation.utils").addFilter(_of_use)
        self._placement = Placement(source.config.device, source.config.compute)
        self._model = self._placement.settle(model)
        self._feeder, self._tokenizer = (
            load_preprocessor(source.folder),
            load_tokenizer(source.folder),
        )
        if self._feeder.sampling_rate != RATE:
            raise FeatureError(
                f"the model takes audio at {self._feeder.sampling_rate} Hz; only {RATE} Hz is supported",
                where=source.folder,
            )
        self.window = int(self._feeder.n_samples)
        self._asked = _language(model.generation_config, source.config.language)
        seconds = source.config.batch_seconds or BATCH_SECONDS[self._placement.device.type]
        self._batch = max(1, round(seconds * RATE / self.window))

    def __call__(self, waves: Sequence[np.ndarray]) -> list[str | MedusaError]:
        """The words in each, in batches of like length: the longest text of a batch decides how long it takes."""
        order = sorted(range(len(waves)), key=lambda place: -len(waves[place]))
        texts: dict[int, str | MedusaError] = {}
        for start in range(0, len(order), self._batch):
            places = order[start : start + self._batch]
            texts.update(
                zip(places, self._attempt([waves[place] for place in places]), strict=True)
            )
        return [texts[place] for place in range(len(waves))]

    def _attempt(self, waves: Sequence[np.ndarray]) -> list[str | MedusaError]:
        """The batch, or its halves where it does not go through."""
        import torch

        try:
            with torch.inference_mode():
                return list(self._decode(waves))
        except Exception as error:
            reason = explained(
                error
            )  # not the error itself: its traceback would keep the tensors alive
        if len(waves) == 1:
            return [reason]
        if self._placement.device.type == "cuda":
            torch.cuda.empty_cache()
        half = len(waves) // 2
        return self._attempt(waves[:half]) + self._attempt(waves[half:])

    def _decode(self, waves: Sequence[np.ndarray]) -> list[str]:
        mel = self._feeder(
            list(waves), sampling_rate=RATE, return_tensors="np", device=str(self._placement.device)
        )["input_features"]
        tokens = self._model.generate(
            self._placement.floats(np.ascontiguousarray(mel)),
            **self._asked,
            return_timestamps=False,
            do_sample=False,
            num_beams=self._config.beams,
            max_new_tokens=self._config.max_tokens,
        )
        return [
            str(text) for text in self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        ]


def _of_use(record: logging.LogRecord) -> bool:
    """Not the warning, at each batch, that the model's own limit of tokens gives way to `max_tokens`: that is what was asked for."""
    return "`max_new_tokens` will take precedence" not in record.getMessage()


def _language(generation: Any, language: str) -> dict[str, str]:
    """What a model of many languages is told. Raises `ConfigError` for a language that the model does not know."""
    if not getattr(generation, "is_multilingual", False):
        if language != "en":
            raise ConfigError(
                "this model knows English alone",
                where="transcription.language",
                hint="set it to en, or take a model of many languages",
            )
        return {}
    known = [token.strip("<|>") for token in generation.lang_to_id]
    if language not in known:
        raise ConfigError(
            f"the model does not know the language {language!r}",
            where="transcription.language",
            hint=f"one of {', '.join(known)}",
        )
    return {"language": language, "task": "transcribe"}
