"""What a run is: frozen, complete, serialisable. A YAML file, then `--set section.key=value`, becomes a `RunConfig`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """Parent of every section: unknown keys are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LogMelConfig(Config):
    """Log-mel energies."""

    extractor: Literal["logmel"] = "logmel"
    bands: int = Field(64, ge=8, le=256)
    window_ms: float = Field(25.0, gt=0)
    hop_ms: float = Field(10.0, gt=0)


class OpenSmileConfig(Config):
    """openSMILE descriptors: a frame each 10 ms (`lld`) or one vector an utterance (`functionals`, one frame)."""

    extractor: Literal["opensmile"] = "opensmile"
    feature_set: Literal["eGeMAPSv02", "ComParE_2016"] = "eGeMAPSv02"
    level: Literal["lld", "lld_delta", "functionals"] = "lld"


class HashedTextConfig(Config):
    """Words and character n-grams hashed to signed vectors: text features that need no download."""

    extractor: Literal["hashed_text"] = "hashed_text"
    width: int = Field(128, ge=16, le=4096)
    ngrams: tuple[int, int] = (3, 5)


class HuggingFaceConfig(Config):
    """A pretrained encoder, by local folder or hub id (spec section 1)."""

    extractor: Literal["huggingface"] = "huggingface"
    model: str
    revision: str | None = None
    layers: Literal["last", "sum_last_4", "mean_last_4", "all"] = "sum_last_4"
    offline: bool = True


FeatureConfig = Annotated[LogMelConfig | OpenSmileConfig | HashedTextConfig | HuggingFaceConfig, Field(discriminator="extractor")]
