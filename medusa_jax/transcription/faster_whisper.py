"""Whisper through faster-whisper: a model in CTranslate2's format, one window at a time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.errors import DependencyError, FeatureError, MedusaError
from medusa_jax.hub.catalogue import PREFIX
from medusa_jax.hub.model_folder import digest_of_file
from medusa_jax.transcription.decoder import WINDOW

_MODEL = "model.bin"


def uses_cuda(device: str) -> bool:
    """Tell whether a model configured for `device` runs on CUDA."""
    if device != "auto":
        return device.startswith("cuda")
    try:
        import ctranslate2
    except ImportError:
        return False
    return bool(ctranslate2.get_cuda_device_count())


class Source:
    """A folder written by CTranslate2's converter."""

    backend, packages = "faster-whisper", ("faster-whisper", "ctranslate2")

    def __init__(self, config: TranscriptionConfig) -> None:
        self.config, self.folder = config, Path(config.model.removeprefix(PREFIX)).expanduser()
        if not (self.folder / _MODEL).is_file():
            raise FeatureError(
                "faster-whisper needs a folder in CTranslate2's format",
                where=config.model,
                hint="convert a model: ct2-transformers-converter --model FOLDER "
                "--output_dir NEW --copy_files tokenizer.json preprocessor_config.json",
            )

    def identity(self) -> dict[str, object]:
        """Return the library and the digests of all files."""
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        return {
            "backend": self.backend,
            "revision": None,
            "files": {path.name: digest_of_file(path) for path in files},
        }


class FasterWhisperDecoder:
    """A `Decoder` on CTranslate2."""

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
        """Return the words of each waveform."""
        return [self._text(wave_n) for wave_n in waves]

    def _text(self, wave_n: np.ndarray) -> str | MedusaError:
        """Transcribe one window without any heuristic that depends on more than the window.

        Repeated decoding, silence detection and conditioning on earlier text are disabled.
        """
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
