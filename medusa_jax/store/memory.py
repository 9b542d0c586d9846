"""Frames kept in memory and read as those of a feature store are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medusa_jax.store.int8 import Quantised
from medusa_jax.store.ledger import Entry, Failure, Plan
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.shard import Clip


class MemoryStore(FeatureStore):
    """A store of one shard that was never written: the same numbers, rounded as stored."""

    def __init__(self, plan: Plan, clips: Sequence[Clip], failed: Sequence[Failure] = ()) -> None:
        entry = Entry(
            plan=plan.digest(),
            shard=0,
            size=0,
            sha256="",
            ids=tuple(clip.id for clip in clips),
            lengths=tuple(len(clip.frames) for clip in clips),
            failed=tuple(failed),
        )
        super().__init__(Path("memory"), plan, (entry,))
        self._clips = {clip.id: clip for clip in clips}

    def _row(self, id: str) -> np.ndarray | Quantised:
        clip = self._clips.get(id)
        if clip is None:
            return super()._row(id)  # which raises
        return clip.frames if clip.scale is None else Quantised(clip.frames, clip.scale)
