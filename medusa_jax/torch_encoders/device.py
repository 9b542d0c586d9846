"""Device and precision of an encoder, and the transfer of arrays to it."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from medusa_jax.errors import FeatureError

# On a CPU, oneDNN keeps a program for each of the last 1,024 shapes. Batches of speech rarely
# repeat a shape, so memory would grow for thousands of utterances, for programs that are never
# used again. oneDNN reads this variable once, at its first operation.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")


def uses_cuda(device: str) -> bool:
    """Return whether a model configured for `device` runs on CUDA, without taking memory there."""
    if device != "auto":
        return device.startswith("cuda")
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


class Placement:
    """A device and a precision."""

    def __init__(self, device: str, compute: str) -> None:
        import torch

        available = torch.cuda.is_available()
        if device.startswith("cuda") and not available:
            raise FeatureError(
                "there is no CUDA device",
                where=f"device: {device}",
                hint="set device: auto, or install PyTorch with CUDA",
            )
        automatic = "cuda" if available else "cpu"
        self.device = torch.device(automatic if device == "auto" else device)
        self.precision = getattr(torch, compute)
        if self.device.type == "cuda":
            # By default PyTorch's convolutions round float32 to the ten bits of TF32.
            torch.backends.cudnn.allow_tf32 = False

    def settle(self, model: Any) -> Any:
        """Move the model to the device, its weights in the precision.

        Buffers such as rotary frequencies keep their type, but those of a batch norm follow its
        input.
        """
        import torch

        for parameter in model.parameters():
            parameter.data = parameter.data.to(self.precision)
        for part in model.modules():
            if isinstance(part, torch.nn.BatchNorm1d):
                part.to(self.precision)
        return model.to(self.device)

    def tensor(self, array: np.ndarray) -> Any:
        """Copy the array to the device; on CUDA through pinned memory, without waiting."""
        import torch

        tensor = torch.from_numpy(array)
        if self.device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def floats(self, array: np.ndarray) -> Any:
        """Copy the array to the device in the model's precision."""
        return self.tensor(array).to(self.precision)

    def mask(self, lengths: Sequence[int]) -> Any:
        """Return `[b, t]`, true where there is no padding; None if there is no padding at all."""
        if min(lengths) == max(lengths):
            return None
        return self.tensor(np.arange(max(lengths)) < np.array(lengths)[:, None])
