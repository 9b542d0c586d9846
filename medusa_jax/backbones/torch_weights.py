"""Read PyTorch's pickled weights: tensors alone, no code in the file is run.

`convert` writes them as safetensors, once and on request.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from medusa_jax.errors import DependencyError, FeatureError
from medusa_jax.files import write_whole

PICKLED = "pytorch_model.bin"


def convert(folder: Path) -> Path:
    """Write `model.safetensors` beside `pytorch_model.bin`, whole or not at all; return its path.

    A file that is there is kept. Raises `FeatureError` if there is nothing to convert, or the file holds anything but tensors.
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
    """The tensors of a PyTorch file as float32 arrays by name. Raises as `convert` does."""
    return {name: tensor.float().numpy() for name, tensor in _tensors(path).items()}


def _tensors(path: Path) -> dict[str, Any]:
    """The file's tensors by name, each with memory of its own."""
    if not path.is_file():
        hint = "give a folder that holds it beside config.json"
        raise FeatureError(f"there is no {path.name} to convert", where=path.parent, hint=hint)
    try:
        import torch
    except ImportError as error:
        raise DependencyError(
            "PyTorch is not installed", hint="pip install 'medusa-jax[extract]'"
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FeatureError(
            f"{path.name} cannot be read as weights alone: {reason}",
            where=path,
            hint="fetch it again from its owner",
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(tensor, torch.Tensor) for tensor in state.values()
    ):
        raise FeatureError(
            f"{path.name} holds something else than tensors by name",
            where=path,
            hint="save the model's state_dict() there",
        )
    return {str(name): tensor.detach().clone().contiguous() for name, tensor in state.items()}
