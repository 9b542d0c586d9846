"""Configuration of features: a section for each extractor."""

from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medusa_jax.config.section import Config


class LogMelConfig(Config):
    """Log-mel energies."""

    extractor: Literal["logmel"] = "logmel"
    bands: int = Field(64, ge=8, le=256)
    window_ms: float = Field(25.0, ge=1, le=1000)
    hop_ms: float = Field(10.0, ge=1, le=1000)
    dtype: Literal["float16", "float32", "int8"] = "float16"


class WaveformConfig(Config):
    """The samples themselves, mono at 16 kHz, for members that fine-tune an encoder."""

    extractor: Literal["waveform"] = "waveform"
    dtype: Literal["float16", "float32"] = Field(
        "float16", description="float16 keeps 11 bits of each sample"
    )


class OpenSmileConfig(Config):
    """openSMILE descriptors, per frame of 10 ms (`lld`) or per utterance (`functionals`).

    `lld_delta` appends each descriptor's slope.
    """

    extractor: Literal["opensmile"] = "opensmile"
    feature_set: Literal["eGeMAPSv02", "ComParE_2016"] = "eGeMAPSv02"
    level: Literal["lld", "lld_delta", "functionals"] = "lld"
    parts: int = Field(
        1,
        ge=1,
        le=32,
        description="number of overlapping parts of the utterance, one frame of functionals each",
    )
    dtype: Literal["float16", "float32", "int8"] = Field(
        "float32", description="ComParE reaches 1e11: float16 and int8 would clip it at 65504"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.parts > 1 and self.level != "functionals":
            raise ValueError("parts requires the level functionals")
        if self.level == "lld_delta" and self.feature_set == "eGeMAPSv02":
            raise ValueError(
                "openSMILE has no deltas for eGeMAPSv02: use level lld, or ComParE_2016"
            )
        return self


class HashedTextConfig(Config):
    """Words and character n-grams hashed to signed vectors: needs no download."""

    extractor: Literal["hashed_text"] = "hashed_text"
    width: int = Field(128, ge=16, le=4096)
    ngrams: tuple[int, int] = Field((3, 5), description="shortest and longest character n-gram")
    dtype: Literal["float16", "float32", "int8"] = "float16"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not 1 <= self.ngrams[0] <= self.ngrams[1] <= 16:
            raise ValueError(
                f"ngrams must be two numbers 1 <= shortest <= longest <= 16, not {self.ngrams}"
            )
        return self


class FramesConfig(Config):
    """Frames that stand in the corpus folder, one `.npy` file an utterance: a team's own streams,
    such as a face tracker's.
    """

    extractor: Literal["frames"] = "frames"
    folder: str = Field(
        "Visual", min_length=1, description="below the corpus folder, with a file `ID.npy` each"
    )
    width: int = Field(ge=1, le=65536, description="numbers of a frame")
    dtype: Literal["float16", "float32", "int8"] = "float16"

    @model_validator(mode="after")
    def _inside(self) -> Self:
        path = PurePosixPath(self.folder)
        if path.is_absolute() or ".." in path.parts or "\\" in self.folder:
            raise ValueError(f"folder must lie below the corpus folder, not at {self.folder!r}")
        return self


class HuggingFaceConfig(Config):
    """A pretrained encoder, by catalogue entry, local folder or hub id."""

    added: ClassVar = frozenset({"backend"})
    extractor: Literal["huggingface"] = "huggingface"
    model: str = Field(
        min_length=1,
        description="an entry of `medusa models list`; or `hf:` and a folder or hub id",
    )
    revision: str | None = Field(
        None, description="of the hub id: a branch, tag or commit; none: the entry's commit"
    )
    layers: Literal["last", "sum_last_4", "mean_last_4", "all", "conv"] | None = Field(
        None,
        description="none: the entry's; without one, sum_last_4. conv: the convolutions' output, "
        "for members that fine-tune the model (not in torch)",
    )
    compute: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="precision of the model; layers are summed in float32"
    )
    backend: Literal["auto", "flax", "torch"] = Field(
        "auto",
        description="library that runs the model. auto: flax, without PyTorch, for WavLM, HuBERT, "
        "wav2vec 2.0, Whisper, BERT, RoBERTa and ModernBERT; torch for others, for options of a "
        "model that are not ported, and for compute float16",
    )
    window: Literal["full", "real"] = Field(
        "full",
        description="Whisper: encode each window padded to 30 s, or only its real length "
        "(faster, with other numbers)",
    )
    chunk_seconds: float = Field(
        60.0,
        ge=1,
        description="WavLM, HuBERT and similar: longer audio is encoded in chunks of this length",
    )
    overlap_seconds: float = Field(
        4.0,
        ge=0,
        description="shared by neighbouring chunks; half of it at each edge is context only",
    )
    batch_seconds: float | None = Field(
        None,
        gt=0,
        description="audio in a batch, padding included; affects memory and speed only "
        "(text: 50 tokens count as a second). None: 8, on CUDA 240",
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: CUDA if available"
    )
    offline: bool = Field(True, description="false: the model may be downloaded")
    dtype: Literal["float16", "float32", "int8"] = "float16"

    @model_validator(mode="after")
    def _overlaps(self) -> Self:
        if self.overlap_seconds > self.chunk_seconds / 2:
            raise ValueError(
                f"overlap_seconds ({self.overlap_seconds:g}) must be at most half of "
                f"chunk_seconds ({self.chunk_seconds:g})"
            )
        return self


class StoreConfig(Config):
    """An existing feature store: imported, converted, or extracted elsewhere."""

    extractor: Literal["store"] = "store"
    path: str = Field(min_length=1, description="folder that holds its store.json")
    digest: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{8,64}$",
        description="expected digest (shown by `medusa features inspect`), or its beginning",
    )


ExtractorConfig = (
    LogMelConfig
    | WaveformConfig
    | OpenSmileConfig
    | HashedTextConfig
    | FramesConfig
    | HuggingFaceConfig
)
FeatureConfig = Annotated[ExtractorConfig | StoreConfig, Field(discriminator="extractor")]
