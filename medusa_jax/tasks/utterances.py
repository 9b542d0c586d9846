"""Utterances as a dataset: the stream of batches of Stage 1, of all that has labels, and of
balanced Stage 2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from medusa_jax.batches.examples import Batch, Examples
from medusa_jax.batches.sampling import balanced_subset, epoch_batches, every_batch
from medusa_jax.config.training import TrainingConfig
from medusa_jax.errors import TrainingError
from medusa_jax.files import digest_of

BALANCED = 1
"""The number of the phase that draws balanced subsets: Stage 2."""


@dataclass(frozen=True, eq=False)
class Utterances:
    """Implements `tasks.task.Dataset`: `fit` and `held_out` are positions in `examples`, `seed` is
    the stream's.
    """

    examples: Examples
    fit: np.ndarray
    held_out: np.ndarray
    size: int
    no_consensus: bool
    seed: int
    whole: Examples | None = None
    """The same utterances without crops, for evaluation; None: as in training."""

    @property
    def evaluated(self) -> Examples:
        """The utterances as they are predicted."""
        return self.whole or self.examples

    @property
    def watched(self) -> np.ndarray:
        """None."""
        return np.empty(0, int)

    def units(self, rows: np.ndarray) -> np.ndarray:
        """The positions of these utterances of the corpus: the same."""
        return rows

    def by_utterance(self, found: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, Any]:
        """Predictions `[n, …]` of `units(rows)` in the order of `rows`: the same."""
        return dict(found)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that its batches depend on."""
        stores = [store.digest for store in self.examples.stores]
        parts = [self.fit.tolist(), self.held_out.tolist()]
        return digest_of([self.examples.corpus.digest(), stores, parts])

    def __len__(self) -> int:
        return len(self.examples)

    def check(self) -> None:
        """Raise `TrainingError` if no epoch could be chosen, or nothing be learned."""
        if not (self.examples.corpus.labels[self.held_out] >= 0).any():
            raise TrainingError(
                "no held-out utterance has a consensus class, so no epoch can be chosen",
                hint="raise corpus.hold_out",
            )
        if not self.examples.trainable[self.fit].any():
            raise TrainingError(
                "no training utterance has votes or ratings",
                hint="is a split of the corpus without labels called train?",
            )

    def plan(self, phase: int, epoch: int) -> np.ndarray:
        """Batches `[step, b]`: of all of `fit` that has labels, or of a new balanced subset of it
        each epoch.

        A function of (seed, phase, epoch); every epoch of a phase has as many steps. Raises
        `TrainingError` if a class has no utterance to balance with.
        """
        corpus, fit = self.examples.corpus, self.fit
        if phase == BALANCED:
            labels = corpus.labels[fit]
            chosen = balanced_subset(labels, corpus.classes, self.seed, epoch, self.no_consensus)
            positions = fit[chosen]
        else:
            positions = fit[self.examples.trainable[fit]]
        return epoch_batches(positions, self.examples.rungs, self.size, self.seed, phase + 1, epoch)

    def cover(self, positions: np.ndarray, size: int) -> np.ndarray:
        """Batches `[step, b]` of one padded shape each, with each position at least once."""
        return every_batch(positions, self.evaluated.rungs, size)

    def batch(
        self, positions: np.ndarray, rows: slice = slice(None), when: tuple[int, int] | None = None
    ) -> Batch:
        """Frames and targets of these utterances; where they are cropped, a part at random in
        training.
        """
        if when is None:
            return self.evaluated.batch(positions, rows)
        return self.examples.batch(positions, rows, (self.seed, *when))

    def shapes(self, size: int) -> Any:
        """Shapes and types of the largest batch of `size` utterances."""
        return self.examples.largest_batch(size)

    def measures(self, plan: np.ndarray) -> dict[str, int | float]:
        """Utterances of an epoch, and the share of its frames that is padding."""
        return {"utterances": plan.size, "padding": self.examples.padding_share(plan)}

    def rungs(self, plan: np.ndarray) -> np.ndarray:
        """The padded shape of each training batch `[step]`."""
        return self.examples.rungs[plan].max(axis=1)

    def names(self, positions: Sequence[int] | np.ndarray, when: tuple[int, int]) -> list[str]:
        """Ids of these utterances."""
        return [f"utterance {self.examples.ids[position]}" for position in positions]


def utterances_of(
    config: TrainingConfig,
    member_seed: int,
    examples: Examples,
    fit: np.ndarray,
    held_out: np.ndarray,
    seed: int,
    whole: Examples | None = None,
) -> Utterances:
    """The dataset of a member in the run of this seed; members with an equal `stream_of` share
    it.
    """
    own = seed if config.stream == "shared" else own_stream(seed, member_seed)
    return Utterances(examples, fit, held_out, config.batch_size, config.no_consensus, own, whole)


def stream_of(config: TrainingConfig, member_seed: int) -> tuple[int, int, bool, int | None]:
    """Members of one run whose streams are equal read the same batches."""
    own = None if config.stream == "shared" else member_seed
    return config.batch_size, config.shapes, config.no_consensus, own


def own_stream(seed: int, member_seed: int) -> int:
    """The seed of the batches of a member with a stream of its own."""
    return int(np.random.SeedSequence((seed, member_seed, 6)).generate_state(1)[0])
