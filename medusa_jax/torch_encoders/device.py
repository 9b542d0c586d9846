"""Where and in what precision an encoder computes, and how arrays get there and back."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from medusa_jax.errors import FeatureError

BATCH_SECONDS = {"cpu": 8.0, "cuda": 240.0}
"""Audio in a batch by kind of device. A core gains nothing from larger ones, and has them all in memory at once."""


# On a CPU oneDNN keeps a program for each of the last 1,024 shapes it has seen. Batches of speech have a new shape each, so memory would
# grow for thousands of utterances, for programs that are not used again. It reads this once, at its first operation.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")


class Placement:
    """A device and a precision."""

    def __init__(self, device: str, compute: str) -> None:
        import torch

        if device.startswith("cuda") and not torch.cuda.is_available():
            raise FeatureError(
                "there is no CUDA device",
                where=f"device: {device}",
                hint="set device: auto, or install PyTorch with CUDA",
            )
        automatic = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(automatic if device == "auto" else device)
        self.precision = getattr(torch, compute)
        if (
            self.device.type == "cuda"
        ):  # PyTorch lets convolutions round float32 to the ten bits of TF32 otherwise
            torch.backends.cudnn.allow_tf32 = False

    def settle(self, model: Any) -> Any:
        """The model on the device, its weights in the precision; rotary frequencies and their like stay as they are."""
        import torch

        for parameter in model.parameters():
            parameter.data = parameter.data.to(self.precision)
        for part in model.modules():
            if isinstance(
                part, torch.nn.BatchNorm1d
            ):  # whose statistics must be of the same type as its input
                part.to(self.precision)
        return model.to(self.device)

    def tensor(self, array: np.ndarray) -> Any:
        """The array on the device; on CUDA through pinned memory, without waiting."""
        import torch

        tensor = torch.from_numpy(array)
        return (
            tensor
            if self.device.type == "cpu"
            else tensor.pin_memory().to(self.device, non_blocking=True)
        )

    def floats(self, array: np.ndarray) -> Any:
        """The array on the device in the model's precision."""
        return self.tensor(array).to(self.precision)

    def mask(self, lengths: Sequence[int]) -> Any:
        """`[b, t]`, true where there is no padding; None if there is no padding at all."""
        if min(lengths) == max(lengths):
            return None
        return self.tensor(np.arange(max(lengths)) < np.array(lengths)[:, None])
