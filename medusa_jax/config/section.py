"""The parent of every section of a configuration."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Parent of every section: unknown keys are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def known_keys() -> list[str]:
    """Every key of every section."""
    found: list[str] = []
    pending: list[type[BaseModel]] = [Config]
    while pending:
        model = pending.pop()
        found += model.model_fields
        pending += model.__subclasses__()
    return found
