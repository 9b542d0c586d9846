"""Votes → consensus and soft labels: pure functions on arrays, the same for every corpus.

Vote arrays are `[b, c+1]`: utterance, the corpus's classes, then `other` last.

MSP-Podcast's raters choose one primary emotion (a class, or free text `Other-…`) and any number of secondary ones from 17
names. A secondary name counts for a class only if it *is* that class. The nine that are not (Amused, Frustrated, Depressed,
Concerned, Disappointed, Excited, Confused, Annoyed, Other) count as `other`: reading Amused as happy or Annoyed as angry
would be our opinion, not the rater's.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Integer

from medusa_jax.corpus.table import NO_AGREEMENT, OTHER
from medusa_jax.errors import LabelError

CLASSES = ("angry", "sad", "happy", "surprise", "fear", "disgust", "contempt", "neutral")
"""The challenge's classes in the organisers' order."""
LETTERS = ("A", "S", "H", "U", "F", "D", "C", "N")
LETTER_OF = {**dict(zip(CLASSES, LETTERS, strict=True)), OTHER: "O", NO_AGREEMENT: "X"}
CONSENSUS_OF = {letter: name for name, letter in LETTER_OF.items()}
PRIMARY_NAMES = ("Angry", "Sad", "Happy", "Surprise", "Fear", "Disgust", "Contempt", "Neutral")
SECONDARY_NAMES = (
    "Angry", "Sad", "Happy", "Amused", "Neutral", "Frustrated", "Depressed", "Surprise", "Concerned",
    "Disgust", "Disappointed", "Excited", "Confused", "Annoyed", "Fear", "Contempt", "Other",
)  # fmt: skip

SoftLabels = Literal["primary", "primary+secondary", "with_other"]
SOFT_LABELS: tuple[str, ...] = get_args(SoftLabels)

_CLASS = {name.lower(): i for i, name in enumerate(CLASSES)}
_SECONDARY = {name.lower(): _CLASS.get(name.lower(), len(CLASSES)) for name in SECONDARY_NAMES}


def primary_bucket(name: str) -> int:
    """Where a primary vote counts: index into `CLASSES`, or 8 for `Other` and `Other-…`. Raises `LabelError` for anything else."""
    known = _CLASS.get(name.lower())
    if known is not None:
        return known
    if is_other(name):
        return len(CLASSES)
    raise LabelError(
        f"unknown primary emotion {name!r}",
        hint=f"known: {', '.join(PRIMARY_NAMES)}, Other-<free text>",
    )


def secondary_bucket(name: str) -> int:
    """Where a secondary mention counts: index into `CLASSES`, or 8. Raises `LabelError` for a name that is not one of the 17."""
    known = _SECONDARY.get(name.lower())
    if known is not None:
        return known
    if is_other(name):
        return len(CLASSES)
    raise LabelError(
        f"unknown secondary emotion {name!r}",
        hint=f"known: {', '.join(SECONDARY_NAMES)}, Other-<free text>",
    )


def is_other(name: str) -> bool:
    """Whether this is `Other`, alone or with free text behind a dash."""
    return name.lower() == "other" or name.lower().startswith("other-")


def consensus(votes: Integer[np.ndarray, "b c1"], classes: tuple[str, ...]) -> np.ndarray:
    """Plurality winner of each row, `[b]` of str: a class, `other`, `no_agreement` for a tie, None for a row without votes."""
    names = np.array([*classes, OTHER], dtype=object)
    most = votes.max(axis=1, initial=0)
    winner = names[votes.argmax(axis=1)]
    winner[(votes == most[:, None]).sum(axis=1) > 1] = NO_AGREEMENT
    winner[most == 0] = None
    return winner


def soft_labels(
    votes: Integer[np.ndarray, "b c1"],
    secondary: Integer[np.ndarray, "b c1"],
    variant: str = "primary",
) -> np.ndarray:
    """Target distributions, float64 (spec/medusa.md section 4): `[b, c]`, or `[b, c+1]` in the variant `with_other`.

    `primary`: votes for the classes over their sum. `primary+secondary`: every mention of a class counts once.
    `with_other`: primary votes with `other` as one more bucket. A row with nothing to count is NaN throughout.
    Raises `LabelError` for an unknown variant.
    """
    if variant not in SOFT_LABELS:
        raise LabelError(
            f"unknown variant of soft labels {variant!r}",
            hint=f"choose one of {', '.join(SOFT_LABELS)}",
        )
    counts = votes + secondary if variant == "primary+secondary" else votes
    counts = counts if variant == "with_other" else counts[:, :-1]
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def one_hot(consensus_b: np.ndarray, targets: tuple[str, ...]) -> np.ndarray:
    """The consensus as a distribution over `targets`, `[b, c]` float64; NaN rows where it is none of them."""
    hot = (consensus_b[:, None] == np.array(targets, dtype=object)[None]).astype(np.float64)
    hot[hot.sum(axis=1) == 0] = np.nan
    return hot


def class_frequencies(soft: Float[np.ndarray, "b c"]) -> Float[np.ndarray, " c"]:
    """Share of each class in the summed soft labels, `[c]`, sums to 1; rows of NaN do not count."""
    mass = np.nansum(soft.astype(np.float64), axis=0)
    if mass.sum() == 0:
        raise LabelError("no utterance has a class target, so classes have no frequencies")
    return mass / mass.sum()


def reweight(
    soft: Float[np.ndarray, "b c"], frequencies: Float[np.ndarray, " c"]
) -> Float[np.ndarray, "b c"]:
    """Distributions re-weighted by inverse class frequency and normalised again, float64; NaN rows stay NaN.

    SAILER's answer to imbalance: a vote for a rare class weighs more. Take `frequencies` from the training rows only.
    Raises `LabelError` where a row puts weight on a class of frequency 0.
    """
    unseen = (frequencies <= 0) & (np.nansum(soft, axis=0) > 0)
    if unseen.any():
        raise LabelError(
            f"class {int(unseen.argmax())} has votes but frequency 0",
            hint="take the frequencies from rows that hold every class",
        )
    weighted = soft / np.where(frequencies > 0, frequencies, 1.0)
    return weighted / weighted.sum(axis=1, keepdims=True)


def drop_votes(
    votes: Integer[np.ndarray, "b c1"], rate: float, seed: int
) -> Integer[np.ndarray, "b c1"]:
    """Annotator dropout: every single vote left out with probability `rate`, int64, same shape.

    A row that would lose all its votes keeps one of them, drawn in proportion. A pure function of its arguments; pass class
    columns only if a class target must survive.
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
