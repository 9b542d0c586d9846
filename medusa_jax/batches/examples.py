"""Utterances as arrays: targets from the corpus, frames from the stores, padded to one of a few
shapes.

Legend: `n` utterance of the set, `b` utterance of a batch, `t` frame, `d` feature, `c` target, `a`
attribute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from medusa_jax.batches.buckets import grid_of, ladder_of
from medusa_jax.corpus.table import GENDERS, OTHER, Corpus
from medusa_jax.layers.coded import Coded
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.shard import DTYPES

Arrays = Any
"""NumPy or JAX arrays: by modality, or in the slots of one member."""


class Batch(NamedTuple):
    """Arrays of one step, for every member that trains on it.

    `inputs[name]` `[b, t_k, d_k]` is zero behind `lengths[name]` `[b]`; in the view of one member
    both are tuples of slots.
    """

    inputs: Arrays
    lengths: Arrays
    soft: np.ndarray | jax.Array  # [b, c] target distribution; all zero: no class target
    one_hot: np.ndarray | jax.Array  # [b, c] the consensus class; all zero: no consensus
    attributes: np.ndarray | jax.Array  # [b, 3]; zero where not rated
    rated: np.ndarray | jax.Array  # [b, 3] 1 where rated, else 0
    gender: Any = None  # [b] int32, a place in GENDERS or behind them: unknown
    secondary: Any = None  # [b, c + 1] as of `_secondary`; None: no member learns it

    def of(self, modalities: Sequence[str]) -> "Batch":
        """The same batch with the inputs of these modalities in slots: programs know places, not
        names.
        """
        inputs = tuple(self.inputs[name] for name in modalities)
        lengths = tuple(self.lengths[name] for name in modalities)
        return self._replace(inputs=inputs, lengths=lengths)


@dataclass(frozen=True)
class Examples:
    """A set of utterances with their frames within reach.

    `shapes[r, k]` is modality k's padded length in rung r; `rungs[n]` is the smallest rung that
    utterance n fits in. An utterance without frames in a store (its extraction failed) has length 0
    there. Of one that is longer than its modality's crop, a part is read.
    """

    corpus: Corpus
    modalities: tuple[str, ...]
    stores: tuple[FeatureStore, ...]
    soft: np.ndarray
    one_hot: np.ndarray
    attributes: np.ndarray
    rated: np.ndarray
    gender: np.ndarray  # [n]
    lengths: np.ndarray  # [n, k], of what is read
    stored: np.ndarray  # [n, k], of what is there
    shapes: np.ndarray
    rungs: np.ndarray
    secondary: np.ndarray | None = None  # [n, c + 1]

    def __len__(self) -> int:
        return len(self.corpus)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Utterance ids in order of position."""
        return tuple(self.corpus.frame["id"])

    def on_grid(self) -> "Examples":
        """The same padded to lengths of a fixed grid, whatever the utterances."""
        shapes, rungs = grid_of(self.lengths)
        return replace(self, shapes=shapes, rungs=rungs)

    @property
    def widths(self) -> dict[str, int]:
        """Feature width by modality."""
        return {name: store.width for name, store in zip(self.modalities, self.stores, strict=True)}

    @property
    def trainable(self) -> np.ndarray:
        """Mask `[n]` of utterances to learn from: with votes, a consensus or ratings."""
        return np.concatenate([self.soft, self.one_hot, self.rated], axis=1).sum(axis=1) > 0

    def batch(
        self, positions: np.ndarray, rows: slice = slice(None), seed: Sequence[int] | None = None
    ) -> Batch:
        """Pad these utterances to the shape of the largest rung among them; of the batch, only
        `rows` are read and returned.

        A cropped utterance's part begins at its start, or with a `seed` at random: the same share
        of the way in every modality.
        """
        shape = self.shapes[self.rungs[positions].max()]
        positions = positions[rows]
        spare_bk = self.stored[positions] - self.lengths[positions]
        start_bk = np.zeros_like(spare_bk)
        if seed is not None:
            for row in np.flatnonzero(spare_bk.any(axis=1)):
                share = np.random.default_rng([*seed, positions[row]]).random()
                start_bk[row] = np.round(share * spare_bk[row])
        inputs = {
            name: self._padded(k, positions, int(length), start_bk[:, k])
            for k, (name, length) in enumerate(zip(self.modalities, shape, strict=True))
        }
        lengths = dict(zip(self.modalities, self.lengths[positions].T, strict=True))
        return Batch(
            inputs,
            lengths,
            self.soft[positions],
            self.one_hot[positions],
            self.attributes[positions],
            self.rated[positions],
            self.gender[positions],
            None if self.secondary is None else self.secondary[positions],
        )

    def _padded(
        self, k: int, positions: np.ndarray, length: int, start_b: np.ndarray
    ) -> np.ndarray | Coded:
        """Modality k's frames `[b, length, d]` from their starts on, in the store's
        dtype; int8 ones are decoded on the device.

        Always new memory: a CPU device may read a batch where it lies while the next one is
        assembled.
        """
        store, b = self.stores[k], len(positions)
        filled = np.empty((b, length, store.width), _stored_type(store))
        scale_bd = np.zeros((b, store.width), np.float32)
        for row, position in enumerate(positions):
            valid = self.lengths[position, k]
            if valid:
                frames, scale = store.stored(self.ids[position])
                filled[row, :valid] = frames[start_b[row] : start_b[row] + valid]
                if scale is not None:
                    scale_bd[row] = scale
            filled[row, valid:] = 0
        return Coded(filled, scale_bd) if filled.dtype == np.int8 else filled

    def largest_batch(self, size: int) -> Batch:
        """Shapes and types of `batch` for `size` of the longest utterances."""
        longest = self.shapes.max(axis=0).tolist()
        inputs: dict[str, Any] = {}
        for name, store, length in zip(self.modalities, self.stores, longest, strict=True):
            kind = _stored_type(store)
            frames = jax.ShapeDtypeStruct((size, length, store.width), kind)
            scale = jax.ShapeDtypeStruct((size, store.width), np.float32)
            inputs[name] = Coded(frames, scale) if kind == np.int8 else frames
        lengths = {name: jax.ShapeDtypeStruct((size,), np.int32) for name in inputs}
        arrays = (self.soft, self.one_hot, self.attributes, self.rated)
        some: list[Any] = [jax.ShapeDtypeStruct((size, x.shape[1]), np.float32) for x in arrays]
        some.append(jax.ShapeDtypeStruct((size,), np.int32))
        if self.secondary is not None:
            some.append(jax.ShapeDtypeStruct((size, self.secondary.shape[1]), np.float32))
        return Batch(inputs, lengths, *some)

    def padding_share(self, batches: np.ndarray) -> float:
        """Share of the frames computed for `batches` `[step, b]` that are padding."""
        computed = self.shapes[self.rungs[batches].max(axis=1)].sum() * batches.shape[1]
        return float(1 - self.lengths[batches].sum() / computed)


