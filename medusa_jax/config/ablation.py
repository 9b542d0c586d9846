"""Rows of `medusa ablate`."""

from typing import Annotated, Any

from pydantic import Field

from medusa_jax.config.section import Config

RowName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class AblationRowConfig(Config):
    """One more row of `medusa ablate`: the keys it changes in every member."""

    about: str = Field("", description="the row in words")
    model: dict[str, Any] = Field(
        default_factory=dict, description="keys of `model` with other values"
    )
    training: dict[str, Any] = Field(
        default_factory=dict, description="keys of `training` with other values"
    )


class AblationConfig(Config):
    """Rows of `medusa ablate` beside the built-in ones; they change no result of the run itself."""

    rows: dict[RowName, AblationRowConfig] = Field(default_factory=dict, description="by name")
