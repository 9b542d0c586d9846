"""What every extractor is: a waveform or a transcript goes in, frames come out."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from medusa_jax.errors import MedusaError


class Extractor(Protocol):
    """One way to turn utterances into frames. Deterministic: equal input and `identity` give equal frames.

    Building one is cheap and needs neither weights in memory nor optional packages: those load at the first call.
    """

    name: str
    """Short and fit for a folder's name: `logmel`, `wavlm-large`."""
    width: int
    """`d`, the number of features of a frame."""
    parallel: bool
    """True: several threads at once make it faster, and it is given one input a call. False: it is given many, and uses the cores itself."""
    packages: tuple[str, ...]
    """Distributions whose versions are noted beside the frames they made."""

    @property
    def reads(self) -> Literal["audio", "text"]:
        """`audio`: mono float32 waveforms `[sample]` at 16 kHz; `text`: transcripts."""
        ...

    def identity(self) -> dict[str, object]:
        """Everything that determines the numbers (settings, digests of weights), JSON-serialisable; names no path of this machine."""
        ...

    def prepare(self) -> None:
        """Load what the first call needs. Raises `DependencyError` for a missing extra, `FeatureError` for weights that do not load."""
        ...

    def __call__(self, inputs: Sequence[Any]) -> list[np.ndarray] | list[np.ndarray | MedusaError]:
        """Frames `[t, d]`, float32, t ≥ 1, one array an input; an utterance's frames never depend on its neighbours.

        An input that cannot give frames (too short, …) is a `FeatureError` or `AudioError`: in its place in the list, or raised
        by an extractor that is given one input a call.
        """
        ...
