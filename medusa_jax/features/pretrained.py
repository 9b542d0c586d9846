"""A pretrained model's folder: found or fetched, checked, digested, loaded. Safetensors only, and no code but transformers' own."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from medusa_jax.config import HuggingFaceConfig
from medusa_jax.errors import DependencyError, FeatureError
from medusa_jax.files import sha256_of

_PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "sentencepiece.bpe.model", "spiece.model", "spm.model"),
)
_VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",), ("sentencepiece.bpe.model",), ("spiece.model",), ("spm.model",))
_INDEX = "model.safetensors.index.json"
_REFETCH = "fetch the model again, and check that all its files are there"
_NEEDED = ("config.json", "model*.safetensors", _INDEX, *_PREPROCESSING, *_TOKENIZER)
# Heads that the features do not pass through; a checkpoint may come without them.
_UNUSED = re.compile(r"(^|\.)(pooler|masked_spec_embed)(\.|$)")


def locate(config: HuggingFaceConfig) -> Path:
    """Folder of the model: `config.model` itself, or the hub's snapshot, downloaded only if `offline` is false.

    Raises `FeatureError` if it is neither here nor to be had.
    """
    folder = Path(config.model).expanduser()
    if folder.is_dir():
        if config.revision:
            raise FeatureError("a local model has no revisions", where=folder, mend="remove the key revision")
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(config.model, revision=config.revision, allow_patterns=list(_NEEDED), local_files_only=config.offline))
    except HFValidationError as error:
        raise FeatureError("there is no such folder, and it is not a hub id either", where=config.model, mend="check the path") from error
    except OSError as error:  # the hub's errors (not found, gated, no connection, not in the cache) are all of this class
        mend = "set offline: false to download it, or give a local folder" if config.offline else "check the id, the revision and the connection"
        raise FeatureError(f"the model is not to be had: {_first_line(error)}", where=config.model, mend=mend) from error


def read_settings(folder: Path) -> dict[str, Any]:
    """The model's `config.json`. Raises `FeatureError` if there is none."""
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FeatureError(f"config.json cannot be read: {error}", where=folder, mend="give a folder that save_pretrained wrote") from error
    if not isinstance(settings, dict):
        raise FeatureError("config.json is not a mapping", where=folder)
    return settings


def digests(folder: Path) -> dict[str, str]:
    """Hex SHA-256 of every file that determines the numbers, by name. Raises `FeatureError` without safetensors weights."""
    small = [name for name in ("config.json", *_PREPROCESSING, *_TOKENIZER) if (folder / name).is_file()]
    return {name: _sha256((folder / name).resolve(), (folder / name).stat().st_mtime_ns) for name in (*small, *_weights(folder))}


@lru_cache(maxsize=256)
def _sha256(path: Path, changed: int) -> str:
    """A file's digest, computed once while its time of change stays the same: the weights have gigabytes."""
    return sha256_of(path)


def _weights(folder: Path) -> list[str]:
    """Names of the weight files."""
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    try:
        names = sorted(set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    except FileNotFoundError as error:
        mend = "convert them, or give a revision that has them (the hub's converter opens refs/pr/N)"
        raise FeatureError("there are no safetensors weights; pickled ones are never loaded", where=folder, mend=mend) from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise FeatureError(f"{_INDEX} cannot be read", where=folder) from error
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise FeatureError(f"the weight file {name} is missing", where=folder, mend=_REFETCH)
    return names


def load_model(folder: Path) -> Any:
    """The model in float32, ready to infer. Raises `FeatureError` if the weights are damaged or are not this model's."""
    try:
        import torch
        from transformers import AutoModel
    except ImportError as error:
        raise DependencyError("PyTorch is not installed", mend="pip install 'medusa-jax[extract]'") from error
    with _quiet(), _explained(folder):
        model, info = AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
    lacking = sorted(key for key in info["missing_keys"] if not _UNUSED.search(key)) + sorted(str(key) for key in info["mismatched_keys"])
    if lacking:  # transformers would leave them random
        raise FeatureError(f"the weights lack {len(lacking)} of the model's parameters, such as {lacking[0]}", where=folder, mend=_REFETCH)
    return model.eval()


def load_preprocessor(folder: Path) -> Any:
    """The feature extractor. Raises `FeatureError` if the model comes without one."""
    from transformers import AutoFeatureExtractor

    with _explained(folder):
        return AutoFeatureExtractor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer. Raises `FeatureError` if the model comes without one."""
    # Without a vocabulary transformers makes an empty tokenizer, which knows no word.
    if not any(all((folder / name).is_file() for name in names) for names in _VOCABULARIES):
        raise FeatureError("the model comes with no tokenizer", where=folder, mend=_REFETCH)
    from transformers import AutoTokenizer

    with _explained(folder):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Name the folder in whatever transformers raises for a bad one: OSError, ValueError, SafetensorError, KeyError, …"""
    try:
        yield
    except Exception as error:
        raise FeatureError(f"the model does not load: {_first_line(error)}", where=folder, mend=_REFETCH) from error


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
