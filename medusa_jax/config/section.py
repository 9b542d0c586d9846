"""The base class of every section of a configuration."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Base of every section: unknown keys are errors, values never change."""

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


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with every key that `over` sets replaced, section by section."""
    result = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result
