"""Votes → consensus and soft labels: pure functions on arrays, the same for every corpus.

Vote arrays are `[b, c+1]`: utterance; the classes of the corpus, then `other`.

Raters of MSP-Podcast choose one primary emotion (a class, or free text `Other-…`) and any number
of secondary ones from 17 names. A secondary name counts for a class only if it *is* that class.
The nine that are not (Amused, Frustrated, Depressed, Concerned, Disappointed, Excited, Confused,
Annoyed, Other) count as `other`: to count Amused as happy or Annoyed as angry would replace the
rater's opinion by ours.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Integer

from medusa_jax.corpus.table import NO_AGREEMENT, OTHER
from medusa_jax.errors import LabelError

CLASSES = ("angry", "sad", "happy", "surprise", "fear", "disgust", "contempt", "neutral")
"""Classes of the challenge in the order of its organisers."""
LETTERS = ("A", "S", "H", "U", "F", "D", "C", "N")
LETTER_OF = {**dict(zip(CLASSES, LETTERS, strict=True)), OTHER: "O", NO_AGREEMENT: "X"}
CONSENSUS_OF = {letter: name for name, letter in LETTER_OF.items()}
PRIMARY_NAMES = ("Angry", "Sad", "Happy", "Surprise", "Fear", "Disgust", "Contempt", "Neutral")
SECONDARY_NAMES = (
    "Angry", "Sad", "Happy", "Amused", "Neutral", "Frustrated", "Depressed", "Surprise",
    "Concerned",
    "Disgust", "Disappointed", "Excited", "Confused", "Annoyed", "Fear", "Contempt", "Other",
)  # fmt: skip

SoftLabels = Literal["primary", "primary+secondary", "with_other"]
SOFT_LABELS: tuple[str, ...] = get_args(SoftLabels)

_CLASS = {name.lower(): i for i, name in enumerate(CLASSES)}
_SECONDARY = {name.lower(): _CLASS.get(name.lower(), len(CLASSES)) for name in SECONDARY_NAMES}


def primary_bucket(name: str) -> int:
    """Index into `CLASSES` of a primary vote, 8 for `Other` and `Other-…`.

    Raises `LabelError` for any other name.
    """
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
    """Index into `CLASSES` of a secondary mention, or 8.

    Raises `LabelError` for a name that is not one of the 17.
    """
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
    """True for `Other`, alone or with free text after a dash."""
    return name.lower() == "other" or name.lower().startswith("other-")


def consensus(votes: Integer[np.ndarray, "b c1"], classes: tuple[str, ...]) -> np.ndarray:
    """Plurality winner of each row, `[b]` of str.

    A class or `other`; `no_agreement` for a tie, None for a row without votes.
    """
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
    """Target distributions, float64: `[b, c]`, or `[b, c+1]` in the variant `with_other`.

    `primary`: votes for the classes over their sum. `primary+secondary`: every mention of a class
    counts once. `with_other`: primary votes with `other` as one more target. A row without votes
    for a target is NaN throughout. Raises `LabelError` for an unknown variant.
    """
    if variant not in SOFT_LABELS:
        raise LabelError(
            f"unknown variant of soft labels {variant!r}",
            hint=f"choose one of {', '.join(SOFT_LABELS)}",
        )
    return shares(counted(votes, secondary, variant))


def counted(
    votes: Integer[np.ndarray, "b c1"], secondary: Integer[np.ndarray, "b c1"], variant: str
) -> Integer[np.ndarray, "b c"]:
    """The votes that make up the target in a variant of `SOFT_LABELS`, one column a target."""
    counts = votes + secondary if variant == "primary+secondary" else votes
    return counts if variant == "with_other" else counts[:, :-1]


def shares(counts: Integer[np.ndarray, "b c"]) -> Float[np.ndarray, "b c"]:
    """Each row over its sum, float64; a row of zeros is NaN throughout."""
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def one_hot(consensus_b: np.ndarray, targets: tuple[str, ...]) -> np.ndarray:
    """The consensus as a distribution over `targets`, `[b, c]` float64; NaN rows for any other."""
    hot = (consensus_b[:, None] == np.array(targets, dtype=object)[None]).astype(np.float64)
    hot[hot.sum(axis=1) == 0] = np.nan
    return hot
