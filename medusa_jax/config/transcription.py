"""Configuration of transcription."""

from typing import Literal

from pydantic import Field

from medusa_jax.config.section import Config


class TranscriptionConfig(Config):
    """The source of the words: Whisper for every split, or the corpus's own transcripts."""

    backend: Literal["auto", "flax", "transformers", "faster-whisper", "corpus"] = Field(
        "auto",
        description="auto: flax, without PyTorch, or transformers for options of a model that are "
        "not ported and for compute float16; corpus: the corpus's own transcripts",
    )
    model: str = Field(
        "whisper-large-v3",
        min_length=1,
        description="as for the extractor huggingface; "
        "for faster-whisper a folder in CTranslate2's format",
    )
    revision: str | None = Field(None, description="of the hub id; none: the entry's commit")
    language: str = Field(
        "en",
        pattern=r"^[a-z]{2,3}$",
        description="never detected; an English-only model accepts only en",
    )
    beams: int = Field(1, ge=1, le=32, description="1: greedy search")
    max_tokens: int = Field(224, ge=1, le=444, description="per 30 seconds of speech")
    compute: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="precision of the model"
    )
    batch_seconds: float | None = Field(
        None,
        gt=0,
        description="audio in a batch, each window counted as 30 s; affects memory and speed only. "
        "None: 120, on CUDA 720",
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: CUDA if available"
    )
    offline: bool = Field(True, description="false: the model may be downloaded")

    @property
    def dtype(self) -> Literal["uint8"]:
        """Type in which transcripts are stored: bytes of UTF-8."""
        return "uint8"
