"""A YAML file, then `--set section.key=value`, becomes a `RunConfig`; every mistake is named."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from medusa_jax.config.run import RunConfig
from medusa_jax.config.section import known_keys
from medusa_jax.errors import ConfigError


def load_config(path: Path, settings: Sequence[str] = ()) -> RunConfig:
    """Read a YAML file and apply `section.key=value` settings over it.

    A list is reached by position (`members.0.seed=3`). Raises `ConfigError` naming file, key and the nearest known key.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the configuration cannot be read: {error}",
            where=path,
            hint="see configs/ for the shipped ones",
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"not YAML: {error}",
            where=path,
            hint="correct that line; configs/demo.yaml shows the form",
        ) from error
    if not isinstance(raw, dict):
        raise ConfigError(
            "a configuration is a mapping of sections",
            where=path,
            hint="configs/demo.yaml shows the form",
        )
    for setting in settings:
        _apply(raw, setting)
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(
            explained(error),
            where=path,
            hint="correct this in the file, or with --set section.key=value",
        ) from error


def _apply(raw: Any, setting: str) -> None:
    """Change one value in place."""
    name, equals, text = setting.partition("=")
    if not equals:
        raise ConfigError(
            f"{setting!r} is not a setting",
            where="--set",
            hint="write --set section.key=value, such as --set training.batch_size=32",
        )
    *parents, last = name.split(".")
    node = raw
    try:
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        value = yaml.safe_load(text)
        if isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        hint = (
            "name a section and a key, or a position in a list: training.batch_size, members.0.seed"
        )
        raise ConfigError(
            f"there is no {name!r} in this configuration", where=f"--set {setting}", hint=hint
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not a YAML value: {text!r}", where=f"--set {setting}") from error


def explained(error: ValidationError) -> str:
    """One line a mistake, with the key's path and, for an unknown key, the known one it looks like."""
    lines = []
    errors = error.errors()
    places = {item["loc"] for item in errors}
    for item in errors:
        place = item["loc"]
        if place[:1] == ("members",) and (
            place[2:] in places or (item["type"] == "too_short" and len(errors) > 1)
        ):
            continue  # every member repeats what is wrong with the run's own model and training
        if place[:1] == ("features",):
            place = place[:2] + place[3:]  # pydantic puts the extractor's name in between
        path = ".".join(map(str, place))
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(item["loc"][-1]), known_keys(), n=1)
            lines.append(f"unknown key {path!r}" + (f": did you mean {near[0]!r}?" if near else ""))
        else:
            lines.append(
                f"{path}: {item['msg'].removeprefix('Value error, ')}"
                if path
                else item["msg"].removeprefix("Value error, ")
            )
    return "the configuration is not valid:\n    " + "\n    ".join(dict.fromkeys(lines))
