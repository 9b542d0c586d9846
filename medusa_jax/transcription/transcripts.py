"""Transcripts that `medusa transcribe` made: a store of text, put into a corpus's table or written out for people."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from medusa_jax.corpus.assembly import text
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError, StoreError
from medusa_jax.files import write_text
from medusa_jax.store.ledger import PLAN
from medusa_jax.store.reader import FeatureStore

log = logging.getLogger(__name__)


def is_store(folder: Path) -> bool:
    """Whether `folder` is a store and not a folder of text files."""
    return (folder / PLAN).is_file()


def texts_of(store: FeatureStore) -> dict[str, str]:
    """Every transcript by utterance id; one that is the empty string stays that. Raises `StoreError` if the store is of other things, or damaged."""
    if store.plan.dtype != "uint8":
        raise StoreError(
            "this store holds features, not transcripts",
            where=store.folder,
            hint="give a folder that `medusa transcribe` made",
        )
    return {id: store.frames(id).tobytes().decode().removesuffix("\n") for id in store.ids}


def with_transcripts(corpus: Corpus, store: FeatureStore) -> Corpus:
    """`corpus` with the store's words in place of its own; an utterance that failed has none.

    Raises `CorpusError` if the store is of other utterances.
    """
    texts, failed = texts_of(store), {failure.id for failure in store.failed}
    unknown = [id for id in corpus.frame["id"] if id not in texts and id not in failed]
    if unknown:
        what = f"{len(unknown)} of {len(corpus)} utterances are not in these transcripts, the first is {unknown[0]!r}"
        raise CorpusError(
            what,
            where=store.folder,
            hint="give the transcripts of this corpus, or make them: medusa transcribe",
        )
    return replace(
        corpus,
        frame=corpus.frame.assign(transcript=text(texts.get(id) for id in corpus.frame["id"])),
    )


def warn_of_gaps(corpus: Corpus) -> None:
    """Say which splits have utterances without a transcript: their text features will be missing."""
    for split, lacking in corpus.frame["transcript"].isna().groupby(corpus.frame["split"]):
        if lacking.any():
            log.warning(
                "%d of %d utterances of %s have no transcript", lacking.sum(), len(lacking), split
            )


def export(corpus: Corpus, folder: Path, progress: Callable[[int, int], None] | None = None) -> int:
    """Write `<stem>.txt` for every utterance of `corpus` that has a transcript; returns how many.

    Raises `CorpusError` if two utterances would share a file, or the folder is not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise CorpusError(
            "the folder is not empty: nothing is overwritten", where=folder, hint="name a new one"
        )
    stems = corpus.frame["id"].map(lambda id: Path(id).stem)
    if stems.duplicated().any():
        raise CorpusError(
            f"two utterances would be {stems[stems.duplicated()].iloc[0]}.txt",
            where=folder,
            hint="read the store from Python instead",
        )
    rows = [
        (stem, words)
        for stem, words in zip(stems, corpus.frame["transcript"], strict=True)
        if isinstance(words, str)
    ]
    for done, (stem, words) in enumerate(rows, 1):
        write_text(folder / f"{stem}.txt", f"{words}\n")
        if progress:
            progress(done, len(rows))
    return len(rows)
