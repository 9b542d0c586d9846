"""The config.json of a model's folder, as the modules of a ported architecture need it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from medusa_jax.errors import FeatureError
from medusa_jax.hub.model_folder import read_settings

Settings = Mapping[str, Any]
Made = TypeVar("Made")
_BACKEND = "use `backend: torch` for this model"


def read_ported(
    folder: Path,
    unported: Callable[[Settings], list[str]],
    make: Callable[[Settings], Made],
    instead: str = _BACKEND,
) -> Made:
    """`make` of the settings of a folder.

    Raises `FeatureError` that names every option that is `unported`, and what to do `instead`; or
    keys that are missing, or cannot be used.
    """
    path, given = folder / "config.json", read_settings(folder)
    if problems := unported(given):
        raise FeatureError(f"not ported to JAX: {'; '.join(problems)}", where=path, hint=instead)
    try:
        return make(given)
    except KeyError as error:
        what = f"config.json has no {error}"
        raise FeatureError(what, where=path, hint="fetch the model again") from error
    except (TypeError, ValueError) as error:
        what = f"config.json cannot be used: {error}"
        raise FeatureError(what, where=path, hint="fetch the model again") from error
