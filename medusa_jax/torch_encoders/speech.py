"""WavLM, HuBERT, wav2vec 2.0 and their like: a convolutional front end, then a transformer with a positional convolution."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from medusa_jax.audio.chunks import Piece, chunks, padded
from medusa_jax.audio.decode import RATE
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.errors import AudioError
from medusa_jax.torch_encoders.device import Placement
from medusa_jax.torch_encoders.hidden_states import HiddenStates


class SpeechEncoder:
    """Pieces of waveform in, hidden states out; `alike` where not even a mask makes the transformer indifferent to padding."""

    def __init__(
        self,
        model: Any,
        feeder: Any,
        config: HuggingFaceConfig,
        states: HiddenStates,
        placement: Placement,
    ) -> None:
        self._model, self._feeder, self._states, self._placement = model, feeder, states, placement
        settings = model.config
        # data2vec normalises between several positional convolutions, and a batch norm before one shifts the padding: neither leaves padding at zero.
        self.alike = settings.model_type == "data2vec-audio" or bool(
            getattr(settings, "conv_pos_batch_norm", False)
        )
        # A group norm over time takes its mean over the padding too.
        self._grouped = getattr(settings, "feat_extract_norm", "layer") == "group"
        self._stride, self._field = math.prod(settings.conv_stride), 1
        for kernel, stride in zip(
            reversed(settings.conv_kernel), reversed(settings.conv_stride), strict=True
        ):
            self._field = (self._field - 1) * stride + kernel
        self._chunk = max(1, round(config.chunk_seconds * RATE / self._stride))
        self._overlap = round(config.overlap_seconds * RATE / self._stride)

    def pieces(self, wave_n: np.ndarray) -> list[Piece]:
        """The utterance, normalised as the model wants it, whole or in overlapping chunks on the grid of its frames.

        Raises `AudioError` if it is shorter than one frame.
        """
        if len(wave_n) < self._field:
            raise AudioError(
                f"{len(wave_n)} samples are too short for the encoder (at least {self._field})"
            )
        values = np.asarray(
            self._feeder(wave_n, sampling_rate=RATE, return_tensors="np")["input_values"][0],
            np.float32,
        )
        frames = (len(values) - self._field) // self._stride + 1
        parts = chunks(frames, self._chunk, self._overlap)
        if len(parts) == 1:
            return [Piece(values, frames, slice(0, frames), frames)]
        ends = [(part.stop - 1) * self._stride + self._field for part, _ in parts]
        return [
            Piece(values[part.start * self._stride : end], len(part), keep, len(part))
            for (part, keep), end in zip(parts, ends, strict=True)
        ]

    def forward(self, pieces: Sequence[Piece]) -> Any:
        """Combined hidden states `[b, t, width]`, float32, on the device."""
        hidden = self._model.feature_projection(self._front(pieces))
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        mask_bt = self._placement.mask([piece.frames for piece in pieces])
        return self._states.combined(
            lambda: self._model.encoder(hidden, attention_mask=mask_bt).last_hidden_state
        )

    def _front(self, pieces: Sequence[Piece]) -> Any:
        """Output of the convolutions `[b, t, d]`. A frame sees its own samples alone, so that padding changes nothing;
        where a group norm sees all of them, only pieces of equal length go together."""
        import torch

        if not self._grouped:
            return self._convolved(pieces)[:, : max(piece.frames for piece in pieces)]
        lengths = [len(piece.values) for piece in pieces]
        rows: dict[int, Any] = {}
        for length in dict.fromkeys(lengths):
            places = [place for place, other in enumerate(lengths) if other == length]
            rows.update(
                zip(places, self._convolved([pieces[place] for place in places]), strict=True)
            )
        return torch.nn.utils.rnn.pad_sequence(
            [rows[place] for place in range(len(pieces))], batch_first=True
        )

    def _convolved(self, pieces: Sequence[Piece]) -> Any:
        waves_bn = self._placement.floats(padded([piece.values for piece in pieces]))
        return self._model.feature_extractor(waves_bn).transpose(1, 2)
