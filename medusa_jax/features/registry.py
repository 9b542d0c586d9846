"""Build the extractor of a configuration, importing only what that extractor needs."""

from medusa_jax.config.features import (
    ExtractorConfig,
    FramesConfig,
    HashedTextConfig,
    HuggingFaceConfig,
    LogMelConfig,
    WaveformConfig,
)
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.features.extractor import Extractor


def build_extractor(config: ExtractorConfig | TranscriptionConfig) -> Extractor:
    """Build the extractor that `config` describes.

    Raises `DependencyError` for a missing extra, `FeatureError` for a model that is missing or of
    an unsupported kind.
    """
    if isinstance(config, LogMelConfig):
        from medusa_jax.features.logmel import LogMel

        return LogMel(config)
    if isinstance(config, WaveformConfig):
        from medusa_jax.features.waveform import Waveform

        return Waveform(config)
    if isinstance(config, HashedTextConfig):
        from medusa_jax.features.hashed_text import HashedText

        return HashedText(config)
    if isinstance(config, FramesConfig):
        from medusa_jax.features.frames import Frames

        return Frames(config)
    if isinstance(config, HuggingFaceConfig):
        from medusa_jax.features.encoder import HuggingFace

        return HuggingFace(config)
    if isinstance(config, TranscriptionConfig):
        from medusa_jax.transcription.transcriber import Transcriber

        return Transcriber(config)
    from medusa_jax.features.opensmile import OpenSmile

    return OpenSmile(config)
