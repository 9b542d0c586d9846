"""A pretrained model's folder: found or fetched, checked, digested, loaded. Safetensors only, and no code but transformers' own."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from medusa_jax.backbones.catalogue import ENCODERS, PREFIX, hub_id_of
from medusa_jax.backbones.record import Record, find, models_folder
from medusa_jax.errors import DependencyError, FeatureError
from medusa_jax.files import sha256_of

_PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *(
        "vocab.json",
        "merges.txt",
        "vocab.txt",
        "sentencepiece.bpe.model",
        "spiece.model",
        "spm.model",
    ),
)
_VOCABULARIES = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("sentencepiece.bpe.model",),
    ("spiece.model",),
    ("spm.model",),
)
INDEX = "model.safetensors.index.json"
_REFETCH = "fetch the model again, and check that all its files are there"
NEEDED = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    INDEX,
    *_PREPROCESSING,
    *_TOKENIZER,
)
"""Patterns of the files that a model needs here."""
# Heads that the features do not pass through; a checkpoint may come without them.
_UNUSED = re.compile(r"(^|\.)(pooler|masked_spec_embed)(\.|$)")


def locate(model: str, revision: str | None = None, *, offline: bool = True) -> Path:
    """Folder of a model: an entry of `ENCODERS`, or a folder or hub id, with or without `hf:`.

    An entry or hub id is looked for among the fetched models, then in the hub's own cache; it is fetched only if `offline` is
    false. Raises `FeatureError` if it is neither here nor to be had, or is not the model that the entry describes.
    """
    folder = Path(model.removeprefix(PREFIX)).expanduser()
    if model not in ENCODERS and folder.is_dir():
        if revision:
            raise FeatureError(
                "a local model has no revisions", where=folder, hint="remove the key revision"
            )
        return folder
    found = find(model, revision) or _cached(model, revision)
    if found is None and not offline:
        from medusa_jax.backbones.download import fetch

        return fetch(model, models_folder(), revision=revision)
    if found is None:
        hint = f"medusa models fetch {model}, or set offline: false to have it downloaded, or give a folder"
        raise FeatureError("the model is not here", where=model, hint=hint)
    check_fits(model, found)
    return found


def check_fits(model: str, folder: Path) -> None:
    """Raise `FeatureError` if `folder` does not hold what the entry `model` describes; what is no entry may be anything."""
    if model in ENCODERS:
        preprocessing = (
            read_settings(folder, _PREPROCESSING[0])
            if (folder / _PREPROCESSING[0]).is_file()
            else {}
        )
        wrong = ENCODERS[model].contradictions(read_settings(folder), preprocessing)
        if wrong:
            hint = f"fetch {model} again, or name this model by its folder: {PREFIX}{folder}"
            raise FeatureError(f"this is not {model}: {'; '.join(wrong)}", where=folder, hint=hint)


def _cached(model: str, revision: str | None) -> Path | None:
    """The snapshot in the hub's own cache, if there is one. Raises `FeatureError` for what can be no hub id."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    hub_id, pinned = hub_id_of(model)
    try:
        return Path(
            snapshot_download(
                hub_id,
                revision=revision or pinned,
                allow_patterns=list(NEEDED),
                local_files_only=True,
            )
        )
    except HFValidationError as error:
        raise FeatureError(
            "there is no such folder, and it is not a hub id either",
            where=model,
            hint="check the path",
        ) from error
    except OSError:  # not in the cache, or not whole
        return None


def read_settings(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """A model's `config.json`, or another of its JSON files. Raises `FeatureError` if there is none."""
    try:
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FeatureError(
            f"{name} cannot be read: {error}",
            where=folder,
            hint="give a folder that save_pretrained wrote",
        ) from error
    if not isinstance(settings, dict):
        raise FeatureError(f"{name} is not a mapping", where=folder)
    return settings


def digests(folder: Path, *also: str) -> dict[str, str]:
    """Hex SHA-256 of every file that determines the numbers, by name; of those named in `also` too, where they are there.

    Raises `FeatureError` without safetensors weights, or if a file of a fetched model is not as it was fetched.
    """
    small = [
        name
        for name in ("config.json", *_PREPROCESSING, *_TOKENIZER, *also)
        if (folder / name).is_file()
    ]
    found = {name: digest_of_file(folder / name) for name in (*small, *weights_of(folder))}
    record = Record.load(folder)
    changed = [
        name for name in found if record is not None and record.files.get(name) != found[name]
    ]
    if changed:
        raise FeatureError(
            f"{changed[0]} is not as it was fetched",
            where=folder,
            hint=f"remove {folder} and fetch the model again",
        )
    return found


def digest_of_file(path: Path) -> str:
    """A file's hex SHA-256, computed once while its time of change stays the same: the weights have gigabytes."""
    return _sha256(path.resolve(), path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: Path, changed: int) -> str:
    return sha256_of(path)


def weights_of(folder: Path) -> list[str]:
    """Names of the weight files. Raises `FeatureError` if there are none in safetensors, or not all."""
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    try:
        names = sorted(
            set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        )
    except FileNotFoundError as error:
        hint = f"medusa models convert {folder}, or give a revision that has them (the hub's converter opens refs/pr/N)"
        raise FeatureError(
            "there are no safetensors weights; pickled ones are never loaded",
            where=folder,
            hint=hint,
        ) from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise FeatureError(f"{INDEX} cannot be read", where=folder) from error
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise FeatureError(f"the weight file {name} is missing", where=folder, hint=_REFETCH)
    return names


def load_model(folder: Path, loader: str = "AutoModel") -> Any:
    """The model in float32, ready to infer, by one of transformers' `AutoModel…` classes.

    Raises `FeatureError` if the weights are damaged or are not this model's.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise DependencyError(
            "PyTorch is not installed", hint="pip install 'medusa-jax[extract]'"
        ) from error
    with _quiet(), _explained(folder):
        model, info = getattr(transformers, loader).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    lacking = sorted(key for key in info["missing_keys"] if not _UNUSED.search(key)) + sorted(
        str(key) for key in info["mismatched_keys"]
    )
    if lacking:  # transformers would leave them random
        raise FeatureError(
            f"the weights lack {len(lacking)} of the model's parameters, such as {lacking[0]}",
            where=folder,
            hint=_REFETCH,
        )
    return _folded(model.eval())


def _folded(model: Any) -> Any:
    """Weight normalisation computed once, not at every call."""
    from torch.nn.utils import parametrize

    for part in list(model.modules()):
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight")
    return model


def load_preprocessor(folder: Path) -> Any:
    """The feature extractor. Raises `FeatureError` if the model comes without one."""
    from transformers import AutoFeatureExtractor

    with _explained(folder):
        return AutoFeatureExtractor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer. Raises `FeatureError` if the model comes without one."""
    # Without a vocabulary transformers makes an empty tokenizer, which knows no word.
    if not any(all((folder / name).is_file() for name in names) for names in _VOCABULARIES):
        raise FeatureError("the model comes with no tokenizer", where=folder, hint=_REFETCH)
    from transformers import AutoTokenizer

    with _explained(folder):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Name the folder in whatever transformers raises for a bad one: OSError, ValueError, SafetensorError, KeyError, …"""
    try:
        yield
    except Exception as error:
        raise FeatureError(
            f"the model does not load: {_first_line(error)}", where=folder, hint=_REFETCH
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar of transformers' own inside ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
