"""A plan in, its shards out: work that any number of processes share, that may be killed at any moment and repeated (house promises 3 to 5)."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from medusa_jax.errors import FeatureError, StoreError
from medusa_jax.files import PartLocks, disk_errors
from medusa_jax.store.ledger import (
    FAILURES,
    PLAN,
    WARNINGS,
    Entry,
    Plan,
    entry_path,
    read_entry,
    refuse_foreign,
    shard_path,
    write_lists,
)
from medusa_jax.store.shard import MappedShard
from medusa_jax.store.share import EVERYTHING, Share

Make = Callable[[int], Entry]
"""Writes the file of a shard and returns its entry."""
Advance = Callable[[int], None]
"""Told how many utterances more are done."""
Making = Callable[[Plan, Advance], AbstractContextManager[Make]]
"""Gets ready to make shards of a plan; only called if there are any to make."""
log = logging.getLogger(__name__)


def fill(
    folder: Path,
    wanted: Plan,
    making: Making,
    *,
    allowed: int,
    share: Share = EVERYTHING,
    tell: Callable[[int, int], None] | None = None,
) -> tuple[int, ...]:
    """Make the shards of `share` that are not whole, and list all failures; returns the shards that other shares still owe.

    `tell(done, total)` counts the share's utterances. Raises `StoreError` when the folder holds other features, the disk is
    full, or another process is making one of these shards; `FeatureError` when more than `allowed` utterances fail.
    """
    with (
        disk_errors(StoreError, "the feature store", folder, "finished shards are kept"),
        PartLocks(folder) as locks,
    ):
        with locks.whole():
            plan = _settled(folder, wanted)
        own = share.shards(plan.shards)
        again = (
            sum(len(entry.failed) for entry in _present(folder, plan)) > allowed
        )  # perhaps the files were fixed
        kept = _kept(folder, plan, own, again)
        if pending := [shard for shard in own if shard not in kept]:
            _take(folder, locks, pending)
            kept.update(
                _kept(folder, plan, pending, again, quiet=True)
            )  # another process may have made one before we held it

        def finish(entry: Entry) -> None:
            kept[entry.shard] = entry
            if sum(len(entry.failed) for entry in kept.values()) > allowed:
                with locks.whole():
                    others = [other for other in _present(folder, plan) if other.shard not in own]
                    _refuse_many(folder, plan, [*kept.values(), *others], allowed)
            entry.save(entry_path(folder, entry.shard))

        _make(plan, making, kept, own, finish, tell or (lambda done, total: None))
        with locks.whole():
            return _closed(folder, plan, allowed)


def same(one: Plan, other: Plan) -> bool:
    """Whether two plans differ in nothing but the size of their shards."""
    return one.model_copy(update={"shard_rows": other.shard_rows}) == other


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _settled(folder: Path, wanted: Plan) -> Plan:
    """The plan to work by, written down: the one already begun (its shard size wins), or `wanted`.

    Raises `StoreError` if the folder holds other features: nothing is overwritten.
    """
    _sweep(folder, PLAN, FAILURES, WARNINGS)
    plan = wanted
    if (folder / PLAN).exists():
        try:
            plan = Plan.load(folder / PLAN)
        except StoreError as error:
            log.warning("%s; it is written again", error.what)
            (folder / PLAN).unlink()
        if not same(plan, wanted):
            raise StoreError(
                "the folder holds features of another corpus or other settings",
                where=folder,
                hint="choose another folder",
            )
    refuse_foreign(folder, plan)
    if not (folder / PLAN).exists():
        plan.save(folder / PLAN)
    return plan


def _sweep(folder: Path, *names: str) -> None:
    """Remove what a killed process left half-written of these files; the caller holds their lock."""
    for name in names:
        for left in folder.glob(f".{name}.*.tmp"):
            left.unlink()


def _take(folder: Path, locks: PartLocks, shards: Iterable[int]) -> None:
    """Hold these shards until the work ends. Raises `StoreError` if another process has one of them."""
    for shard in shards:
        if not locks.take(shard):
            hint = "let it work, or give each process another share: --shard 1/2, --shard 2/2"
            raise StoreError(
                f"another process is making {shard_path(folder, shard).name}",
                where=folder,
                hint=hint,
            )
        _sweep(folder, shard_path(folder, shard).name, entry_path(folder, shard).name)


def _make(
    plan: Plan,
    making: Making,
    kept: Mapping[int, Entry],
    own: range,
    finish: Callable[[Entry], None],
    tell: Callable[[int, int], None],
) -> None:
    """The shards of `own` that are not in `kept`, one after the other."""
    pending = [shard for shard in own if shard not in kept]
    done, total = (sum(len(plan.rows(shard)) for shard in shards) for shards in (kept, own))
    tell(done, total)

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        tell(done, total)

    if pending:
        with making(plan, advance) as make:
            for shard in pending:
                finish(make(shard))


def _kept(
    folder: Path, plan: Plan, shards: Iterable[int], again: bool, *, quiet: bool = False
) -> dict[int, Entry]:
    """The entries of the shards that need no work, every byte read, on all cores; `again`: those with failures do."""
    with ThreadPoolExecutor(cores()) as pool:  # hashing frees the interpreter's lock
        found = pool.map(lambda shard: (shard, _whole(folder, plan, shard, quiet)), shards)
        return {shard: entry for shard, entry in found if entry and not (again and entry.failed)}


def _whole(folder: Path, plan: Plan, shard: int, quiet: bool) -> Entry | None:
    """The entry of a shard that needs no work; a damaged one is named."""
    level = logging.DEBUG if quiet else logging.WARNING
    if not entry_path(folder, shard).exists():
        return None
    try:
        entry = read_entry(folder, plan, shard)
    except StoreError as error:
        log.log(level, "%s; it is made again", error.what)
        return None
    if MappedShard(shard_path(folder, shard)).sha256() == entry.sha256:
        return entry
    log.log(level, "%s is damaged; it is made again", shard_path(folder, shard).name)
    return None


def _present(folder: Path, plan: Plan) -> list[Entry]:
    """The entries that are there and belong to the plan, whoever wrote them."""
    found = []
    for shard in range(plan.shards):
        try:
            found.append(read_entry(folder, plan, shard))
        except StoreError:
            continue
    return found


def _closed(folder: Path, plan: Plan, allowed: int) -> tuple[int, ...]:
    """Write the lists for people, of all there is so far; the last process writes them whole. Returns the shards still missing."""
    entries = _present(folder, plan)
    missing = set(range(plan.shards)) - {entry.shard for entry in entries}
    if not missing:
        _refuse_many(folder, plan, entries, allowed)
    write_lists(folder, entries)
    return tuple(sorted(missing))


def _refuse_many(folder: Path, plan: Plan, entries: Iterable[Entry], allowed: int) -> None:
    """Raise `FeatureError`, with every failure so far written down, once more have failed than are allowed."""
    failed = [
        failure
        for entry in sorted(entries, key=lambda entry: entry.shard)
        for failure in entry.failed
    ]
    if len(failed) > allowed:
        write_lists(folder, list(entries))
        raise FeatureError(
            f"{len(failed)} of {plan.utterances} utterances failed, {allowed} may; the first is {failed[0].id}: {failed[0].message}",
            where=folder / FAILURES,
            hint="hint those files and run the same command again, or allow more: corpus.max_failures",
        )
