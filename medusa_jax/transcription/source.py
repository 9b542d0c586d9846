"""The folder of a Whisper model, before the model is loaded, and the library that will run it."""

from typing import Literal

from medusa_jax.backbones.ported import lacking
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.errors import ConfigError, FeatureError
from medusa_jax.hub.locate import locate
from medusa_jax.hub.model_folder import digests, read_settings
from medusa_jax.hub.record import Record
from medusa_jax.transcription.prompt import FILE, unported_search

_PROMPT = 4
"""Tokens before the words: start, language, task, no timestamps."""


class Source:
    """A folder of safetensors and its settings.

    `lacking` names what keeps JAX from running the model; `backend` is the configured one, and for
    `auto` the library that can: the same on every machine.
    """

    def __init__(self, config: TranscriptionConfig) -> None:
        self.config = config
        self.folder = locate(config.model, config.revision, offline=config.offline)
        settings = read_settings(self.folder)
        kind = settings.get("model_type")
        if kind != "whisper":
            raise FeatureError(
                f"models of the kind {kind!r} do not transcribe; use Whisper", where=self.folder
            )
        longest = int(settings.get("max_target_positions", 448)) - _PROMPT
        if config.max_tokens > longest:
            raise ConfigError(
                f"this model writes at most {longest} tokens",
                where="transcription.max_tokens",
                hint=f"set it to {longest} or less",
            )
        search = unported_search(self.folder)
        self.lacking = lacking(self.folder, config.compute, config.backend, "transformers", search)
        in_jax = config.backend != "transformers" and not self.lacking
        self.backend: Literal["flax", "transformers"] = "flax" if in_jax else "transformers"
        library = ("jax", "flax") if in_jax else ("torch",)
        self.packages: tuple[str, ...] = ("transformers", *library)

    def identity(self) -> dict[str, object]:
        """Return the library, the commit and the digests of the files.

        The library is part of it: where two tokens are equally likely but for rounding, JAX and
        PyTorch may write another word.
        """
        record = Record.load(self.folder)
        return {
            "backend": self.backend,
            "revision": record.revision if record else self.config.revision,
            "files": digests(self.folder, FILE),
        }
