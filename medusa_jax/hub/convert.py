"""Convert PyTorch's pickled weights, tensors only, to safetensors; no code runs, nor PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np

from medusa_jax.errors import FeatureError
from medusa_jax.files import write_whole
from medusa_jax.hub.torch_file import TorchFileError, read_torch_file

PICKLED = "pytorch_model.bin"


def convert(folder: Path) -> Path:
    """Write `model.safetensors` beside `pytorch_model.bin` and return its path.

    An existing `model.safetensors` is kept. Raises `FeatureError` if there is nothing to convert,
    or the file holds anything but tensors.
    """
    from safetensors.numpy import save_file

    made = folder / "model.safetensors"
    if made.is_file():
        return made
    tensors = _tensors(folder / PICKLED)
    with write_whole(made) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    return made


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a PyTorch file as float32 arrays by name. Raises as `convert` does."""
    return {name: array.astype(np.float32) for name, array in _tensors(path).items()}


def _tensors(path: Path) -> dict[str, np.ndarray]:
    """Read the file's tensors by name."""
    if not path.is_file():
        raise FeatureError(
            f"there is no {path.name} to convert",
            where=path.parent,
            hint="give a folder that holds it beside config.json",
        )
    try:
        contents = read_torch_file(path)
    except TorchFileError as error:
        raise FeatureError(
            f"{path.name} cannot be read as weights alone: {error}",
            where=path,
            hint="fetch it again from its owner",
        ) from error
    arrays: dict[Any, Any] = contents if isinstance(contents, dict) else {None: None}
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise FeatureError(
            f"{path.name} holds something other than tensors by name",
            where=path,
            hint="save the model's state_dict() there",
        )
    return {str(name): array for name, array in arrays.items()}
