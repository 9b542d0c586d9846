"""Pretrained models on this machine: a folder each, with a record of which commit it is and of what every file's digest was."""

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medusa_jax.backbones.catalogue import ENCODERS, PREFIX
from medusa_jax.errors import FeatureError
from medusa_jax.files import write_text

RECORD = "medusa-model.json"


class Record(BaseModel):
    """Where a fetched model came from, and what it is; written last, so that a folder without one is not whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hub_id: str
    revision: str = Field(description="full commit")
    files: dict[str, str] = Field(description="SHA-256 by name")
    converted: bool = Field(
        False, description="the weights were PyTorch's, made into safetensors here"
    )

    def save(self, folder: Path) -> None:
        """Write it into `folder`."""
        write_text(folder / RECORD, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What `save` wrote; None if it is not there. Raises `FeatureError` if it cannot be read."""
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
    """Where fetched models lie: `MEDUSA_MODELS`, or a folder of the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(os.environ.get("MEDUSA_MODELS") or cache / "medusa-jax" / "models").expanduser()


def folder_of(model: str, under: Path) -> Path:
    """Where `model` lies below `under`: an entry by its name, another hub id with `--` for its `/`."""
    return under / model.removeprefix(PREFIX).replace("/", "--")


def find(model: str, revision: str | None) -> Path | None:
    """The folder of a fetched model. Raises `FeatureError` if it was fetched at another revision than the one that is asked for."""
    folder = folder_of(model, models_folder())
    record = Record.load(folder)
    if record is None:
        return None
    wanted = revision or (ENCODERS[model].revision if model in ENCODERS else None)
    if wanted is not None and record.revision != wanted:
        hint = (
            f"medusa models fetch {model} --revision {wanted}, or set revision: {record.revision}"
        )
        raise FeatureError(
            f"{model} is here at commit {record.revision}, not {wanted}", where=folder, hint=hint
        )
    return folder


def models_here() -> dict[str, Record]:
    """Every model below `models_folder()` by its folder's name."""
    folders = sorted(models_folder().glob(f"*/{RECORD}"))
    return {path.parent.name: record for path in folders if (record := Record.load(path.parent))}
