"""Rows of `medusa ablate`."""

from typing import Annotated, Any

from pydantic import Field

from medusa_jax.config.section import Config


class AblationRowConfig(Config):
    """One more row of `medusa ablate`: what it changes of every member."""

    about: str = Field("", description="the row in words")
    model: dict[str, Any] = Field(
        default_factory=dict, description="keys of `model` with other values"
    )
    training: dict[str, Any] = Field(
        default_factory=dict, description="keys of `training` with other values"
    )


class AblationConfig(Config):
    """Rows of `medusa ablate` beside its own; changes no number of the run, so that another choice is no other run."""

    rows: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], AblationRowConfig] = (
        Field(default_factory=dict, description="by name")
    )
