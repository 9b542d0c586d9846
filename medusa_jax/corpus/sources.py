"""Corpus readers by their name on the command line, and recognition of corpus folders."""

from collections.abc import Callable
from pathlib import Path

from medusa_jax.corpus.crema_d import read_crema_d
from medusa_jax.corpus.medusa_csv import read_medusa_csv
from medusa_jax.corpus.msp_layout import AUDIOS, LABELS
from medusa_jax.corpus.msp_podcast import read_msp_podcast
from medusa_jax.corpus.ravdess import read_ravdess
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError

# Acted emotions and finished soft labels have one variant: those two readers have no option.
SOURCES: dict[str, Callable[[Path, str, Path | None], Corpus]] = {
    "msp-podcast": lambda root, soft, transcripts: read_msp_podcast(
        root, soft_labels=soft, transcripts=transcripts
    ),
    "ravdess": lambda root, soft, transcripts: read_ravdess(root),
    "crema-d": lambda root, soft, transcripts: read_crema_d(root, soft_labels=soft),
    "medusa-csv": lambda root, soft, transcripts: read_medusa_csv(root),
}
_OPTIONS: dict[str, set[str]] = {
    "msp-podcast": {"soft_labels", "transcripts"},
    "ravdess": set(),
    "crema-d": {"soft_labels"},
    "medusa-csv": set(),
}


def read_source(
    source: str, root: Path, *, soft_labels: str = "primary", transcripts: Path | None = None
) -> Corpus:
    """Read `root` as one of `SOURCES`.

    Raises `CorpusError` for an unknown source or an option that the source lacks.
    """
    if source not in SOURCES:
        raise CorpusError(f"unknown source {source!r}", hint=f"choose one of {', '.join(SOURCES)}")
    if not root.exists():
        raise CorpusError("the corpus does not exist", where=root)
    given = {"soft_labels"} if soft_labels != "primary" else set()
    given |= {"transcripts"} if transcripts is not None else set()
    refused = sorted(given - _OPTIONS[source])
    if refused:
        raise CorpusError(
            f"the source {source} has no option {', '.join(refused)}", hint="leave it out"
        )
    return SOURCES[source](root, soft_labels, transcripts)


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
    if next(root.rglob("03-01-0[1-8]-*"), None) is not None:
        return "ravdess"
    raise CorpusError(
        "not recognised as a corpus",
        where=root,
        hint="name its source: medusa corpus build SOURCE ROOT --out table.parquet",
    )
