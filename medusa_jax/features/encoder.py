"""Frames from a pretrained encoder (spec section 1): WavLM, HuBERT, wav2vec 2.0, Whisper's encoder, RoBERTa, ModernBERT, BERT.

What it is given at once goes through the model in batches of like length, masked, so that nothing depends on its neighbours.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medusa_jax.audio.chunks import FRAMES_A_SECOND, Piece, batches
from medusa_jax.audio.decode import RATE
from medusa_jax.backbones.catalogue import default_layers, short_name
from medusa_jax.backbones.model_folder import (
    digests,
    load_model,
    load_preprocessor,
    load_tokenizer,
    locate,
    read_settings,
)
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.errors import ConfigError, FeatureError, MedusaError
from medusa_jax.torch_encoders.device import BATCH_SECONDS, Placement

WAVEFORM = frozenset(
    {"wavlm", "hubert", "wav2vec2", "data2vec-audio", "unispeech", "unispeech-sat"}
)
TEXT = frozenset(
    {
        "roberta",
        "xlm-roberta",
        "camembert",
        "modernbert",
        "bert",
        "distilbert",
        "electra",
        "mpnet",
        "deberta-v2",
    }
)
# Settings that say where the model is or how fast it runs, and those that another kind of model has no use for.
_OUTSIDE = {"model", "revision", "offline", "device", "batch_seconds"}
_LONG_AUDIO, _WINDOW = {"chunk_seconds", "overlap_seconds"}, {"window"}


class HuggingFace:
    """Hidden states of `config.model`, combined by `config.layers`.

    `last` `[t, d]`; `sum_last_4` and `mean_last_4` `[t, d]`; `all` `[t, (layers + 1) * d]`: the input of the first layer, then
    every layer's output, `d` numbers each. The last state is always the encoder's result, so where a final layer norm
    follows the last layer (WavLM-large, HuBERT-large, Whisper) it is the normed one, as in transformers 4.
    """

    parallel = False  # it uses all cores, or the GPU, by itself
    packages: tuple[str, ...] = ("transformers", "torch")

    def __init__(self, config: HuggingFaceConfig) -> None:
        self.combination = config.layers or default_layers(config.model)
        self.config, self.folder = (
            config,
            locate(config.model, config.revision, offline=config.offline),
        )
        self.name = re.sub(r"[^A-Za-z0-9_.-]", "-", short_name(config.model))
        settings = read_settings(self.folder)
        self.kind = str(settings.get("model_type"))
        if self.kind not in WAVEFORM | TEXT | {"whisper"}:
            known = ", ".join(sorted(WAVEFORM | TEXT | {"whisper"}))
            raise FeatureError(
                f"models of the kind {self.kind!r} are not supported (supported: {known})",
                where=self.folder,
            )
        self.reads: Literal["audio", "text"] = "text" if self.kind in TEXT else "audio"
        hidden, self.layers = _shape(settings, self.folder)
        if self.layers < 4 and self.combination.endswith("last_4"):
            raise ConfigError(
                f"{self.name} has {self.layers} layers: {self.combination} needs 4",
                where="layers",
                hint="use last or all",
            )
        self.width = hidden * (self.layers + 1) if self.combination == "all" else hidden

    def identity(self) -> dict[str, object]:
        """The settings that determine the numbers, and the digest of every file of the model; where it came from does not matter."""
        unused = (_LONG_AUDIO if self.kind not in WAVEFORM else set()) | (
            _WINDOW if self.kind != "whisper" else set()
        )
        settings = self.config.model_dump(mode="json", exclude=_OUTSIDE | unused)
        return {
            **settings,
            "layers": self.combination,
            "version": 2,
            "model": self.name,
            "files": self._digests,
        }

    def prepare(self) -> None:
        """Load the model and what feeds it. Raises `DependencyError` without PyTorch, `FeatureError` if they do not load."""
        _ = self._encoder

    def __call__(
        self, inputs: Sequence[np.ndarray] | Sequence[str]
    ) -> list[np.ndarray | MedusaError]:
        """Frames `[t, width]`, float32, of each input: speech at the model's own rate (50/s), text one frame a token without the special
        ones; a transcript without tokens is one zero frame. Or why there are none: `AudioError` for speech shorter than a frame,
        `FeatureError` where memory does not suffice."""
        from medusa_jax.torch_encoders.batch_runner import Runner

        pieces = [self._pieces(value) for value in inputs]
        every = [piece for some in pieces if isinstance(some, list) for piece in some]
        seconds = self.config.batch_seconds or BATCH_SECONDS[self._placement.device.type]
        made = dict(
            Runner(self._encoder.forward, self._placement)(
                batches(every, round(seconds * FRAMES_A_SECOND), alike=self._encoder.alike)
            )
        )
        return [
            some if isinstance(some, MedusaError) else self._joined([made[piece] for piece in some])
            for some in pieces
        ]

    def _pieces(self, value: np.ndarray | str) -> list[Piece] | MedusaError:
        try:
            pieces: list[Piece] = self._encoder.pieces(value)
            return pieces
        except MedusaError as error:
            return error

    def _joined(self, parts: list[np.ndarray | MedusaError]) -> np.ndarray | MedusaError:
        """The frames of one input's pieces, or the first error among them."""
        frames = [part for part in parts if isinstance(part, np.ndarray)]
        if len(frames) < len(parts):
            return next(part for part in parts if isinstance(part, MedusaError))
        return np.concatenate(frames) if frames else np.zeros((1, self.width), np.float32)

    @cached_property
    def _digests(self) -> dict[str, str]:
        return digests(self.folder)

    @cached_property
    def _placement(self) -> Placement:
        return Placement(self.config.device, self.config.compute)

    @cached_property
    def _encoder(self) -> Any:
        """The model with what feeds it."""
        model = load_model(self.folder)
        from medusa_jax.torch_encoders.hidden_states import HiddenStates
        from medusa_jax.torch_encoders.speech import SpeechEncoder
        from medusa_jax.torch_encoders.text import TextEncoder
        from medusa_jax.torch_encoders.wavlm_attention import use_fused_attention
        from medusa_jax.torch_encoders.whisper import WhisperEncoder

        model = model.get_encoder() if self.kind == "whisper" else model
        if self.kind == "wavlm":
            use_fused_attention(model)
        model = self._placement.settle(model)
        states = HiddenStates(model, self.layers, self.combination)
        if self.reads == "text":
            return TextEncoder(model, load_tokenizer(self.folder), states, self._placement)
        made = WhisperEncoder if self.kind == "whisper" else SpeechEncoder
        return made(model, self._audio_feeder(), self.config, states, self._placement)

    def _audio_feeder(self) -> Any:
        """The feature extractor with the model's own normalisation."""
        feeder = load_preprocessor(self.folder)
        if feeder.sampling_rate != RATE:
            raise FeatureError(
                f"{self.name} takes audio at {feeder.sampling_rate} Hz; only {RATE} Hz is supported",
                where=self.folder,
            )
        return feeder


def _shape(settings: dict[str, Any], folder: Path) -> tuple[int, int]:
    """Width of a hidden state, and how many layers make one."""
    hidden = settings.get("d_model", settings.get("hidden_size", settings.get("dim")))
    layers = settings.get(
        "encoder_layers", settings.get("num_hidden_layers", settings.get("n_layers"))
    )
    if not isinstance(hidden, int) or not isinstance(layers, int):
        raise FeatureError(
            "config.json does not say the model's width and number of layers", where=folder
        )
    return hidden, layers
