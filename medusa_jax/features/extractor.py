"""The interface of an extractor: waveforms or transcripts in, frames out."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from medusa_jax.errors import MedusaError


class Extractor(Protocol):
    """A deterministic function: equal input and equal `identity` give equal frames.

    Building one is cheap: weights and optional packages load at the first call.
    """

    name: str
    """Short, and valid in a folder's name: `logmel`, `wavlm-large`."""
    width: int
    """Number of features of a frame, `d`."""
    parallel: bool
    """True: called by several threads, with one input each. False: called with many inputs."""
    packages: tuple[str, ...]
    """Packages whose versions are recorded beside the frames."""

    @property
    def reads(self) -> Literal["audio", "text", "frames"]:
        """Kind of input: `audio`, mono float32 waveforms `[sample]` at 16 kHz; `text`; or `frames`,
        the path of a file in a folder of the corpus that `identity` names as `folder`.
        """
        ...

    def identity(self) -> dict[str, object]:
        """Return all that determines the numbers, JSON-serialisable and without local paths."""
        ...

    def prepare(self) -> None:
        """Load weights and packages. Raises `DependencyError` or `FeatureError` if that fails."""
        ...

    def __call__(self, inputs: Sequence[Any]) -> list[np.ndarray] | list[np.ndarray | MedusaError]:
        """Return frames `[t, d]`, float32, t ≥ 1, of each input, independent of the other inputs.

        Bad input (too short, …) gives a `FeatureError` or `AudioError` in its place in the list;
        an extractor with `parallel` raises it.
        """
        ...
