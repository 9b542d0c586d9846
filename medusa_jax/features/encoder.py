"""Frames from a pretrained encoder: WavLM, HuBERT, wav2vec 2.0, Whisper, RoBERTa, ModernBERT, BERT.

Inputs run in batches of similar length with padding masked, so no frame depends on its batch.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medusa_jax.audio.chunks import BATCH_SECONDS, FRAMES_A_SECOND, Piece, batches
from medusa_jax.audio.decode import RATE
from medusa_jax.backbones.ported import lacking
from medusa_jax.backbones.speech_config import FAMILIES
from medusa_jax.backbones.whisper_config import KIND
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.errors import ConfigError, FeatureError, MedusaError
from medusa_jax.hub.catalogue import default_layers, short_name
from medusa_jax.hub.locate import locate
from medusa_jax.hub.model_folder import digests, read_settings
from medusa_jax.hub.preprocessing import load_preprocessor, load_tokenizer
from medusa_jax.torch_encoders.device import Placement

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
_SUPPORTED = WAVEFORM | TEXT | {"whisper"}
# Settings that change the place and the speed of the work only, and those of other architectures.
_OUTSIDE = {"model", "revision", "offline", "device", "batch_seconds", "backend"}
_LONG_AUDIO, _WINDOW = {"chunk_seconds", "overlap_seconds"}, {"window"}


class HuggingFace:
    """Hidden states of `config.model`, combined by `config.layers`.

    `last`, `sum_last_4` and `mean_last_4` give `[t, d]`; `all` gives `[t, (layers + 1) * d]`: the
    input of the first layer, then the output of each layer. The last state is always the encoder's
    result, so a final layer norm (WavLM-large, HuBERT-large, Whisper) is included, as in
    transformers 4.
    """

    parallel = False  # one call uses all cores or the GPU

    def __init__(self, config: HuggingFaceConfig) -> None:
        self.config = config
        self.combination = config.layers or default_layers(config.model)
        self.folder = locate(config.model, config.revision, offline=config.offline)
        self.name = re.sub(r"[^A-Za-z0-9_.-]", "-", short_name(config.model))
        settings = read_settings(self.folder)
        self.kind = str(settings.get("model_type"))
        if self.kind not in _SUPPORTED:
            raise FeatureError(
                f"models of the kind {self.kind!r} are not supported "
                f"(supported: {', '.join(sorted(_SUPPORTED))})",
                where=self.folder,
            )
        self._lacking = lacking(self.folder, config.compute, config.backend, "torch")
        self.flax = config.backend != "torch" and not self._lacking
        library = ("jax", "flax") if self.flax else ("torch",)
        self.packages: tuple[str, ...] = ("transformers", *library)
        self.reads: Literal["audio", "text"] = "text" if self.kind in TEXT else "audio"
        hidden, self.layers = _shape(settings, self.folder)
        if self.layers < 4 and self.combination.endswith("last_4"):
            raise ConfigError(
                f"{self.name} has {self.layers} layers, but {self.combination} needs 4",
                where="layers",
                hint="use last or all",
            )
        self.width = {
            "all": hidden * (self.layers + 1),
            "conv": settings.get("conv_dim", [0])[-1],
        }.get(self.combination, hidden)
        if self.combination == "conv" and not (self.flax and self.kind in FAMILIES):
            raise ConfigError(
                "conv is for WavLM, HuBERT and wav2vec 2.0 that run in JAX",
                where="layers",
                hint=f"not ported: {'; '.join(self._lacking)}" if self._lacking else None,
            )

    def identity(self) -> dict[str, object]:
        """Return the settings that determine the numbers and the digest of each model file.

        The model's location is not part of it, nor is the library where its numbers are PyTorch's
        within float16's rounding.
        """
        unused = set() if self.kind in WAVEFORM else set(_LONG_AUDIO)
        if self.kind != "whisper":
            unused |= _WINDOW
        rounded = self.flax and self.config.compute != "float32"
        return {
            **self.config.model_dump(mode="json", exclude=_OUTSIDE | unused),
            **({"backend": "flax"} if rounded else {}),
            "layers": self.combination,
            "version": 2,
            "model": self.name,
            "files": self._digests,
        }

    def prepare(self) -> None:
        """Load the model. Raises `DependencyError` if it needs PyTorch, which is not installed,
        and `FeatureError` if it does not load.
        """
        _ = self._encoder

    def __call__(
        self, inputs: Sequence[np.ndarray] | Sequence[str]
    ) -> list[np.ndarray | MedusaError]:
        """Return frames `[t, width]`, float32, of each input, or the error that prevented them.

        Speech has 50 frames a second; text has one frame per token without the special ones, and
        one zero frame if it has no tokens. Errors are `AudioError` for speech shorter than a
        frame and `FeatureError` where memory runs out.
        """
        pieces = [self._pieces(value) for value in inputs]
        every = [piece for some in pieces if isinstance(some, list) for piece in some]
        made = dict(self._encoder.run(every) if self.flax else self._run_in_torch(every))
        return [self._joined(some, made) for some in pieces]

    def _run_in_torch(
        self, every: Sequence[Piece]
    ) -> Iterator[tuple[Piece, np.ndarray | MedusaError]]:
        """Every piece with its frames, in batches of like length."""
        from medusa_jax.torch_encoders.batch_runner import Runner

        seconds = self.config.batch_seconds or BATCH_SECONDS[self._placement.device.type]
        frames = round(seconds * FRAMES_A_SECOND)
        run = Runner(self._encoder.forward, self._placement)
        return run(batches(every, frames, alike=self._encoder.alike))

    def _pieces(self, value: np.ndarray | str) -> list[Piece] | MedusaError:
        try:
            pieces: list[Piece] = self._encoder.pieces(value)
            return pieces
        except MedusaError as error:
            return error

    def _joined(
        self, pieces: list[Piece] | MedusaError, made: dict[Piece, np.ndarray | MedusaError]
    ) -> np.ndarray | MedusaError:
        """Join the frames of one input's pieces, or return the first error among them."""
        if isinstance(pieces, MedusaError):
            return pieces
        frames = []
        for piece in pieces:
            part = made[piece]
            if isinstance(part, MedusaError):
                return part
            frames.append(part)
        return np.concatenate(frames) if frames else np.zeros((1, self.width), np.float32)

    @cached_property
    def _digests(self) -> dict[str, str]:
        return digests(self.folder)

    @cached_property
    def _placement(self) -> Placement:
        return Placement(self.config.device, self.config.compute)

    @cached_property
    def _encoder(self) -> Any:
        """The model with its tokenizer or feature extractor."""
        return self._in_flax() if self.flax else self._in_torch()

    def _in_flax(self) -> Any:
        from medusa_jax.features.flax_runner import Encoder, Runner
        from medusa_jax.features.flax_speech import SpeechEncoder
        from medusa_jax.features.flax_text import TextEncoder
        from medusa_jax.features.flax_whisper import WhisperEncoder

        encoder: Encoder
        if self.reads == "text":
            encoder = TextEncoder(self.folder, load_tokenizer(self.folder))
        elif self.kind == KIND:
            encoder = WhisperEncoder(self.folder, self.config)
        else:
            encoder = SpeechEncoder(self.folder, self._audio_feeder(), self.config)
        return Runner(encoder, self.config, self.combination)

    def _in_torch(self) -> Any:
        from medusa_jax.torch_encoders.hidden_states import HiddenStates
        from medusa_jax.torch_encoders.loading import load_model
        from medusa_jax.torch_encoders.speech import SpeechEncoder
        from medusa_jax.torch_encoders.text import TextEncoder
        from medusa_jax.torch_encoders.whisper import WhisperEncoder

        model = load_model(self.folder, because=self._lacking)
        if self.kind == "whisper":
            model = model.get_encoder()
        if self.kind == "wavlm":
            from medusa_jax.torch_encoders.wavlm_attention import use_fused_attention

            use_fused_attention(model)
        model = self._placement.settle(model)
        states = HiddenStates(model, self.layers, self.combination)
        if self.reads == "text":
            return TextEncoder(model, load_tokenizer(self.folder), states, self._placement)
        speech = WhisperEncoder if self.kind == "whisper" else SpeechEncoder
        return speech(model, self._audio_feeder(), self.config, states, self._placement)

    def _audio_feeder(self) -> Any:
        """Load the feature extractor, which applies the model's own normalisation."""
        feeder = load_preprocessor(self.folder)
        if feeder.sampling_rate != RATE:
            raise FeatureError(
                f"{self.name} expects audio at {feeder.sampling_rate} Hz; "
                f"only {RATE} Hz is supported",
                where=self.folder,
            )
        return feeder


def _shape(settings: dict[str, Any], folder: Path) -> tuple[int, int]:
    """Return the width of a hidden state and the number of layers."""
    hidden = settings.get("d_model", settings.get("hidden_size", settings.get("dim")))
    layers = settings.get(
        "encoder_layers", settings.get("num_hidden_layers", settings.get("n_layers"))
    )
    if not isinstance(hidden, int) or not isinstance(layers, int):
        raise FeatureError(
            "config.json lacks the model's width or its number of layers", where=folder
        )
    return hidden, layers
