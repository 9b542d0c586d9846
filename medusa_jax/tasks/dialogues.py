"""Dialogues as a dataset: a stream of batches of whole dialogues.

Legend: `n` dialogue of a set, `u` turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from medusa_jax.batches.dialogues import Conversations, DialogueBatch
from medusa_jax.batches.sampling import epoch_batches, every_batch
from medusa_jax.errors import TrainingError
from medusa_jax.files import digest_of


@dataclass(frozen=True, eq=False)
class Dialogues:
    """Implements `tasks.task.Dataset`: `fit_rows`, `held_rows` and `watched_rows` are utterances,
    by position in the corpus; every other position is a dialogue's.
    """

    examples: Conversations
    fit_rows: np.ndarray
    held_rows: np.ndarray
    watched_rows: np.ndarray
    size: int
    seed: int

    @property
    def evaluated(self) -> Conversations:
        """The dialogues as they are predicted."""
        return self.examples

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that its batches depend on."""
        stores = [store.digest for store in self.examples.stores]
        parts = [self.fit_rows.tolist(), self.held_rows.tolist()]
        return digest_of([self.examples.corpus.digest(), stores, parts])

    @cached_property
    def fit(self) -> np.ndarray:
        """Dialogues to learn from: with a label or a rating."""
        own = self.examples
        targets = np.concatenate([own.soft, own.one_hot, own.rated], axis=1).sum(axis=1) > 0
        return self.units(self.fit_rows[targets[self.fit_rows]])

    @cached_property
    def held_out(self) -> np.ndarray:
        """Dialogues that choose the best epoch."""
        return self.units(self.held_rows)

    @cached_property
    def watched(self) -> np.ndarray:
        """Dialogues that are scored after each epoch and choose nothing."""
        return self.units(self.watched_rows)

    @cached_property
    def rank(self) -> np.ndarray:
        """Each utterance's speaker by frequency in the training part."""
        return self.examples.rank(self.fit_rows)

    @cached_property
    def _dialogue(self) -> np.ndarray:
        """The dialogue of each utterance of the corpus."""
        found = np.empty(len(self.examples.corpus), int)
        for number, rows in enumerate(self.examples.turns):
            found[rows] = number
        return found

    def __len__(self) -> int:
        return len(self.examples)

    def units(self, rows: np.ndarray) -> np.ndarray:
        """The dialogues that these utterances are turns of."""
        return np.unique(self._dialogue[rows])

    def by_utterance(self, found: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, Any]:
        """Predictions `[n, u, …]` of `units(rows)` as `[row, …]`, in the order of `rows`."""
        units = self.units(rows)
        place = np.full(len(self), -1)
        place[units] = np.arange(len(units))
        turn = np.empty(len(self.examples.corpus), int)
        for own in self.examples.turns:
            turn[own] = np.arange(len(own))
        where = place[self._dialogue[rows]], turn[rows]
        return {name: values[where] for name, values in found.items()}

    def labels(self, units: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Labels `[n, u]` of the turns of these dialogues that are among the utterances `rows`;
        −1 for all others.
        """
        label_n = np.full(len(self.examples.corpus), -1)
        label_n[rows] = self.examples.corpus.labels[rows]
        found = np.full((len(units), self.examples.longest), -1)
        for place, unit in enumerate(units):
            own = self.examples.turns[unit]
            found[place, : len(own)] = label_n[own]
        return found

    def check(self) -> None:
        """Raise `TrainingError` if no epoch could be chosen, or nothing be learned."""
        if not (self.examples.corpus.labels[self.held_rows] >= 0).any():
            raise TrainingError(
                "no held-out utterance has a consensus class, so no epoch can be chosen",
                hint="raise corpus.hold_out, or choose the part by corpus.epoch_by",
            )
        if not len(self.fit):
            raise TrainingError(
                "no training dialogue has labels",
                hint="is a split of the corpus without labels called train?",
            )

    def plan(self, phase: int, epoch: int) -> np.ndarray:
        """An epoch's batches, dialogues `[step, b]`: a function of (seed, phase, epoch)."""
        rungs = self.examples.rungs
        return epoch_batches(self.fit, rungs, self.size, self.seed, phase + 1, epoch)

    def cover(self, positions: np.ndarray, size: int) -> np.ndarray:
        """Batches `[step, b]` of one padded shape each, with each dialogue at least once."""
        return every_batch(positions, self.examples.rungs, size)

    def batch(
        self, positions: np.ndarray, rows: slice = slice(None), when: tuple[int, int] | None = None
    ) -> DialogueBatch:
        """Arrays `[b, u, …]` of these dialogues; nothing is drawn in training."""
        return self.examples.batch(positions, rows, self.rank)

    def shapes(self, size: int) -> Any:
        """Shapes and types of the largest batch of `size` dialogues."""
        return self.examples.largest_batch(size)

    def measures(self, plan: np.ndarray) -> dict[str, int | float]:
        """Dialogues of an epoch, and the share of its turns that is padding."""
        return {"dialogues": plan.size, "padding": self.examples.padding_share(plan)}

    def names(self, positions: Sequence[int] | np.ndarray) -> list[str]:
        """Names of these dialogues."""
        return [f"dialogue {self.examples.names[position]}" for position in positions]
