"""Whisper's encoder: windows of 30 s of log-mel energies, padded or of their real length."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from medusa_jax.audio.chunks import Piece, cut
from medusa_jax.audio.decode import RATE
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.torch_encoders.device import Placement
from medusa_jax.torch_encoders.hidden_states import HiddenStates


class WhisperEncoder:
    """Pieces of waveform of at most 30 s in, hidden states out."""

    alike = False

    def __init__(
        self,
        model: Any,
        feeder: Any,
        config: HuggingFaceConfig,
        states: HiddenStates,
        placement: Placement,
    ) -> None:
        self._model, self._feeder = model, feeder
        self._states, self._placement = states, placement
        self._real = config.window == "real"
        self._samples_a_frame = 2 * feeder.hop_length

    def pieces(self, wave_n: np.ndarray) -> list[Piece]:
        """Split the waveform into windows; only the frames of each one's real length are kept."""
        size = None if self._real else int(self._model.config.max_source_positions)
        return cut(wave_n, self._feeder.n_samples, self._samples_a_frame, size)

    def forward(self, pieces: Sequence[Piece]) -> Any:
        """Return combined hidden states `[b, t, width]`, float32, on the device."""
        if self._real:
            return self._states.combined(lambda: self._encode_real(pieces))
        mel_bdt = self._mel(pieces, self._feeder.n_samples)
        return self._states.combined(lambda: self._model(mel_bdt).last_hidden_state)

    def _mel(self, pieces: Sequence[Piece], samples: int) -> Any:
        """Return log-mel energies `[b, band, t]`, padded with silence to `samples`."""
        mel = self._feeder(
            [piece.values for piece in pieces],
            sampling_rate=RATE,
            max_length=samples,
            return_tensors="np",
            device=str(self._placement.device),
        )
        return self._placement.floats(mel["input_features"])

    def _encode_real(self, pieces: Sequence[Piece]) -> Any:
        """Run transformers' forward pass over fewer positions than 30 s have, padding masked."""
        import torch
        from torch.nn import functional

        model, frames = self._model, max(piece.frames for piece in pieces)
        mel_bdt = self._mel(pieces, self._samples(frames))[..., : 2 * frames]
        mask_bt = self._placement.mask([piece.frames for piece in pieces])
        if mask_bt is not None:  # zeros after the end, as for the utterance alone
            mel_bdt = mel_bdt * mask_bt.repeat_interleave(2, dim=1)[:, None, :]
        hidden = functional.gelu(model.conv2(functional.gelu(model.conv1(mel_bdt)))).transpose(1, 2)
        hidden = hidden + model.embed_positions(torch.arange(frames, device=hidden.device))
        attend = None if mask_bt is None else mask_bt[:, None, None, :].expand(-1, 1, frames, -1)
        for layer in model.layers:
            hidden = layer(hidden, attend)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return model.layer_norm(hidden)

    def _samples(self, frames: int) -> int:
        """Return the samples of `frames` frames, followed by silence as long as the transform.

        So the energies equal those of the window padded to 30 s.
        """
        hop = self._feeder.hop_length
        samples = frames * self._samples_a_frame + math.ceil(self._feeder.n_fft / hop) * hop
        return min(samples, int(self._feeder.n_samples))
