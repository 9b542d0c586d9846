"""Whisper through transformers: batches of windows, greedy or beam search, no timestamps."""

import logging
from collections.abc import Sequence

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.errors import FeatureError, MedusaError
from medusa_jax.hub.preprocessing import load_preprocessor, load_tokenizer
from medusa_jax.torch_encoders.batch_runner import explained
from medusa_jax.torch_encoders.device import Placement
from medusa_jax.torch_encoders.loading import load_model
from medusa_jax.transcription.decoder import BATCH_SECONDS
from medusa_jax.transcription.prompt import language_of
from medusa_jax.transcription.source import Source


class WhisperDecoder:
    """A `Decoder` on PyTorch."""

    def __init__(self, source: Source) -> None:
        self._config = source.config
        model = load_model(source.folder, "AutoModelForSpeechSeq2Seq", source.lacking)
        logging.getLogger("transformers.generation.utils").addFilter(_useful)
        self._placement = Placement(source.config.device, source.config.compute)
        self._model = self._placement.settle(model)
        self._feeder = load_preprocessor(source.folder)
        self._tokenizer = load_tokenizer(source.folder)
        if self._feeder.sampling_rate != RATE:
            raise FeatureError(
                f"the model expects audio at {self._feeder.sampling_rate} Hz; "
                f"only {RATE} Hz is supported",
                where=source.folder,
            )
        self.window = int(self._feeder.n_samples)
        spoken = language_of(model.generation_config.to_dict(), source.config.language)
        self._language = {"language": spoken, "task": "transcribe"} if spoken else {}
        seconds = source.config.batch_seconds or BATCH_SECONDS[self._placement.device.type]
        self._batch = max(1, round(seconds * RATE / self.window))

    def __call__(self, waves: Sequence[np.ndarray]) -> list[str | MedusaError]:
        """Return the words of each waveform, decoded in batches of similar length.

        A batch takes as long as its longest text.
        """
        order = sorted(range(len(waves)), key=lambda place: -len(waves[place]))
        texts: dict[int, str | MedusaError] = {}
        for start in range(0, len(order), self._batch):
            places = order[start : start + self._batch]
            made = self._attempt([waves[place] for place in places])
            texts.update(zip(places, made, strict=True))
        return [texts[place] for place in range(len(waves))]

    def _attempt(self, waves: Sequence[np.ndarray]) -> list[str | MedusaError]:
        """Decode the batch, or its halves if that fails."""
        import torch

        try:
            with torch.inference_mode():
                return list(self._decode(waves))
        except Exception as error:
            # Keep the reason, not the error: its traceback would keep the tensors alive.
            reason = explained(error)
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
            **self._language,
            return_timestamps=False,
            do_sample=False,
            num_beams=self._config.beams,
            max_new_tokens=self._config.max_tokens,
        )
        return list(map(str, self._tokenizer.batch_decode(tokens, skip_special_tokens=True)))


def _useful(record: logging.LogRecord) -> bool:
    """Drop the warning, repeated for each batch, that `max_tokens` overrides the model's limit."""
    return "`max_new_tokens` will take precedence" not in record.getMessage()
