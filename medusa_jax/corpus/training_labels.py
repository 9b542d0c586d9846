"""Soft labels changed for training: annotator dropout and re-weighting by class frequency.

Both are methods of SAILER, second in the Interspeech 2025 challenge. Only rows of the split
`train` change; votes, consensus and the labels of every other split stay as they are.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Integer

from medusa_jax.corpus.labels import counted, shares
from medusa_jax.corpus.table import OTHER, Corpus
from medusa_jax.errors import LabelError


def training_labels(corpus: Corpus, *, dropout: float, reweighted: bool, seed: int) -> Corpus:
    """The corpus with the soft labels to train on: votes dropped first, then classes re-weighted.

    `corpus` itself where both are off. Rows without votes keep their soft label under dropout;
    class frequencies are those of the training rows. Raises `LabelError` where dropout has
    nothing to drop.
    """
    if not dropout and not reweighted:
        return corpus
    train = (corpus.frame["split"] == "train").to_numpy()
    columns = [f"soft_{name}" for name in corpus.targets]
    frame = corpus.frame.copy()
    soft = frame.loc[train, columns].to_numpy(np.float64)
    if dropout:
        soft = _dropped(corpus, train, soft, dropout, seed)
    frame.loc[train, columns] = reweight(soft) if reweighted else soft
    return replace(corpus, frame=frame)


def drop_votes(
    votes: Integer[np.ndarray, "b c"], rate: float, seed: int
) -> Integer[np.ndarray, "b c"]:
    """Annotator dropout: each vote left out with probability `rate`; int64, same shape.

    A row that would lose all its votes keeps one, drawn in proportion to them. Raises
    `LabelError` for a rate outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise LabelError(f"the rate of annotator dropout is {rate}, not in [0, 1)")
    draw = np.random.default_rng(seed)
    kept = draw.binomial(votes, 1 - rate)
    ticket = draw.random(len(votes)) * votes.sum(axis=1)
    survivor = (ticket[:, None] < votes.cumsum(axis=1)).argmax(axis=1)
    bare = np.flatnonzero((kept.sum(axis=1) == 0) & (votes.sum(axis=1) > 0))
    kept[bare, survivor[bare]] = 1
    return kept


def reweight(soft: Float[np.ndarray, "b c"]) -> Float[np.ndarray, "b c"]:
    """Distributions divided by the frequency of each class and normalised again.

    A vote for a rare class weighs more. The frequency of a class is its share of the sum of all
    rows; rows of NaN do not count and stay NaN.
    """
    mass_c = np.nansum(soft, axis=0)
    weighted = soft / np.where(mass_c > 0, mass_c, 1.0)
    return weighted / weighted.sum(axis=1, keepdims=True)


def _dropped(
    corpus: Corpus, train: np.ndarray, soft: np.ndarray, rate: float, seed: int
) -> np.ndarray:
    """The soft labels of the rows `train`, counted again from the votes that dropout leaves."""
    counts = counted(
        _votes(corpus, "votes", train), _votes(corpus, "secondary", train), corpus.soft_labels
    )
    total = counts.sum(axis=1)
    if total.max(initial=0) < 2:
        raise LabelError(
            "annotator dropout changes nothing: no training utterance has two votes or more",
            where=f"corpus {corpus.name!r}",
            hint="leave out corpus.annotator_dropout",
        )
    return np.where(total[:, None] > 0, shares(drop_votes(counts, rate, seed)), soft)


def _votes(corpus: Corpus, kind: str, rows: np.ndarray) -> np.ndarray:
    columns = [f"{kind}_{name}" for name in (*corpus.classes, OTHER)]
    return corpus.frame.loc[rows, columns].to_numpy(np.int64)
