"""Read PyTorch's pickled weights, tensors only, and convert them to safetensors; no code runs."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from medusa_jax.errors import DependencyError, FeatureError
from medusa_jax.files import write_whole

PICKLED = "pytorch_model.bin"


def convert(folder: Path) -> Path:
    """Write `model.safetensors` beside `pytorch_model.bin` and return its path.

    An existing `model.safetensors` is kept. Raises `FeatureError` if there is nothing to convert,
    or the file holds anything but tensors.
    """
    made = folder / "model.safetensors"
    if made.is_file():
        return made
    tensors = _tensors(folder / PICKLED)
    from safetensors.torch import save_file

    with write_whole(made) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    return made


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a PyTorch file as float32 arrays by name. Raises as `convert` does."""
    return {name: tensor.float().numpy() for name, tensor in _tensors(path).items()}


def _tensors(path: Path) -> dict[str, Any]:
    """Read the file's tensors by name, each in memory of its own."""
    if not path.is_file():
        raise FeatureError(
            f"there is no {path.name} to convert",
            where=path.parent,
            hint="give a folder that holds it beside config.json",
        )
    state, tensor_class = _state(path)
    tensors = isinstance(state, dict) and all(
        isinstance(tensor, tensor_class) for tensor in state.values()
    )
    if not tensors:
        raise FeatureError(
            f"{path.name} holds something other than tensors by name",
            where=path,
            hint="save the model's state_dict() there",
        )
    return {str(name): tensor.detach().clone().contiguous() for name, tensor in state.items()}


def _state(path: Path) -> tuple[Any, type]:
    """Load the file with PyTorch's restricted unpickler; returns it with the class of a tensor."""
    try:
        import torch
    except ImportError as error:
        raise DependencyError(
            "PyTorch is not installed", hint="pip install 'medusa-jax[extract]'"
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True), torch.Tensor
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FeatureError(
            f"{path.name} cannot be read as weights alone: {reason}",
            where=path,
            hint="fetch it again from its owner",
        ) from error
