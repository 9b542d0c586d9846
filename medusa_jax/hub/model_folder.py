"""The folder of a pretrained model: its files, checked and digested."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from medusa_jax.errors import FeatureError
from medusa_jax.files import sha256_of
from medusa_jax.hub.catalogue import ENCODERS, PREFIX
from medusa_jax.hub.record import Record

INDEX = "model.safetensors.index.json"
REFETCH = "fetch the model again, and check that all its files are present"
_PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
)
NEEDED = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    INDEX,
    *_PREPROCESSING,
    *_TOKENIZER,
)
"""Patterns of the files to download."""


def check_fits(model: str, folder: Path) -> None:
    """Raise `FeatureError` unless `folder` holds the catalogue's entry `model`.

    A model outside the catalogue is not checked.
    """
    if model not in ENCODERS:
        return
    name = _PREPROCESSING[0]
    preprocessing = read_settings(folder, name) if (folder / name).is_file() else {}
    wrong = ENCODERS[model].contradictions(read_settings(folder), preprocessing)
    if wrong:
        hint = f"fetch {model} again, or name this model by its folder: {PREFIX}{folder}"
        raise FeatureError(f"this is not {model}: {'; '.join(wrong)}", where=folder, hint=hint)


def read_settings(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """Read a model's `config.json` or another of its JSON files.

    Raises `FeatureError` if it is missing or not a mapping.
    """
    try:
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FeatureError(
            f"{name} cannot be read: {error}",
            where=folder,
            hint="give a folder written by save_pretrained",
        ) from error
    if not isinstance(settings, dict):
        raise FeatureError(f"{name} is not a mapping", where=folder)
    return settings


def digests(folder: Path, *also: str) -> dict[str, str]:
    """Return the hex SHA-256 of every file that determines the numbers, by name.

    Files named in `also` are included where they exist. Raises `FeatureError` without safetensors
    weights, or if a file of a fetched model has changed since.
    """
    names = ("config.json", *_PREPROCESSING, *_TOKENIZER, *also)
    small = [name for name in names if (folder / name).is_file()]
    found = {name: digest_of_file(folder / name) for name in (*small, *weights_of(folder))}
    record = Record.load(folder)
    if record is not None:
        _refuse_changed(folder, record, found)
    return found


def _refuse_changed(folder: Path, record: Record, found: dict[str, str]) -> None:
    changed = [name for name, digest in found.items() if record.files.get(name) != digest]
    if changed:
        raise FeatureError(
            f"{changed[0]} has changed since it was fetched",
            where=folder,
            hint=f"remove {folder} and fetch the model again",
        )


def digest_of_file(path: Path) -> str:
    """Return a file's hex SHA-256, cached until its modification time changes."""
    return _sha256(path.resolve(), path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: Path, modified: int) -> str:
    return sha256_of(path)


def weights_of(folder: Path) -> list[str]:
    """Return the names of the weight files.

    Raises `FeatureError` if there are none in safetensors, or some are missing.
    """
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    names = _indexed(folder)
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise FeatureError(f"the weight file {name} is missing", where=folder, hint=REFETCH)
    return names


def _indexed(folder: Path) -> list[str]:
    """Read the names of the weight files from the index."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return sorted(set(index["weight_map"].values()))
    except FileNotFoundError as error:
        raise FeatureError(
            "no safetensors weights found; pickled weights are never loaded",
            where=folder,
            hint=f"run medusa models convert {folder}, or give a revision that has them "
            "(the hub's converter opens refs/pr/N)",
        ) from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise FeatureError(f"{INDEX} cannot be read", where=folder) from error
