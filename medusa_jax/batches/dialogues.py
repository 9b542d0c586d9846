"""Dialogues as arrays: one vector a turn and modality, targets and speakers, padded to one of a few
lengths.

Legend: `n` utterance of the corpus, `g` dialogue of the corpus, `b` row of a batch (one dialogue,
or several one behind the other), `u` turn of a row, `k` modality, `d` feature, `c` target, `a`
attribute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from medusa_jax.batches.buckets import grid_of, ladder_of
from medusa_jax.batches.examples import targets_of
from medusa_jax.corpus.table import ATTRIBUTES, Corpus
from medusa_jax.errors import FeatureError
from medusa_jax.store.reader import FeatureStore

Arrays = Any
"""NumPy or JAX arrays, and for `streams` and `present` those of modalities by name, or in slots."""


class DialogueBatch(NamedTuple):
    """Arrays of one step; all are zero behind a row's last turn."""

    streams: Arrays  # [b, u, d_k], zero where a turn has no features
    present: Arrays  # [b, u] 1 where a turn has features
    mask: Arrays  # [b, u] 1 where there is a turn
    first: Arrays  # [b, u] 1 where a dialogue begins
    order: Arrays  # [b, u] int32, the speaker by order of appearance, from 0
    rank: Arrays  # [b, u] int32, the speaker by frequency in the training part
    soft: Arrays  # [b, u, c] target distribution; all zero: no class target
    one_hot: Arrays  # [b, u, c] the consensus class; all zero: no consensus
    attributes: Arrays  # [b, u, 3]; zero where not rated
    rated: Arrays  # [b, u, 3] 1 where rated, else 0

    def of(self, modalities: Sequence[str]) -> "DialogueBatch":
        """The same batch with the streams of these modalities in slots."""
        streams = tuple(self.streams[name] for name in modalities)
        present = tuple(self.present[name] for name in modalities)
        return self._replace(streams=streams, present=present)


