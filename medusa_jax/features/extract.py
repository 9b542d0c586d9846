"""A corpus and an extractor in, a finished feature store out: work that may be killed at any moment and repeated (house promises 3 to 5)."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from medusa_jax.config import FeatureConfig, digest_of
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import FeatureError, StoreError
from medusa_jax.features.extractor import Extractor
from medusa_jax.features.ledger import PLAN, Entry, Failure, Plan, entry_path, read_entry, refuse_foreign, shard_path
from medusa_jax.features.maker import ShardMaker
from medusa_jax.features.registry import build_extractor
from medusa_jax.features.shard import MappedShard
from medusa_jax.features.store import FeatureStore
from medusa_jax.files import locked, write_text

FAILURES = "failures.jsonl"
log = logging.getLogger(__name__)


def extract(
    corpus: Corpus,
    config: FeatureConfig,
    folder: Path,
    *,
    max_failures: float = 0.01,
    shard_rows: int = 512,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Extract `corpus` into the store `folder` (see `store_name`) and return it opened; shards that are already whole are not redone.

    Utterances that fail become rows of `failures.jsonl` and of the ledger. `workers` threads (default: one a core, where
    that helps) change the speed and nothing else. `progress(done, total)` counts utterances. Raises `FeatureError` when
    more than the share `max_failures` fail, `StoreError` when the disk is full or the folder holds other features,
    `RunFolderError` when another process is extracting into the same store.
    """
    extractor = build_extractor(config)
    wanted = plan_of(corpus, config, extractor, shard_rows)
    allowed = int(max_failures * len(corpus))
    tell = progress or (lambda done, total: None)
    store = _finished(folder, wanted, allowed)
    if store is not None:
        tell(len(corpus), len(corpus))
        return store
    with _disk_errors(folder), locked(folder):
        _work(corpus, extractor, folder, _settled(folder, wanted), allowed, workers, tell)
    return FeatureStore.open(folder)


def store_name(corpus: Corpus, extractor: Extractor) -> str:
    """Folder name of the store: two corpora, two extractors or two settings never share one."""
    return f"{extractor.name}-{inputs_digest(corpus, extractor)[:8]}-{digest_of(extractor.identity())[:8]}"


def inputs_digest(corpus: Corpus, extractor: Extractor) -> str:
    """Hex SHA-256 of what the extractor is given: ids, with audio paths or with transcripts.

    Not the table's own digest: another soft-label variant must not cost another night of extraction.
    """
    column = corpus.frame["audio" if extractor.reads == "audio" else "transcript"]
    inputs = [None if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]
    return digest_of([corpus.name, extractor.reads, corpus.frame["id"].tolist(), inputs])


def plan_of(corpus: Corpus, config: FeatureConfig, extractor: Extractor, shard_rows: int) -> Plan:
    """What the store will hold. Raises `FeatureError` for a corpus that has nothing to extract from."""
    where = f"corpus {corpus.name!r}"
    if len(corpus) == 0:
        raise FeatureError("the corpus has no utterances", where=where)
    if extractor.reads == "text" and corpus.frame["transcript"].isna().all():
        raise FeatureError(f"{extractor.name} reads text, and no utterance has a transcript", where=where, mend="give the corpus transcripts")
    return Plan(
        extractor=extractor.identity(),
        corpus=corpus.name,
        inputs=inputs_digest(corpus, extractor),
        width=extractor.width,
        dtype=config.dtype,
        utterances=len(corpus),
        shard_rows=shard_rows,
    )


def _finished(folder: Path, wanted: Plan, allowed: int) -> FeatureStore | None:
    """The store, if there is nothing left to do. This takes no lock, so any number of runs may share a finished store."""
    try:
        store = FeatureStore.open(folder)
        store.verify()
    except StoreError:
        return None
    whole = _same(store.plan, wanted) and len(store.failed) <= allowed and (folder / FAILURES).is_file()
    return store if whole else None


