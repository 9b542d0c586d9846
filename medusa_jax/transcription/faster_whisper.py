"""Whisper through faster-whisper: a model in CTranslate2's format, one window after the other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medusa_jax.backbones.catalogue import PREFIX
from medusa_jax.backbones.model_folder import digest_of_file
from medusa_jax.config.features import TranscriptionConfig
from medusa_jax.errors import DependencyError, FeatureError, MedusaError
from medusa_jax.transcription.transcriber import WINDOW

PACKAGES = ("faster-whisper", "ctranslate2")
_MODEL = "model.bin"


class Source:
    """A folder that CTranslate2's converter wrote."""

    def __init__(self, config: TranscriptionConfig) -> None:
        self.config, self.folder = config, Path(config.model.removeprefix(PREFIX)).expanduser()
        if not (self.folder / _MODEL).is_file():
            hint = "convert one: ct2-transformers-converter --model FOLDER --output_dir NEW --copy_files tokenizer.json preprocessor_config.json"
            raise FeatureError(
                "faster-whisper takes a folder of CTranslate2's, and this is none",
                where=config.model,
                hint=hint,
            )

    def identity(self) -> dict[str, object]:
        """Digests of all its files."""
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        return {"revision": None, "files": {path.name: digest_of_file(path) for path in files}}

    def decoder(self) -> "FasterWhisperDecoder":
        """The model, loaded."""
        return FasterWhisperDecoder(self)


class FasterWhisperDecoder:
    """See `Decoder`."""

    window = WINDOW

    def __init__(self, source: Source) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise DependencyError(
                "faster-whisper is not installed", hint="pip install 'medusa-jax[faster-whisper]'"
            ) from error
        self._config = source.config
        device, _, index = source.config.device.partition(":")
        try:
            self._model = WhisperModel(
                str(source.folder),
                device=device,
                device_index=int(index or 0),
                compute_type=source.config.compute,
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise FeatureError(
                f"the model does not load: {error}", where=source.folder, hint="convert it again"
            ) from error

    def __call__(self, waves: Sequence[np.ndarray]) -> list[str | MedusaError]:
        """The words in each."""
        return [self._text(wave_n) for wave_n in waves]

    def _text(self, wave_n: np.ndarray) -> str | MedusaError:
        """Every heuristic that would decode again, skip silence or look back is off: what is heard depends on the window alone."""
        try:
            segments, _ = self._model.transcribe(
                wave_n,
                language=self._config.language,
                beam_size=self._config.beams,
                temperature=0.0,
                max_new_tokens=self._config.max_tokens,
                condition_on_previous_text=False,
                without_timestamps=True,
                compression_ratio_threshold=None,
                log_prob_threshold=None,
                no_speech_threshold=None,
                vad_filter=False,
            )
            return " ".join(segment.text for segment in segments)
        except (RuntimeError, ValueError) as error:
            return FeatureError(f"the model failed: {error}")
