"""Corpus readers by their name on the command line, and recognition of corpus folders."""

from collections.abc import Callable
from pathlib import Path

from medusa_jax.corpus.crema_d import read_crema_d
from medusa_jax.corpus.iemocap import EVALUATIONS, read_iemocap
from medusa_jax.corpus.medusa_csv import read_medusa_csv
from medusa_jax.corpus.meld import FILES, read_meld
from medusa_jax.corpus.msp_layout import AUDIOS, LABELS
from medusa_jax.corpus.msp_podcast import read_msp_podcast
from medusa_jax.corpus.ravdess import read_ravdess
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError

# Acted emotions and finished soft labels have one variant: those readers have no option.
SOURCES: dict[str, tuple[Callable[..., Corpus], frozenset[str]]] = {
    "msp-podcast": (read_msp_podcast, frozenset({"soft_labels", "transcripts"})),
    "ravdess": (read_ravdess, frozenset()),
    "crema-d": (read_crema_d, frozenset({"soft_labels"})),
    "meld": (read_meld, frozenset({"audio"})),
    "iemocap": (read_iemocap, frozenset({"soft_labels", "label_set", "merge_excited"})),
    "medusa-csv": (read_medusa_csv, frozenset()),
}
"""The reader of each source, and its options."""


def read_source(
    source: str,
    root: Path,
    *,
    soft_labels: str = "primary",
    transcripts: Path | None = None,
    label_set: int = 6,
    merge_excited: bool = False,
    audio: Path | None = None,
) -> Corpus:
    """Read `root` as one of `SOURCES`.

    Raises `CorpusError` for an unknown source or an option that the source lacks.
    """
    if source not in SOURCES:
        raise CorpusError(f"unknown source {source!r}", hint=f"choose one of {', '.join(SOURCES)}")
    if not root.exists():
        raise CorpusError("the corpus does not exist", where=root)
    options = {
        "soft_labels": (soft_labels, "primary"),
        "transcripts": (transcripts, None),
        "label_set": (label_set, 6),
        "merge_excited": (merge_excited, False),
        "audio": (audio, None),
    }
    given = {name: value for name, (value, default) in options.items() if value != default}
    reader, known = SOURCES[source]
    refused = sorted(set(given) - known)
    if refused:
        raise CorpusError(
            f"the source {source} has no option {', '.join(refused)}", hint="leave it out"
        )
    return reader(root, **given)


def open_corpus(path: Path) -> Corpus:
    """Read a saved table, a table of MEDUSA's authors (`.csv`) or a corpus folder.

    Raises `CorpusError` for anything else.
    """
    if path.is_file():
        return read_medusa_csv(path) if path.suffix == ".csv" else Corpus.load(path)
    return read_source(recognise(path), path)


def recognise(root: Path) -> str:
    """The source of a corpus folder, from its files. Raises `CorpusError` for an unknown folder."""
    if not root.is_dir():
        raise CorpusError("the corpus does not exist", where=root)
    if any((root / name).exists() for name in (LABELS, AUDIOS, "Partitions.txt", "Partition.txt")):
        return "msp-podcast"
    if (root / "tabulatedVotes.csv").is_file():
        return "crema-d"
    if (root / FILES["train"]).is_file():
        return "meld"
    if next(root.glob(f"Session[1-5]/{EVALUATIONS}"), None) is not None:
        return "iemocap"
    if next(root.rglob("03-01-0[1-8]-*"), None) is not None:
        return "ravdess"
    raise CorpusError(
        "not recognised as a corpus",
        where=root,
        hint="name its source: medusa corpus build SOURCE ROOT --out table.parquet",
    )
