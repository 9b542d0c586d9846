"""Published results on IEMOCAP (6 classes) and MELD, with what is known of how each was chosen.

Shares, not percent. Weighted accuracy in this literature is plain accuracy. A number stands here
only where its source was read; systems without one are listed for their way to choose the epoch.
"""

from dataclasses import dataclass

from medusa_jax.corpus.table import Corpus
from medusa_jax.evaluation.tables import Row

IEMOCAP, MELD = "iemocap", "meld"
_CLASSES = {IEMOCAP: 6, MELD: 7}


@dataclass(frozen=True)
class PublishedResult:
    """A system's accuracy and weighted F1 on a corpus; None: not known to us.

    `reads` are its streams, `epoch` says what chose the epoch that was scored.
    """

    system: str
    corpus: str
    reads: str
    accuracy: float | None
    weighted_f1: float | None
    epoch: str
    source: str


_SUMMER = "not stated; no code is published"
_SDT = "the test part: its train.py keeps the epoch with the best test F1"
_MISTER = "not stated in the abstract"
_DRKF = "not known for MELD; its code for IEMOCAP keeps the best epoch of the part that it scores"

PUBLISHED: tuple[PublishedResult, ...] = (
    PublishedResult(
        "SUMMER", IEMOCAP, "text, audio, visual", 0.7911, 0.7895, _SUMMER, "arXiv 2503.23721"
    ),
    PublishedResult(
        "SUMMER", MELD, "text, audio, visual", 0.6878, 0.6981, _SUMMER, "arXiv 2503.23721"
    ),
    PublishedResult(
        "SDT", IEMOCAP, "text, audio, visual", None, None, _SDT, "github.com/butterfliesss/SDT"
    ),
    PublishedResult(
        "SDT", MELD, "text, audio, visual", None, None, _SDT, "github.com/butterfliesss/SDT"
    ),
    PublishedResult("MiSTER-E", IEMOCAP, "text, audio", None, 0.709, _MISTER, "arXiv 2602.23300"),
    PublishedResult("MiSTER-E", MELD, "text, audio", None, 0.695, _MISTER, "arXiv 2602.23300"),
    PublishedResult("DRKF", MELD, "text, audio", 0.667, 0.654, _DRKF, "arXiv 2508.01644"),
)

COLUMNS = {
    "system": "system",
    "reads": "reads",
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "epoch": "epoch chosen by",
    "source": "source",
}
"""The columns of a published row, with their headers."""
SHORT = {name: header for name, header in COLUMNS.items() if name not in ("reads", "source")}
"""The columns that fit a terminal."""

NOTE = (
    "Published numbers are their authors', on their features; many of this field choose the epoch "
    "by the score on the test part, and a few score padding. Ours choose it without a test label."
)


def published_on(corpus: Corpus) -> list[Row]:
    """The published results that compare with this corpus by its name and number of classes."""
    found = _named(corpus)
    return [_row(one) for one in PUBLISHED if one.corpus == found]


def _named(corpus: Corpus) -> str | None:
    """The corpus of `PUBLISHED` that this one is: by name, if it has as many classes."""
    if corpus.synthetic or not corpus.conversational:
        return None
    name = corpus.name.lower()
    fits = [one for one, count in _CLASSES.items() if one in name and len(corpus.classes) == count]
    return fits[0] if fits else None


def _row(one: PublishedResult) -> Row:
    return {
        "system": one.system,
        "reads": one.reads,
        "accuracy": one.accuracy,
        "weighted_f1": one.weighted_f1,
        "epoch": one.epoch,
        "source": one.source,
    }
