"""A corpus and an extractor in, a finished feature store out, or one share of it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from medusa_jax.config.features import ExtractorConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import StoreError
from medusa_jax.features.extractor import Extractor
from medusa_jax.features.registry import build_extractor
from medusa_jax.features.shards import ShardMaker
from medusa_jax.features.store_plan import plan_of
from medusa_jax.store.builder import Advance, Make, Making, fill, same
from medusa_jax.store.checked import cores
from medusa_jax.store.ledger import Plan, lists_stand
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.share import Share

SHARD_ROWS = 512


def extract(
    corpus: Corpus,
    config: ExtractorConfig | TranscriptionConfig,
    folder: Path,
    *,
    max_failures: float = 0.01,
    shard_rows: int = SHARD_ROWS,
    workers: int | None = None,
    verify: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Extract `corpus` into the store `folder` (see `store_name`) and return it opened; shards that are already whole are not redone.

    Utterances that fail become rows of `failures.jsonl` and of the ledger. `workers` threads (default: one a core) change the
    speed and nothing else. `verify=False` takes a finished store as it is, and each shard is checked when it is first read: to
    hash hundreds of GB takes minutes. `progress(done, total)` counts utterances. Raises `FeatureError` when more than the share
    `max_failures` fail, `StoreError` when the disk is full, the folder holds other features, or another process is at work on it.
    """
    extractor = build_extractor(config)
    wanted = plan_of(corpus, config, extractor, shard_rows)
    allowed = int(max_failures * len(corpus))
    store = _finished(folder, wanted, allowed, verify)
    if store is not None:
        if progress:
            progress(len(corpus), len(corpus))
        return store
    fill(
        folder, wanted, _making(corpus, extractor, folder, workers), allowed=allowed, tell=progress
    )
    return FeatureStore.open(folder)


def extract_share(
    corpus: Corpus,
    config: ExtractorConfig | TranscriptionConfig,
    folder: Path,
    share: Share,
    *,
    max_failures: float = 0.01,
    shard_rows: int = SHARD_ROWS,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, ...]:
    """As `extract`, the shards of `share` alone, while other processes make the others; returns the shards that are still missing.

    A share fails when more utterances fail in it than may in the whole corpus; the process that completes the store counts all.
    """
    extractor = build_extractor(config)
    wanted, allowed = (
        plan_of(corpus, config, extractor, shard_rows),
        int(max_failures * len(corpus)),
    )
    return fill(
        folder,
        wanted,
        _making(corpus, extractor, folder, workers),
        allowed=allowed,
        share=share,
        tell=progress,
    )


def _finished(folder: Path, wanted: Plan, allowed: int, verify: bool) -> FeatureStore | None:
    """The store, if there is nothing left to do. This takes no lock, so any number of runs may share a finished store."""
    try:
        store = FeatureStore.open(folder)
        if verify:
            store.verify()
    except StoreError:
        return None
    whole = (
        same(store.plan, wanted)
        and len(store.failed) <= allowed
        and lists_stand(folder, store.entries)
    )
    return store if whole else None


def _making(corpus: Corpus, extractor: Extractor, folder: Path, workers: int | None) -> Making:
    """Loads the extractor and keeps its threads while shards are made."""

    @contextmanager
    def making(plan: Plan, advance: Advance) -> Iterator[Make]:
        extractor.prepare()
        pool = ThreadPoolExecutor(workers or cores())
        try:
            yield partial(ShardMaker(corpus, extractor, plan, pool, advance).make, folder)
        finally:
            pool.shutdown(cancel_futures=True)

    return making
