"""Frames that stand in the corpus folder: a team's own streams, as of a face tracker."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from medusa_jax.config.features import FramesConfig
from medusa_jax.errors import FeatureError, MedusaError


class Frames:
    """Matrices `[t, width]` of numbers as they are, from one `.npy` file an utterance."""

    reads: Literal["frames"] = "frames"
    # NumPy parses a file's header with `ast`, which in Python 3.11 fails at random in threads
    # ("AST constructor recursion depth mismatch", python/cpython#106905).
    parallel = False
    packages: tuple[str, ...] = ("numpy",)

    def __init__(self, config: FramesConfig) -> None:
        self.config, self.width = config, config.width
        self.name = "frames"

    def identity(self) -> dict[str, object]:
        """Return the settings."""
        return {**self.config.model_dump(mode="json"), "version": 1}

    def prepare(self) -> None:
        """Load nothing."""

    def __call__(self, inputs: Sequence[Path]) -> list[np.ndarray | MedusaError]:
        """Return the frames of each file, float32.

        A `FeatureError` stands in the place of a file that is missing, damaged, of another shape,
        or that holds NaN or anything but numbers.
        """
        return [self._one(path) for path in inputs]

    def _one(self, path: Path) -> np.ndarray | MedusaError:
        try:
            return read_frames(path, self.width)
        except FeatureError as error:
            return error


def frames_path(root: Path, folder: str, id: str) -> Path:
    """Path of an utterance's frames: its id, without `.wav`, in `folder` below the corpus `root`.

    Raises `FeatureError` for an id that leads out of the folder.
    """
    name = PurePosixPath(f"{id.removesuffix('.wav')}.npy")
    if name.is_absolute() or ".." in name.parts or "\\" in id or "\0" in id:
        raise FeatureError(f"the id {id!r} leads out of the folder {folder!r}")
    return root / folder / name


def read_frames(path: Path, width: int) -> np.ndarray:
    """Frames `[t, width]`, float32, of one `.npy` file. Raises `FeatureError`."""
    try:
        # Without pickles: an array of objects would run code.
        frames_td = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise FeatureError("the file of its frames is missing", where=path) from error
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise FeatureError(f"not a readable .npy file of numbers: {error}", where=path) from error
    if not isinstance(frames_td, np.ndarray) or frames_td.dtype.kind not in "fiub":
        raise FeatureError("no array of numbers", where=path)
    if frames_td.ndim != 2 or len(frames_td) == 0 or frames_td.shape[1] != width:
        raise FeatureError(
            f"frames of shape {frames_td.shape}, not [t, {width}]",
            where=path,
            hint="set the feature's width to the numbers of a frame",
        )
    if not np.isfinite(frames_td).all():
        raise FeatureError("NaN or infinity in the frames", where=path)
    return frames_td.astype(np.float32)
