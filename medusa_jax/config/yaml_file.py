"""A YAML file, then `--set section.key=value`, becomes a `RunConfig`; every mistake is named."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from medusa_jax.config.run import RunConfig
from medusa_jax.config.section import known_keys
from medusa_jax.errors import ConfigError


def load_config(path: Path, settings: Sequence[str] = ()) -> RunConfig:
    """Read a YAML file and apply `section.key=value` settings over it.

    A list element is reached by its position (`members.0.seed=3`). Raises `ConfigError` with
    the file, each invalid key, and the known key nearest to an unknown one.
    """
    raw = _read(path)
    for setting in settings:
        _apply(raw, setting)
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        hint = "correct this in the file, or with --set section.key=value"
        raise ConfigError(explained(error), where=path, hint=hint) from error


def _read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `ConfigError` if the file holds anything else."""
    form = "configs/demo.yaml shows the form"
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        what, hint = f"the configuration cannot be read: {error}", "see configs/ for examples"
        raise ConfigError(what, where=path, hint=hint) from error
    except yaml.YAMLError as error:
        hint = f"correct that line; {form}"
        raise ConfigError(f"not YAML: {error}", where=path, hint=hint) from error
    if not isinstance(raw, dict):
        raise ConfigError("a configuration is a mapping of sections", where=path, hint=form)
    return raw


def _apply(raw: Any, setting: str) -> None:
    """Change one value in place. Raises `ConfigError` if the key cannot be reached."""
    name, equals, text = setting.partition("=")
    if not equals:
        hint = "write --set section.key=value, such as --set training.batch_size=32"
        raise ConfigError(f"{setting!r} is not a setting", where="--set", hint=hint)
    try:
        _set(raw, name.split("."), yaml.safe_load(text))
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        what = f"no key {name!r} in this configuration"
        hint = "name a section and a key (training.batch_size), or a list position (members.0.seed)"
        raise ConfigError(what, where=f"--set {setting}", hint=hint) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not a YAML value: {text!r}", where=f"--set {setting}") from error


def _set(node: Any, keys: Sequence[str], value: Any) -> None:
    """Follow `keys` down from `node`, adding sections on the way, and set the last one."""
    *parents, last = keys
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    node[int(last) if isinstance(node, list) else last] = value


def explained(error: ValidationError) -> str:
    """One line an error: the key's path and, for an unknown key, the known one nearest to it."""
    lines = dict.fromkeys(map(_line, error.errors()))
    return "the configuration is not valid:\n    " + "\n    ".join(lines)


def _line(error: ErrorDetails) -> str:
    keys, message = error["loc"], error["msg"].removeprefix("Value error, ")
    if keys[:1] == ("features",):
        keys = keys[:2] + keys[3:]  # pydantic puts the extractor's name in between
    path = ".".join(map(str, keys))
    if error["type"] != "extra_forbidden":
        return f"{path}: {message}" if path else message
    near = difflib.get_close_matches(str(keys[-1]), known_keys(), n=1)
    return f"unknown key {path!r}" + (f": did you mean {near[0]!r}?" if near else "")
