"""A store made elsewhere (imported, converted, extracted), checked against a run's corpus."""

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
    """Open the store at `config.path`; its `failed` are the corpus's utterances without frames.

    They are written to `failures_file` too. The store may hold more utterances than the corpus.
    Raises `StoreError` for another store than `config.digest` names, `FeatureError` if it lacks
    more than the share `max_failures` of the corpus.
    """
    store = FeatureStore.open(Path(config.path).expanduser())
    if config.digest and not store.digest.startswith(config.digest):
        raise StoreError(
            f"this is another feature store than configured: its digest is {store.digest}",
            where=store.folder,
            hint="correct path or digest; `medusa features inspect` shows a store's digest",
        )
    if verify:
        store.verify()
    missing = _missing(corpus, store)
    write_rows(failures_file, missing)
    allowed = int(max_failures * len(corpus))
    if len(missing) > allowed:
        raise FeatureError(
            f"{len(missing)} of {len(corpus)} utterances have no features, more than the {allowed} "
            f"allowed; the first is {missing[0].id}: {missing[0].message}",
            where=failures_file,
            hint="check that this is the corpus's store, or allow more: corpus.max_failures",
        )
    return store.with_failures(missing, failures_file)


def _missing(corpus: Corpus, store: FeatureStore) -> tuple[Failure, ...]:
    """Return the corpus's utterances that have no frames in the store, in the corpus's order."""
    known = {failure.id: failure for failure in store.failed}
    message = f"it is not in the store {store.folder.name}"
    missing = []
    for id, audio in zip(corpus.frame["id"], corpus.frame["audio"], strict=True):
        if id not in store:
            unknown = Failure(id=id, audio=str(audio), error="StoreError", message=message)
            missing.append(known.get(id, unknown))
    return tuple(missing)
