"""Fetched models on this machine: one folder each, with a record of its commit and digests."""

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medusa_jax.errors import FeatureError
from medusa_jax.files import write_text
from medusa_jax.hub.catalogue import ENCODERS, PREFIX

RECORD = "medusa-model.json"


class Record(BaseModel):
    """Origin and digests of a fetched model, written last: a folder without one is incomplete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hub_id: str
    revision: str = Field(description="full commit")
    files: dict[str, str] = Field(description="SHA-256 by name")
    converted: bool = Field(False, description="the weights were converted from PyTorch's format")

    def save(self, folder: Path) -> None:
        """Write the record into `folder`."""
        write_text(folder / RECORD, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read the record of `folder`; None without one. Raises `FeatureError` if it is damaged."""
        try:
            return cls.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ValidationError) as error:
            raise FeatureError(
                f"{RECORD} cannot be read",
                where=folder,
                hint="fetch the model again: medusa models fetch",
            ) from error


def models_folder() -> Path:
    """Return the folder of fetched models: `MEDUSA_MODELS`, or one in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(os.environ.get("MEDUSA_MODELS") or cache / "medusa-jax" / "models").expanduser()


def folder_of(model: str, under: Path) -> Path:
    """Return the folder of `model` below `under`; in a hub id, `--` replaces `/`."""
    return under / model.removeprefix(PREFIX).replace("/", "--")


def find(model: str, revision: str | None) -> Path | None:
    """Return the folder of a fetched model, if any.

    Raises `FeatureError` if the model was fetched at another revision than the wanted one.
    """
    folder = folder_of(model, models_folder())
    record = Record.load(folder)
    if record is None:
        return None
    wanted = revision or (ENCODERS[model].revision if model in ENCODERS else None)
    if wanted is not None and record.revision != wanted:
        raise FeatureError(
            f"{model} was fetched at commit {record.revision}, not {wanted}",
            where=folder,
            hint=f"run medusa models fetch {model} --revision {wanted}, "
            f"or set revision: {record.revision}",
        )
    return folder


def models_here() -> dict[str, Record]:
    """Return the record of every fetched model by the name of its folder."""
    folders = sorted(models_folder().glob(f"*/{RECORD}"))
    return {path.parent.name: record for path in folders if (record := Record.load(path.parent))}
