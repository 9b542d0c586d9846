"""WavLM, HuBERT, wav2vec 2.0 and similar: convolutions over the waveform, then a transformer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medusa_jax.audio.chunks import Grid, Piece, padded
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.torch_encoders.device import Placement
from medusa_jax.torch_encoders.hidden_states import HiddenStates


class SpeechEncoder:
    """Pieces of waveform in, hidden states out.

    `alike`: a batch may only hold pieces of one length, because padding changes the transformer's
    output even with a mask.
    """

    def __init__(
        self,
        model: Any,
        feeder: Any,
        config: HuggingFaceConfig,
        states: HiddenStates,
        placement: Placement,
    ) -> None:
        self._model, self._feeder, self._config = model, feeder, config
        self._states, self._placement = states, placement
        settings = model.config
        # Padding does not stay zero in data2vec, which normalises between several positional
        # convolutions, nor after a batch norm that precedes such a convolution.
        self.alike = settings.model_type == "data2vec-audio" or bool(
            getattr(settings, "conv_pos_batch_norm", False)
        )
        # The mean of a group norm over time includes the padding.
        self._grouped = getattr(settings, "feat_extract_norm", "layer") == "group"
        self._grid = Grid.of(settings.conv_kernel, settings.conv_stride)

    def pieces(self, wave_n: np.ndarray) -> list[Piece]:
        """The utterance as the model expects it, in chunks: see `Grid.pieces`."""
        seconds = self._config.chunk_seconds, self._config.overlap_seconds
        return self._grid.pieces(wave_n, self._feeder, *seconds)

    def forward(self, pieces: Sequence[Piece]) -> Any:
        """Return combined hidden states `[b, t, width]`, float32, on the device."""
        hidden = self._model.feature_projection(self._front(pieces))
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        mask_bt = self._placement.mask([piece.frames for piece in pieces])
        return self._states.combined(
            lambda: self._model.encoder(hidden, attention_mask=mask_bt).last_hidden_state
        )

    def _front(self, pieces: Sequence[Piece]) -> Any:
        """Return the output of the convolutions `[b, t, d]`.

        A frame depends on its own samples only, so padding changes nothing. With a group norm it
        depends on all samples, so only pieces of equal length are run together.
        """
        import torch

        if not self._grouped:
            return self._convolved(pieces)[:, : max(piece.frames for piece in pieces)]
        lengths = [len(piece.values) for piece in pieces]
        rows: dict[int, Any] = {}
        for length in dict.fromkeys(lengths):
            places = [place for place, other in enumerate(lengths) if other == length]
            made = self._convolved([pieces[place] for place in places])
            rows.update(zip(places, made, strict=True))
        ordered = [rows[place] for place in range(len(pieces))]
        return torch.nn.utils.rnn.pad_sequence(ordered, batch_first=True)

    def _convolved(self, pieces: Sequence[Piece]) -> Any:
        waves_bn = self._placement.floats(padded([piece.values for piece in pieces]))
        return self._model.feature_extractor(waves_bn).transpose(1, 2)
