"""The base class of every section of a configuration."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializationInfo, model_serializer

DIGEST = {"digest": True}
"""The `context` of a dump that is digested: keys in `added` are left out at their default."""


class Config(BaseModel):
    """Base of every section: unknown keys are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    added: ClassVar[frozenset[str]] = frozenset()
    """Keys added after the first release; at their default a run keeps its digest and folder."""

    @model_serializer(mode="wrap")
    def _dump(self, handler: Any, info: SerializationInfo) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        if info.context == DIGEST:
            for key in self.added & dumped.keys():
                if getattr(self, key) == type(self).model_fields[key].default:
                    del dumped[key]
        return dumped


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
