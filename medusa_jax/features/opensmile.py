"""openSMILE descriptors (eGeMAPS, ComParE), through the package `opensmile`."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.config.features import OpenSmileConfig
from medusa_jax.errors import AudioError, DependencyError

WIDTHS = {
    ("eGeMAPSv02", "lld"): 25,
    ("eGeMAPSv02", "functionals"): 88,
    ("ComParE_2016", "lld"): 65,
    ("ComParE_2016", "lld_delta"): 130,
    ("ComParE_2016", "functionals"): 6373,
}
SHORTEST = 960
"""Fewest samples (60 ms): openSMILE gives NaN for shorter audio."""
OVERLAP = 0.25
"""Share of a part that the next one repeats."""


class OpenSmile:
    """Low-level descriptors `[t, d]` at 100 frames/s, or functionals `[parts, d]`."""

    reads: Literal["audio"] = "audio"
    parallel = True
    packages: tuple[str, ...] = ("opensmile",)

    def __init__(self, config: OpenSmileConfig) -> None:
        self.config = config
        self.name = f"{config.feature_set}-{config.level}" + (
            f"-{config.parts}" if config.parts > 1 else ""
        )
        self.width = WIDTHS[config.feature_set, config.level]

    def identity(self) -> dict[str, object]:
        """Return the settings; the package's version is recorded beside the frames."""
        return {**self.config.model_dump(mode="json"), "version": 1}

    def prepare(self) -> None:
        """Start openSMILE. Raises `DependencyError` without the package."""
        _ = self._smiles

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return descriptors `[t, d]`, float32. Raises `AudioError` below 60 ms."""
        return [self._one(wave_n) for wave_n in inputs]

    def _one(self, wave_n: np.ndarray) -> np.ndarray:
        if len(wave_n) < SHORTEST:
            raise AudioError(
                f"{len(wave_n)} samples are too short for openSMILE (at least {SHORTEST}, 60 ms)"
            )
        # openSMILE casts to 16 bits without saturation: +1.0 would become −1.0.
        wave_n = np.clip(wave_n, -1.0, 32767 / 32768)
        if self.config.level == "functionals":
            vectors = [self._smiles[0](part_n, RATE)[0].T for part_n in self._parts(wave_n)]
            return np.ascontiguousarray(np.concatenate(vectors), dtype=np.float32)
        parts_td = [smile(wave_n, RATE)[0].T for smile in self._smiles]
        # The slopes have two frames more than the descriptors.
        frames = min(len(part) for part in parts_td)
        frames_td = np.concatenate([part[:frames] for part in parts_td], axis=1)
        return np.ascontiguousarray(frames_td, dtype=np.float32)

    def _parts(self, wave_n: np.ndarray) -> list[np.ndarray]:
        """Return `config.parts` equal parts overlapping by a quarter, none below `SHORTEST`."""
        count = self.config.parts
        length = max(len(wave_n) / (count - OVERLAP * (count - 1)), SHORTEST)
        starts = np.linspace(0, len(wave_n) - length, count)
        return [wave_n[round(start) : round(start + length)] for start in starts]

    @cached_property
    def _smiles(self) -> list[Any]:
        try:
            import opensmile
        except ImportError as error:
            raise DependencyError(
                "the package opensmile is not installed", hint="pip install 'medusa-jax[opensmile]'"
            ) from error
        level = opensmile.FeatureLevel
        levels = {
            "lld": [level.LowLevelDescriptors],
            "lld_delta": [level.LowLevelDescriptors, level.LowLevelDescriptors_Deltas],
            "functionals": [level.Functionals],
        }[self.config.level]
        features = opensmile.FeatureSet[self.config.feature_set]
        return [opensmile.Smile(features, level) for level in levels]