def _stored_type(store: FeatureStore) -> np.dtype:
    """The type in which a store keeps its frames."""
    return np.dtype(np.int8 if store.plan.dtype == "int8" else DTYPES[store.dtype])


def gather(
    corpus: Corpus,
    modalities: Sequence[str],
    stores: Mapping[str, FeatureStore],
    shapes: int,
    crops: Mapping[str, int] | None = None,
    secondary: bool = False,
) -> Examples:
    """Line up `corpus` with the stores of `modalities`: of all that the members of a group need.
    Of a modality with a crop at most so many frames are read; `secondary` emotions on request.

    The targets of an utterance that has none are zero rows; it still counts in the attribute loss
    if it was rated.
    """
    chosen = tuple(stores[m] for m in modalities)
    stored = np.stack([_lengths(corpus, store) for store in chosen], axis=1)
    most = [(crops or {}).get(name, np.iinfo(np.int32).max) for name in modalities]
    lengths = np.minimum(stored, np.array(most, np.int32))
    ladder, rungs = ladder_of(lengths, shapes)
    return Examples(
        corpus,
        tuple(modalities),
        chosen,
        *targets_of(corpus),
        _genders(corpus),
        lengths,
        stored,
        ladder,
        rungs,
        _secondary(corpus) if secondary else None,
    )


def targets_of(corpus: Corpus) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Soft and one-hot targets `[n, c]`, attributes and their mask `[n, 3]`, float32; zero rows
    where there is none.
    """
    labels = corpus.labels
    one_hot = np.eye(len(corpus.targets), dtype=np.float32)[labels] * (labels >= 0)[:, None]
    soft = np.nan_to_num(corpus.soft, nan=0.0).astype(np.float32)
    rated = np.isfinite(corpus.attributes).astype(np.float32)
    return soft, one_hot.astype(np.float32), np.nan_to_num(corpus.attributes, nan=0.0), rated


def _genders(corpus: Corpus) -> np.ndarray:
    """Places in `GENDERS` `[n]`, one behind the last where it is unknown."""
    places = {name: place for place, name in enumerate(GENDERS)}
    found = [places.get(name, len(GENDERS)) for name in corpus.frame["gender"]]
    return np.array(found, np.int32)


def _secondary(corpus: Corpus) -> np.ndarray:
    """The share of raters who named each target among the secondary emotions, then 1
    `[n, c + 1]`; a row of zeros without secondary ratings.
    """
    names = (*corpus.classes, OTHER)
    votes_n, named_n = (
        corpus.frame[[f"{kind}_{name}" for name in names]].to_numpy(np.int64).sum(axis=1)
        for kind in ("votes", "secondary")
    )
    columns = [f"secondary_{name}" for name in corpus.targets]
    share_nc = corpus.frame[columns].to_numpy(np.float32) / np.maximum(votes_n, 1)[:, None]
    known_n1 = (named_n > 0).astype(np.float32)[:, None]
    return np.concatenate([np.minimum(share_nc, 1) * known_n1, known_n1], axis=1).astype(np.float32)


def _lengths(corpus: Corpus, store: FeatureStore) -> np.ndarray:
    """Frames of each utterance of the corpus `[n]`, 0 where the store has none."""
    known = dict(zip(store.ids, store.lengths.tolist(), strict=True))
    return np.array([known.get(i, 0) for i in corpus.frame["id"]], np.int32)
