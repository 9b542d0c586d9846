"""Shape of a Whisper model, from config.json and preprocessor_config.json of its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medusa_jax.backbones.config_file import read_ported
from medusa_jax.backbones.noise import Rates
from medusa_jax.hub.model_folder import read_settings

KIND = "whisper"
RATE, FFT, HOP = 16_000, 400, 160
"""Sampling rate, and samples of a transform and from one to the next, of every Whisper."""
FRAME = 2 * HOP
"""Samples of an encoder's frame: the second convolution halves the rate."""


@dataclass(frozen=True)
class WhisperConfig:
    """What the modules need to know: the encoder, then the decoder, whose width is the same;
    `rates` are of the encoder's noise in training.
    """

    bands: int
    hidden: int
    layers: int
    heads: int
    feedforward: int
    positions: int
    decoder_layers: int
    decoder_heads: int
    decoder_feedforward: int
    decoder_positions: int
    vocabulary: int
    rates: Rates

    @property
    def window(self) -> int:
        """Samples of the longest audio: 30 s in published models."""
        return self.positions * FRAME


def read_config(folder: Path) -> WhisperConfig:
    """The configuration of a model's folder.

    Raises `FeatureError` that names every option that is not ported, or keys that are missing.
    """
    front_end = preprocessing(folder)
    return read_ported(folder, lambda given: unported(given, front_end), _config_of)


def unported(given: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> list[str]:
    """The options of a config.json and a feature extractor that the modules cannot do, in words."""
    if given.get("model_type") != KIND:
        return [f"the architecture {given.get('model_type')!r}"]
    found = []
    activation = given.get("activation_function", "gelu")
    if activation != "gelu":
        found.append(f"the activation {activation!r} (activation_function)")
    if not given.get("tie_word_embeddings", True):
        found.append("an output projection of its own (tie_word_embeddings)")
    return found + _other_front_end(preprocessing, given)


def _config_of(given: Mapping[str, Any]) -> WhisperConfig:
    return WhisperConfig(
        bands=given["num_mel_bins"],
        hidden=given["d_model"],
        layers=given["encoder_layers"],
        heads=given["encoder_attention_heads"],
        feedforward=given["encoder_ffn_dim"],
        positions=given["max_source_positions"],
        decoder_layers=given["decoder_layers"],
        decoder_heads=given["decoder_attention_heads"],
        decoder_feedforward=given["decoder_ffn_dim"],
        decoder_positions=given["max_target_positions"],
        vocabulary=given["vocab_size"],
        rates=Rates.of_whisper(given),
    )


def preprocessing(folder: Path) -> Mapping[str, Any]:
    """The settings of the folder's feature extractor, as far as it has any."""
    if (folder / "preprocessor_config.json").is_file():
        return read_settings(folder, "preprocessor_config.json")
    if (folder / "processor_config.json").is_file():
        found = read_settings(folder, "processor_config.json").get("feature_extractor")
        return found if isinstance(found, dict) else {}
    return {}


def _other_front_end(given: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
    """The settings of a feature extractor that make other energies than the modules do."""
    wanted = {"sampling_rate": RATE, "n_fft": FFT, "hop_length": HOP, "dither": 0.0}
    if "num_mel_bins" in model:
        wanted["feature_size"] = model["num_mel_bins"]
    if "max_source_positions" in model:
        wanted["chunk_length"] = model["max_source_positions"] * FRAME / RATE
    others = {key: given[key] for key in wanted if given.get(key, wanted[key]) != wanted[key]}
    return [f"{key} {value} of the feature extractor" for key, value in others.items()]