@dataclass(frozen=True, eq=False)
class Conversations:
    """A corpus as dialogues, with the mean frame of each utterance in every store.

    `shapes[r, k]` are the turns of rung r, alike for all modalities; `rungs[g]` is the smallest
    rung that dialogue g fits in.
    """

    corpus: Corpus
    modalities: tuple[str, ...]
    stores: tuple[FeatureStore, ...]
    names: tuple[str, ...]  # of the dialogues
    turns: tuple[np.ndarray, ...]  # positions in the corpus, by dialogue
    soft: np.ndarray  # [n, c]
    one_hot: np.ndarray  # [n, c]
    attributes: np.ndarray  # [n, 3]
    rated: np.ndarray  # [n, 3]
    shapes: np.ndarray
    rungs: np.ndarray

    def __len__(self) -> int:
        return len(self.turns)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Utterance ids in order of the corpus."""
        return tuple(self.corpus.frame["id"])

    @cached_property
    def lengths(self) -> np.ndarray:
        """Turns `[g]` of each dialogue."""
        return np.array([len(rows) for rows in self.turns], np.int32)

    @property
    def longest(self) -> int:
        """Turns of the longest shape."""
        return int(self.shapes.max())

    def on_grid(self) -> "Conversations":
        """The same padded to lengths of a fixed grid, whatever the dialogues."""
        ladder, rungs = grid_of(self.lengths[:, None])
        return replace(self, shapes=np.repeat(ladder, len(self.modalities), axis=1), rungs=rungs)

    @property
    def widths(self) -> dict[str, int]:
        """Feature width by modality."""
        return {name: store.width for name, store in zip(self.modalities, self.stores, strict=True)}

    @cached_property
    def vectors(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """By modality: mean frames `[n, d_k]` float32, and a mask `[n]` of those with features.

        Raises `FeatureError` for features that are not finite.
        """
        return tuple(_means(store, self.ids) for store in self.stores)

    @cached_property
    def order(self) -> np.ndarray:
        """Each utterance's speaker by order of appearance in its dialogue `[n]`, from 0."""
        found = np.zeros(len(self.corpus), np.int32)
        speakers = _speakers(self.corpus)
        for rows in self.turns:
            _, first, place = np.unique(speakers[rows], return_index=True, return_inverse=True)
            found[rows] = np.argsort(np.argsort(first))[place]
        return found

    @cached_property
    def _first(self) -> np.ndarray:
        """1 where an utterance begins its dialogue `[n]`."""
        found = np.zeros(len(self.corpus), np.float32)
        found[[rows[0] for rows in self.turns]] = 1
        return found

    def rank(self, fit: np.ndarray) -> np.ndarray:
        """Each utterance's speaker by frequency among the utterances `fit` `[n]`; those that are
        not among them share the place behind all others.
        """
        speakers = _speakers(self.corpus)
        names, counts = np.unique(speakers[fit], return_counts=True)
        ranked = names[np.lexsort((names, -counts))].tolist()
        places = {name: place for place, name in enumerate(ranked)}
        return np.array([places.get(name, len(ranked)) for name in speakers], np.int32)

    def batch(
        self, rows: Sequence[Sequence[int]], length: int, rank_n: np.ndarray
    ) -> DialogueBatch:
        """Rows of `length` turns, each of these dialogues one behind the other."""
        none = np.empty(0, int)
        turns = [np.concatenate([none, *(self.turns[g] for g in row)]) for row in rows]

        def padded(values_n: np.ndarray) -> np.ndarray:
            filled = np.zeros((len(turns), length, *values_n.shape[1:]), values_n.dtype)
            for row, own in enumerate(turns):
                filled[row, : len(own)] = values_n[own]
            return filled

        streams, present = {}, {}
        for name, (vector_nd, there_n) in zip(self.modalities, self.vectors, strict=True):
            streams[name], present[name] = padded(vector_nd), padded(there_n)
        return DialogueBatch(
            streams,
            present,
            padded(np.ones(len(self.corpus), np.float32)),
            padded(self._first),
            padded(self.order),
            padded(rank_n),
            padded(self.soft),
            padded(self.one_hot),
            padded(self.attributes),
            padded(self.rated),
        )

    def largest_batch(self, size: int) -> DialogueBatch:
        """Shapes and types of `batch` for `size` of the longest rows."""
        place = (size, self.longest)

        def shape(*more: int, kind: Any = np.float32) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((*place, *more), kind)

        classes, rated = self.soft.shape[1], len(ATTRIBUTES)
        return DialogueBatch(
            {name: shape(width) for name, width in self.widths.items()},
            {name: shape() for name in self.modalities},
            shape(),
            shape(),
            shape(kind=np.int32),
            shape(kind=np.int32),
            shape(classes),
            shape(classes),
            shape(rated),
            shape(rated),
        )


def conversations(
    corpus: Corpus, modalities: Sequence[str], stores: Mapping[str, FeatureStore], shapes: int
) -> Conversations:
    """Line up the dialogues of `corpus` with the stores of `modalities`.

    Raises `CorpusError` if the corpus has no dialogues.
    """
    dialogues = corpus.dialogues()
    turns = tuple(dialogues.values())
    lengths = np.array([[len(rows)] for rows in turns], np.int32)
    ladder, rungs = ladder_of(lengths, shapes)
    chosen = tuple(stores[name] for name in modalities)
    return Conversations(
        corpus,
        tuple(modalities),
        chosen,
        tuple(dialogues),
        turns,
        *targets_of(corpus),
        np.repeat(ladder, len(chosen), axis=1),
        rungs,
    )


def _means(store: FeatureStore, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean frames and the mask of utterances that have some, of one store."""
    known = dict(zip(store.ids, store.lengths.tolist(), strict=True))
    mean_nd = np.zeros((len(ids), store.width), np.float32)
    there_n = np.array([known.get(one, 0) > 0 for one in ids])
    for row in np.flatnonzero(there_n):
        mean_nd[row] = np.mean(store.frames(ids[int(row)]), axis=0, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(mean_nd).all(axis=1))
    if len(bad):
        raise FeatureError(
            "features are not finite",
            where=f"{store.folder}, utterance {ids[int(bad[0])]}",
            hint="extract or import them again",
        )
    return mean_nd, there_n.astype(np.float32)


def _speakers(corpus: Corpus) -> np.ndarray:
    """Speakers' names `[n]`, empty where unknown."""
    return corpus.frame["speaker"].fillna("").to_numpy(str)
