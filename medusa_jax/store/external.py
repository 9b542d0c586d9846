"""A store that is there already (imported, converted, extracted elsewhere), held against the corpus of the run that wants it."""

from pathlib import Path

from medusa_jax.config.features import StoreConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import FeatureError, StoreError
from medusa_jax.store.ledger import Failure, write_rows
from medusa_jax.store.reader import FeatureStore


def ready_store(
    corpus: Corpus,
    config: StoreConfig,
    failures_file: Path,
    *,
    max_failures: float,
    verify: bool = False,
) -> FeatureStore:
    """The store at `config.path`, its `failed` those of the corpus that it has no frames of; they are written to `failures_file` too.

    It may hold more utterances than the corpus. Raises `StoreError` if it is not the store that was meant, `FeatureError` when
    more than the share `max_failures` of the corpus is not in it.
    """
    store = FeatureStore.open(Path(config.path).expanduser())
    if config.digest and not store.digest.startswith(config.digest):
        hint = "correct path or digest; `medusa features inspect` shows what a store's digest is"
        raise StoreError(
            f"this is not the feature store that is meant: its digest is {store.digest}",
            where=store.folder,
            hint=hint,
        )
    if verify:
        store.verify()
    store.failed, store.failures_file = _absent(corpus, store), failures_file
    write_rows(failures_file, store.failed)
    allowed = int(max_failures * len(corpus))
    if len(store.failed) > allowed:
        first = store.failed[0]
        what = f"{len(store.failed)} of {len(corpus)} utterances have no features, {allowed} may; the first is {first.id}: {first.message}"
        raise FeatureError(
            what,
            where=failures_file,
            hint="is it the store of this corpus? Otherwise allow more: corpus.max_failures",
        )
    return store


def _absent(corpus: Corpus, store: FeatureStore) -> tuple[Failure, ...]:
    """The corpus's utterances that the store has no frames of, in the corpus's order."""
    known = {failure.id: failure for failure in store.failed}
    lacking = [
        (id, audio)
        for id, audio in zip(corpus.frame["id"], corpus.frame["audio"], strict=True)
        if id not in store
    ]
    message = f"the store {store.folder.name} does not hold it"
    return tuple(
        known.get(id) or Failure(id=id, audio=str(audio), error="StoreError", message=message)
        for id, audio in lacking
    )
