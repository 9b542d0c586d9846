"""Extract a corpus into a feature store, or one share of it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from medusa_jax.config.features import ExtractorConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import StoreError
from medusa_jax.features.extractor import Extractor
from medusa_jax.features.own_process import fill_in_own_process, wants_own_process
from medusa_jax.features.registry import build_extractor
from medusa_jax.features.shards import ShardMaker
from medusa_jax.features.store_plan import plan_of, store_name
from medusa_jax.store.builder import Advance, Make, Making, fill, same
from medusa_jax.store.checked import cores
from medusa_jax.store.ledger import Plan, lists_stand
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.share import EVERYTHING, Share

SHARD_ROWS = 512
Progress = Callable[[int, int], None]


def extract(
    corpus: Corpus,
    config: ExtractorConfig | TranscriptionConfig,
    root: Path,
    *,
    max_failures: float = 0.01,
    shard_rows: int = SHARD_ROWS,
    workers: int | None = None,
    verify: bool = True,
    own_process: bool | None = None,
    progress: Progress | None = None,
) -> FeatureStore:
    """Extract `corpus` into a store below `root` and return it opened; finished shards are kept.

    The store's folder is named after the extractor, its input and its settings (`store_name`).
    Utterances that fail are rows of its `failures.jsonl`. The number of `workers` (default: one
    thread per core) changes only the speed. With `verify=False` a finished store is opened without
    reading every byte, and each shard is checked when it is first read. `own_process` (default:
    for PyTorch and CTranslate2 on CUDA) extracts in a child process, so that all GPU memory is free
    afterwards.
    `progress(done, total)` counts utterances. Raises `FeatureError` when more than the share
    `max_failures` fail, `StoreError` when the disk is full, the folder holds other features, or
    another process is working on it.
    """
    work = _work(corpus, config, root, max_failures, shard_rows)
    store = _finished(work, verify)
    if store is not None:
        if progress:
            progress(len(corpus), len(corpus))
        return store
    _fill(work, EVERYTHING, workers, own_process, progress)
    return FeatureStore.open(work.folder)


def extract_share(
    corpus: Corpus,
    config: ExtractorConfig | TranscriptionConfig,
    root: Path,
    share: Share,
    *,
    max_failures: float = 0.01,
    shard_rows: int = SHARD_ROWS,
    workers: int | None = None,
    own_process: bool | None = None,
    progress: Progress | None = None,
) -> tuple[Path, tuple[int, ...]]:
    """Extract only the shards of `share`; return the store's folder and the shards still missing.

    Other processes may make the other shares at the same time. A share fails when more utterances
    fail in it than are allowed in the whole corpus; the process that completes the store counts
    all of them. Otherwise as `extract`.
    """
    work = _work(corpus, config, root, max_failures, shard_rows)
    return work.folder, _fill(work, share, workers, own_process, progress)


def open_extracted(
    corpus: Corpus, config: ExtractorConfig | TranscriptionConfig, root: Path
) -> FeatureStore:
    """Open the finished store that `extract` made below `root`. Raises `StoreError` without one."""
    return FeatureStore.open(root / store_name(corpus, build_extractor(config)))


@dataclass(frozen=True)
class _Work:
    """A corpus, an extractor and the store to make of them; `allowed` utterances may fail."""

    corpus: Corpus
    config: ExtractorConfig | TranscriptionConfig
    extractor: Extractor
    folder: Path
    plan: Plan
    allowed: int


def _work(
    corpus: Corpus,
    config: ExtractorConfig | TranscriptionConfig,
    root: Path,
    max_failures: float,
    shard_rows: int,
) -> _Work:
    """Build the extractor, once, and plan its store."""
    extractor = build_extractor(config)
    plan = plan_of(corpus, config, extractor, shard_rows)
    folder = Path(root) / store_name(corpus, extractor)
    return _Work(corpus, config, extractor, folder, plan, int(max_failures * len(corpus)))


def _fill(
    work: _Work,
    share: Share,
    workers: int | None,
    own_process: bool | None,
    progress: Progress | None,
) -> tuple[int, ...]:
    """Make the share's shards, here or in a child process; return the shards still missing."""
    if own_process is None:
        own_process = wants_own_process(work.config, work.extractor)
    if own_process:
        return fill_in_own_process(
            work.corpus,
            work.config,
            work.folder.parent,
            share,
            in_jax="jax" in work.extractor.packages,
            max_failures=(work.allowed + 0.5) / len(work.corpus),
            shard_rows=work.plan.shard_rows,
            workers=workers,
            progress=progress,
        )
    making = _making(work, workers)
    return fill(work.folder, work.plan, making, allowed=work.allowed, share=share, tell=progress)


def _finished(work: _Work, verify: bool) -> FeatureStore | None:
    """Return the store if it is complete, without a lock: any number of runs may share it."""
    try:
        store = FeatureStore.open(work.folder)
        if verify:
            store.verify()
    except StoreError:
        return None
    complete = same(store.plan, work.plan) and len(store.failed) <= work.allowed
    return store if complete and lists_stand(work.folder, store.entries) else None


def _making(work: _Work, workers: int | None) -> Making:
    """Load the extractor and keep its threads while shards are made."""

    @contextmanager
    def making(plan: Plan, advance: Advance) -> Iterator[Make]:
        work.extractor.prepare()
        pool = ThreadPoolExecutor(workers or cores())
        try:
            maker = ShardMaker(work.corpus, work.extractor, plan, pool, advance)
            yield partial(maker.make, work.folder)
        finally:
            pool.shutdown(cancel_futures=True)

    return making
