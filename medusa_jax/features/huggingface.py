"""Frames from a pretrained encoder (spec section 1): WavLM, HuBERT, wav2vec 2.0, Whisper's encoder, RoBERTa, ModernBERT, BERT.

One utterance goes through the model at a time, whole, so nothing depends on its neighbours.
"""

import math
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medusa_jax.config import HuggingFaceConfig
from medusa_jax.corpus.audio import RATE
from medusa_jax.errors import AudioError, ConfigError, FeatureError
from medusa_jax.features.pretrained import digests, load_model, load_preprocessor, load_tokenizer, locate, read_settings

WAVEFORM = frozenset({"wavlm", "hubert", "wav2vec2", "data2vec-audio", "unispeech", "unispeech-sat"})
TEXT = frozenset({"roberta", "xlm-roberta", "camembert", "modernbert", "bert", "distilbert", "electra", "mpnet", "deberta-v2"})


class HuggingFace:
    """Hidden states of `config.model`, combined by `config.layers`.

    `last` `[t, d]`; `sum_last_4` and `mean_last_4` `[t, d]`; `all` `[t, (layers + 1) * d]`: the input of the first layer, then
    every layer's output, `d` numbers each. The last state is always the encoder's result, so where a final layer norm
    follows the last layer (WavLM-large, HuBERT-large, Whisper) it is the normed one, as in transformers 4.
    """

    parallel = False  # PyTorch uses all cores by itself
    packages: tuple[str, ...] = ("transformers", "torch")

    def __init__(self, config: HuggingFaceConfig) -> None:
        self.config, self.folder = config, locate(config)
        self.name = re.sub(r"[^A-Za-z0-9_.-]", "-", Path(config.model).name)
        settings = read_settings(self.folder)
        self.kind = str(settings.get("model_type"))
        if self.kind not in WAVEFORM | TEXT | {"whisper"}:
            known = ", ".join(sorted(WAVEFORM | TEXT | {"whisper"}))
            raise FeatureError(f"models of the kind {self.kind!r} are not supported (supported: {known})", where=self.folder)
        self.reads: Literal["audio", "text"] = "text" if self.kind in TEXT else "audio"
        hidden, self.layers = _shape(settings, self.folder)
        if self.layers < 4 and config.layers.endswith("last_4"):
            raise ConfigError(f"{self.name} has {self.layers} layers: {config.layers} needs 4", where="layers", mend="use last or all")
        self.width = hidden * (self.layers + 1) if config.layers == "all" else hidden

    def identity(self) -> dict[str, object]:
        """The settings, and the digest of every file of the model; where it came from does not matter."""
        settings = self.config.model_dump(mode="json", exclude={"model", "revision", "offline"})
        return {**settings, "version": 1, "model": self.name, "files": self._digests}

    def prepare(self) -> None:
        """Load the model and what feeds it. Raises `DependencyError` without PyTorch, `FeatureError` if they do not load."""
        _ = self._model, self._feeder

    def __call__(self, inputs: Sequence[np.ndarray] | Sequence[str]) -> list[np.ndarray]:
        """Frames `[t, width]`, float32; speech at the model's own rate (50/s), text one frame a token without the special ones.

        A transcript without tokens is one zero frame. Raises `AudioError` for speech shorter than one frame.
        """
        return [self._one(value) for value in inputs]

    def _one(self, value: np.ndarray | str) -> np.ndarray:
        if isinstance(value, str):
            return self._text(value)
        return self._whisper(value) if self.kind == "whisper" else self._waveform(value)

    def _waveform(self, wave_n: np.ndarray) -> np.ndarray:
        shortest = 1
        for kernel, stride in zip(reversed(self._model.config.conv_kernel), reversed(self._model.config.conv_stride), strict=True):
            shortest = (shortest - 1) * stride + kernel
        if len(wave_n) < shortest:
            raise AudioError(f"{len(wave_n)} samples are too short for {self.name} (at least {shortest})")
        values = self._feeder(wave_n, sampling_rate=RATE, return_tensors="pt")["input_values"]
        return self._states(input_values=values)

    def _whisper(self, wave_n: np.ndarray) -> np.ndarray:
        """Windows of 30 s, each cut to the frames of its real length, joined."""
        window, samples_a_frame = self._feeder.n_samples, 2 * self._feeder.hop_length
        parts_td = []
        for start in range(0, len(wave_n), window):
            part_n = wave_n[start : start + window]
            mel = self._feeder(part_n, sampling_rate=RATE, return_tensors="pt")["input_features"]
            parts_td.append(self._states(input_features=mel)[: math.ceil(len(part_n) / samples_a_frame)])
        return np.concatenate(parts_td)

    def _text(self, text: str) -> np.ndarray:
        """Tokens in windows that the model can take, each between the special tokens, which are dropped afterwards."""
        import torch

        encoded = self._feeder(text, return_special_tokens_mask=True, truncation=False, verbose=False)
        ids, special = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
        if all(special):
            return np.zeros((1, self.width), np.float32)
        first, last = special.index(0), len(special) - special[::-1].index(0)
        before, content, after = ids[:first], ids[first:last], ids[last:]
        room = self._longest - len(before) - len(after)
        parts_td = []
        for start in range(0, len(content), room):
            piece = torch.tensor([before + content[start : start + room] + after])
            states_td = self._states(input_ids=piece, attention_mask=torch.ones_like(piece))
            parts_td.append(states_td[len(before) : len(states_td) - len(after)])
        return np.concatenate(parts_td)

    def _states(self, **inputs: Any) -> np.ndarray:
        """The combined hidden states `[t, width]` of one sequence."""
        import torch

        with torch.inference_mode():
            output = self._model(**inputs, output_hidden_states=True)
            # transformers 5 leaves the final layer norm out of hidden_states[-1] for some encoders, 4 did not.
            states = [*output.hidden_states[:-1], output.last_hidden_state]
            if len(states) != self.layers + 1:
                raise FeatureError(f"{self.name} gave {len(states)} hidden states where its config says {self.layers} layers")
            combined = _combine(torch.stack(states)[:, 0].float(), self.config.layers)
        return np.ascontiguousarray(combined.cpu().numpy())

    @cached_property
    def _digests(self) -> dict[str, str]:
        return digests(self.folder)

    @cached_property
    def _model(self) -> Any:
        model = load_model(self.folder)
        return model.get_encoder() if self.kind == "whisper" else model

    @cached_property
    def _feeder(self) -> Any:
        """The tokenizer, or the feature extractor with the model's own normalisation."""
        if self.reads == "text":
            return load_tokenizer(self.folder)
        feeder = load_preprocessor(self.folder)
        if feeder.sampling_rate != RATE:
            raise FeatureError(f"{self.name} takes audio at {feeder.sampling_rate} Hz; only {RATE} Hz is supported", where=self.folder)
        return feeder

    @cached_property
    def _longest(self) -> int:
        """Tokens a sequence may have, the special ones included."""
        table = getattr(getattr(self._model, "embeddings", None), "position_embeddings", None)
        # RoBERTa counts positions from padding_idx + 1.
        offset = getattr(table, "padding_idx", None)
        positions = int(self._model.config.max_position_embeddings) - (offset + 1 if offset is not None else 0)
        return min(positions, int(self._feeder.model_max_length))


def _shape(settings: dict[str, Any], folder: Path) -> tuple[int, int]:
    """Width of a hidden state, and how many layers make one."""
    hidden = settings.get("d_model", settings.get("hidden_size", settings.get("dim")))
    layers = settings.get("encoder_layers", settings.get("num_hidden_layers", settings.get("n_layers")))
    if not isinstance(hidden, int) or not isinstance(layers, int):
        raise FeatureError("config.json does not say the model's width and number of layers", where=folder)
    return hidden, layers


def _combine(states_ltd: Any, layers: str) -> Any:
    """Hidden states `[layer, t, d]` to frames `[t, width]`."""
    if layers == "last":
        return states_ltd[-1]
    if layers == "sum_last_4":
        return states_ltd[-4:].sum(0)
    if layers == "mean_last_4":
        return states_ltd[-4:].mean(0)
    return states_ltd.transpose(0, 1).flatten(1)
