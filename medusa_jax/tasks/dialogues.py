"""Dialogues as a dataset: a stream of batches of whole dialogues.

In training, a unit is a row of dialogues one behind the other, packed anew in each epoch; all
batches have one shape. In evaluation it is a dialogue.

Legend: `n` dialogue of a set, `u` turn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from medusa_jax.batches.dialogues import Conversations, DialogueBatch
from medusa_jax.batches.packing import dealt, packed, shared_out
from medusa_jax.batches.sampling import every_batch
from medusa_jax.errors import TrainingError
from medusa_jax.files import digest_of


@dataclass(frozen=True, eq=False)
class Dialogues:
    """Implements `tasks.task.Dataset`: `fit_rows`, `held_rows` and `watched_rows` are utterances,
    by position in the corpus; every other position is a dialogue's, or in training a row's in its
    epoch. A batch has about `batch_size` dialogues.
    """

    examples: Conversations
    fit_rows: np.ndarray
    held_rows: np.ndarray
    watched_rows: np.ndarray
    batch_size: int
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

    @property
    def size(self) -> int:
        """Rows of a training batch."""
        return self._shape[1]

    @cached_property
    def _shape(self) -> tuple[int, int]:
        """Steps of an epoch, and rows of a batch."""
        rows = packed(self.fit, self.examples.lengths, self.examples.longest)
        return shared_out(len(rows), len(self.fit), self.batch_size)

    @cached_property
    def _rows(self) -> Callable[[int, int], list[Sequence[int]]]:
        """The dialogues of each row of an epoch: a function of (seed, phase, epoch)."""

        @lru_cache(maxsize=2)
        def rows(phase: int, epoch: int) -> list[Sequence[int]]:
            rng = np.random.default_rng((self.seed, 1, phase + 1, epoch))
            order = rng.permutation(self.fit)
            found = packed(order, self.examples.lengths, self.examples.longest)
            steps, size = self._shape
            return dealt(found, steps * size, rng)

        return rows

    def plan(self, phase: int, epoch: int) -> np.ndarray:
        """An epoch's batches, rows `[step, b]`, which hold each dialogue once."""
        steps, size = self._shape
        return np.arange(steps * size).reshape(steps, size)

    def rungs(self, plan: np.ndarray) -> np.ndarray:
        """The padded shape of each training batch `[step]`: the longest."""
        return np.full(len(plan), len(self.examples.shapes) - 1)

    def cover(self, positions: np.ndarray, size: int) -> np.ndarray:
        """Batches `[step, b]` of one padded shape each, with each dialogue at least once."""
        return every_batch(positions, self.examples.rungs, size)

    def batch(
        self, positions: np.ndarray, rows: slice = slice(None), when: tuple[int, int] | None = None
    ) -> DialogueBatch:
        """Arrays `[b, u, …]` of these rows of dialogues or, in evaluation, of these dialogues."""
        own = self.examples
        if when is None:
            length = int(own.shapes[own.rungs[positions].max()].max())
            return own.batch([[g] for g in positions[rows]], length, self.rank)
        every = self._rows(*when)
        return own.batch([every[row] for row in positions[rows]], own.longest, self.rank)

    def shapes(self, size: int) -> Any:
        """Shapes and types of the largest batch of `size` rows."""
        return self.examples.largest_batch(size)

    def measures(self, plan: np.ndarray) -> dict[str, int | float]:
        """Dialogues of an epoch, and the share of its turns that is padding."""
        turns = self.examples.lengths[self.fit].sum()
        padding = float(1 - turns / (plan.size * self.examples.longest))
        return {"dialogues": len(self.fit), "padding": padding}

    def names(self, positions: Sequence[int] | np.ndarray, when: tuple[int, int]) -> list[str]:
        """Names of the dialogues in these rows."""
        every, names = self._rows(*when), self.examples.names
        return [f"dialogue {names[g]}" for row in positions for g in every[row]]
