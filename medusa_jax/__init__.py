"""MEDUSA: multimodal deep-fusion, multi-stage training for speech emotion recognition, in JAX.

The public names load with their module when they are first used.
"""

import importlib
from typing import Any

_HOMES = {
    "load": "inference.recogniser",
    "load_config": "config.yaml_file",
    "Run": "runs.run",
    "opened": "runs.folder",
    "prepare": "runs.prepare",
    "train": "runs.train",
    "combine": "runs.combine",
    "evaluate": "runs.evaluate",
    "submit": "runs.submit",
    "run_all": "runs.chain",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module(f"{__name__}.version").VERSION
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
