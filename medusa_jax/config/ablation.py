"""Rows of `medusa ablate`."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from medusa_jax.config.section import Config

RowName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class AblationRowConfig(Config):
    """One more row of `medusa ablate`: the keys it changes in every member."""

    added: ClassVar = frozenset({"finetuning", "conversation", "modalities", "paper"})
    about: str = Field("", description="the row in words")
    model: dict[str, Any] = Field(
        default_factory=dict, description="keys of `model` with other values"
    )
    training: dict[str, Any] = Field(
        default_factory=dict, description="keys of `training` with other values"
    )
    finetuning: dict[str, Any] = Field(
        default_factory=dict, description="keys of `finetuning` with other values"
    )
    conversation: dict[str, Any] = Field(
        default_factory=dict, description="keys of `conversation` with other values"
    )
    modalities: tuple[str, ...] = Field((), description="of the members; none: unchanged")
    paper: float | None = Field(None, ge=0, le=1, description="its published Macro-F1")


class AblationConfig(Config):
    """Rows of `medusa ablate` beside the built-in ones; they change no result of the run itself."""

    added: ClassVar = frozenset({"paper"})
    paper: float | None = Field(
        None, ge=0, le=1, description="published Macro-F1 of the unchanged members"
    )
    rows: dict[RowName, AblationRowConfig] = Field(default_factory=dict, description="by name")
