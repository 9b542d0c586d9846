"""Read a store of transcripts into a corpus's table, or export it as text files."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from medusa_jax.corpus.assembly import text
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError, StoreError
from medusa_jax.files import write_text
from medusa_jax.store.reader import FeatureStore

log = logging.getLogger(__name__)


def texts_of(store: FeatureStore) -> dict[str, str]:
    """Return every transcript by utterance id, empty ones as the empty string.

    Raises `StoreError` if the store holds something else, or is damaged.
    """
    if store.plan.dtype != "uint8":
        raise StoreError(
            "this store holds features, not transcripts",
            where=store.folder,
            hint="give a folder written by `medusa transcribe`",
        )
    return {id: store.frames(id).tobytes().decode().removesuffix("\n") for id in store.ids}


def with_transcripts(corpus: Corpus, store: FeatureStore) -> Corpus:
    """Return `corpus` with the store's transcripts; utterances that failed have none.

    Raises `CorpusError` if the store lacks utterances of the corpus.
    """
    texts, failed = texts_of(store), {failure.id for failure in store.failed}
    unknown = [id for id in corpus.frame["id"] if id not in texts and id not in failed]
    if unknown:
        raise CorpusError(
            f"{len(unknown)} of {len(corpus)} utterances are not in these transcripts, "
            f"the first is {unknown[0]!r}",
            where=store.folder,
            hint="give the transcripts of this corpus, or make them: medusa transcribe",
        )
    transcripts = text(texts.get(id) for id in corpus.frame["id"])
    return replace(corpus, frame=corpus.frame.assign(transcript=transcripts))


def warn_of_gaps(corpus: Corpus) -> None:
    """Warn about each split with missing transcripts: its text features will be missing too."""
    for split, missing in corpus.frame["transcript"].isna().groupby(corpus.frame["split"]):
        if missing.any():
            log.warning(
                "%d of %d utterances of %s have no transcript", missing.sum(), len(missing), split
            )


def export(corpus: Corpus, folder: Path, progress: Callable[[int, int], None] | None = None) -> int:
    """Write `<stem>.txt` for every utterance with a transcript and return the number of files.

    Raises `CorpusError` if two utterances share a file name, or the folder is not empty.
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
    pairs = zip(stems, corpus.frame["transcript"], strict=True)
    rows = [(stem, words) for stem, words in pairs if isinstance(words, str)]
    for done, (stem, words) in enumerate(rows, 1):
        write_text(folder / f"{stem}.txt", f"{words}\n")
        if progress:
            progress(done, len(rows))
    return len(rows)
