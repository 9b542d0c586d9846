"""Utterances as arrays: targets from the corpus, frames from the stores, padded to one of a few shapes.

Legend: `n` utterance of the set, `b` utterance of a batch, `t` frame, `d` feature, `c` target, `a` attribute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from medusa_jax.corpus.table import Corpus
from medusa_jax.features.store import FeatureStore

_ROUND = 8  # padded lengths above this are multiples of it


class Batch(NamedTuple):
    """What one step sees. `inputs[k]` `[b, t_k, d_k]` is zero behind `lengths[k]` `[b]`."""

    inputs: tuple[np.ndarray | jax.Array, ...]
    lengths: tuple[np.ndarray | jax.Array, ...]
    soft: np.ndarray | jax.Array  # [b, c] target distribution; all zero: no class target
    attributes: np.ndarray | jax.Array  # [b, 3]; zero where not rated
    rated: np.ndarray | jax.Array  # [b, 3] 1 where rated, else 0


@dataclass(frozen=True)
class Examples:
    """A set of utterances with their frames within reach.

    `shapes[r, k]` is modality k's padded length in rung r; `rungs[n]` is the smallest rung that utterance n fits in. An
    utterance without frames in a store (its extraction failed) has length 0 there.
    """

    corpus: Corpus
    modalities: tuple[str, ...]
    stores: tuple[FeatureStore, ...]
    soft: np.ndarray
    attributes: np.ndarray
    rated: np.ndarray
    lengths: np.ndarray  # [n, k]
    shapes: np.ndarray
    rungs: np.ndarray

    def __len__(self) -> int:
        return len(self.corpus)

    @property
    def costs(self) -> np.ndarray:
        """What a longer utterance costs `[n]`: its frames over all modalities."""
        return self.lengths.sum(axis=1)

    @property
    def widths(self) -> dict[str, int]:
        """Feature width by modality."""
        return {name: store.width for name, store in zip(self.modalities, self.stores, strict=True)}

    def statistics(self, k: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation `[d]`, float32, of modality k's frames over these utterances."""
        total, squares, count = np.zeros(self.stores[k].width), np.zeros(self.stores[k].width), 0
        for identity in self.corpus.frame["id"].to_numpy()[positions]:
            if identity in self.stores[k]:
                frames = self.stores[k].frames(identity).astype(np.float64)
                total, squares, count = total + frames.sum(axis=0), squares + (frames**2).sum(axis=0), count + len(frames)
        mean = total / max(count, 1)
        deviation = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))
        return mean.astype(np.float32), deviation.astype(np.float32)

    @property
    def missing(self) -> dict[str, int]:
        """For each modality, how many utterances have no frames."""
        ids = self.corpus.frame["id"]
        return {name: sum(i not in store for i in ids) for name, store in zip(self.modalities, self.stores, strict=True)}

    def batch(self, positions: np.ndarray) -> Batch:
        """Pad these utterances to the shape of the largest rung among them."""
        shape = self.shapes[self.rungs[positions].max()]
        ids = self.corpus.frame["id"].to_numpy()[positions].tolist()
        inputs = tuple(_pad(store, ids, int(length)) for store, length in zip(self.stores, shape, strict=True))
        lengths = tuple(self.lengths[positions].T)
        return Batch(inputs, lengths, self.soft[positions], self.attributes[positions], self.rated[positions])

    def padding_share(self, batches: np.ndarray) -> float:
        """Share of the frames computed for `batches` `[step, b]` that are padding."""
        computed = sum(self.shapes[self.rungs[row].max()].sum() * len(row) for row in batches)
        return 1 - self.lengths[batches].sum() / computed


def _pad(store: FeatureStore, ids: Sequence[str], length: int) -> np.ndarray:
    """`[b, length, d]` in the store's dtype."""
    filled: np.ndarray | None = None
    for row, identity in enumerate(ids):
        frames = store.frames(identity) if identity in store else None
        if filled is None:
            filled = np.zeros((len(ids), length, store.width), store.dtype)
        if frames is not None:
            filled[row, : len(frames)] = frames
    assert filled is not None
    return filled


def gather(corpus: Corpus, modalities: Sequence[str], stores: Mapping[str, FeatureStore], shapes: int, one_hot: bool = False) -> Examples:
    """Line up `corpus` with the stores of `modalities`; `one_hot` takes the consensus class as target (the ablation).

    The targets of an utterance that has none are zero rows; it still counts in the attribute loss if it was rated.
    """
    if one_hot:
        soft = np.eye(len(corpus.targets), dtype=np.float32)[corpus.labels] * (corpus.labels >= 0)[:, None]
    else:
        soft = np.nan_to_num(corpus.soft, nan=0.0)
    rated = np.isfinite(corpus.attributes).astype(np.float32)
    chosen = tuple(stores[m] for m in modalities)
    lengths = np.stack([_lengths(corpus, store) for store in chosen], axis=1)
    ladder, rungs = _ladder(lengths, shapes)
    attributes = np.nan_to_num(corpus.attributes, nan=0.0)
    return Examples(corpus, tuple(modalities), chosen, soft.astype(np.float32), attributes, rated, lengths, ladder, rungs)


def _lengths(corpus: Corpus, store: FeatureStore) -> np.ndarray:
    """Frames of each utterance of the corpus `[n]`, 0 where the store has none."""
    known = dict(zip(store.ids, store.lengths.tolist(), strict=True))
    return np.array([known.get(i, 0) for i in corpus.frame["id"]], np.int32)


def _ladder(lengths: np.ndarray, rungs: int) -> tuple[np.ndarray, np.ndarray]:
    """Padded shapes `[rung, k]`, each at least as large as the one below, and each utterance's rung `[n]`.

    Utterances are ranked by their total length and cut into equal groups; a rung is as long, in each modality, as the
    longest utterance up to its group.
    """
    order = np.argsort(lengths.sum(axis=1), kind="stable")
    groups = [g for g in np.array_split(order, min(rungs, len(order))) if len(g)]
    tops = np.maximum.accumulate(np.stack([lengths[g].max(axis=0) for g in groups]))
    ladder = np.unique(np.where(tops > _ROUND, -(-tops // _ROUND) * _ROUND, np.maximum(tops, 1)), axis=0)
    fits = (lengths[:, None, :] <= ladder[None]).all(axis=2)
    return ladder, fits.argmax(axis=1)
