"""DeepSER's sizes."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medusa_jax.config.section import Config


class ModelConfig(Config):
    """DeepSER (paper Algorithm 2); the defaults are the paper's or its code's."""

    hidden: int = Field(1024, ge=8)
    feedforward: int = Field(2048, ge=8)
    layers: int = Field(2, ge=1, le=12)
    heads: int = Field(1, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    fusion: Literal["deep", "late"] = "deep"
    stack: dict[str, Annotated[int, Field(ge=1, le=64)]] = Field(
        default_factory=dict,
        description="by modality, default 1: s neighbouring frames joined into one, s times wider",
    )
    standardise: bool = Field(
        False,
        description="shift and scale every feature to mean 0 and deviation 1 on the training part",
    )
    precision: Literal["float32", "bfloat16", "tf32"] = Field(
        "float32",
        description="operands of matrix products; weights, sums, norms and softmax are float32. "
        "tf32: float32 rounded to 10 bits for NVIDIA's tensor cores; on a CPU the same as float32",
    )
    remat: bool = Field(
        False,
        description="compute each layer again for its gradient, to save memory (not on CPUs, where "
        "XLA undoes it)",
    )

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of heads ({self.heads})")
        return self