def _settled(folder: Path, wanted: Plan) -> Plan:
    """The plan to work by, written down: the one already begun (its shard size wins), or `wanted`.

    Raises `StoreError` if the folder holds other features: nothing is overwritten.
    """
    for left in folder.glob(".*.tmp"):  # of a killed process: the lock is ours
        left.unlink()
    plan = wanted
    if (folder / PLAN).exists():
        try:
            plan = Plan.load(folder / PLAN)
        except StoreError as error:
            log.warning("%s; it is written again", error.what)
        if not _same(plan, wanted):
            raise StoreError("the folder holds features of another corpus or other settings", where=folder, mend="choose another folder")
    refuse_foreign(folder, plan)
    plan.save(folder / PLAN)
    return plan


def _same(one: Plan, other: Plan) -> bool:
    """Whether two plans differ in nothing but the size of their shards."""
    return one.model_copy(update={"shard_rows": other.shard_rows}) == other


def _work(
    corpus: Corpus, extractor: Extractor, folder: Path, plan: Plan, allowed: int, workers: int | None, tell: Callable[[int, int], None]
) -> None:
    """Make every shard that is not whole, then `failures.jsonl`."""
    kept = {shard: entry for shard in range(plan.shards) if (entry := _whole(folder, plan, shard))}
    if sum(len(entry.failed) for entry in kept.values()) > allowed:
        kept = {shard: entry for shard, entry in kept.items() if not entry.failed}  # perhaps the files were mended
    done = sum(len(plan.rows(shard)) for shard in kept)
    tell(done, plan.utterances)

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        tell(done, plan.utterances)

    if len(kept) < plan.shards:
        extractor.prepare()
    pool = ThreadPoolExecutor(workers or (_cores() if extractor.parallel else 1))
    try:
        maker = ShardMaker(corpus, extractor, plan, pool, advance)
        for shard in range(plan.shards):
            if shard not in kept:
                kept[shard] = maker.make(folder, shard)
                _refuse_many(folder, kept.values(), allowed, plan)
                kept[shard].save(entry_path(folder, shard))
    finally:
        pool.shutdown(cancel_futures=True)
    _write_failures(folder, kept.values())


def _whole(folder: Path, plan: Plan, shard: int) -> Entry | None:
    """The entry of a shard that needs no work; a damaged one is named."""
    if not entry_path(folder, shard).exists():
        return None
    try:
        entry = read_entry(folder, plan, shard)
    except StoreError as error:
        log.warning("%s; it is extracted again", error.what)
        return None
    if MappedShard(shard_path(folder, shard)).sha256() == entry.sha256:
        return entry
    log.warning("%s is damaged; it is extracted again", shard_path(folder, shard).name)
    return None


def _refuse_many(folder: Path, entries: Iterable[Entry], allowed: int, plan: Plan) -> None:
    """Raise `FeatureError`, with every failure so far written down, once more have failed than are allowed."""
    failed = _write_failures(folder, entries) if sum(len(entry.failed) for entry in entries) > allowed else []
    if failed:
        raise FeatureError(
            f"{len(failed)} of {plan.utterances} utterances failed, {allowed} may; the first is {failed[0].id}: {failed[0].message}",
            where=folder / FAILURES,
            mend="mend those files and run the same command again, or allow more: corpus.max_failures",
        )


def _write_failures(folder: Path, entries: Iterable[Entry]) -> list[Failure]:
    failed = [failure for entry in sorted(entries, key=lambda entry: entry.shard) for failure in entry.failed]
    lines = [json.dumps(failure.model_dump(), ensure_ascii=False) + "\n" for failure in failed]
    write_text(folder / FAILURES, "".join(lines))
    return failed


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turn the system's refusal to write (full disk, quota, no permission) into a `StoreError`; finished shards stay as they are."""
    try:
        yield
    except OSError as error:
        mend = "free space and run the same command again: finished shards are kept"
        raise StoreError(f"the feature store cannot be written: {error.strerror or error}", where=folder, mend=mend) from error


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
