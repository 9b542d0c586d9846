"""Fill a store from its plan: any number of processes share the work.

Each of them may be killed at any moment and started again.
"""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from medusa_jax.errors import FeatureError, StoreError
from medusa_jax.files import PartLocks, disk_errors
from medusa_jax.store.checked import cores
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
"""Called with the number of utterances just finished."""
Making = Callable[[Plan, Advance], AbstractContextManager[Make]]
"""Prepares to make shards of a plan; called only if there are any to make."""
Tell = Callable[[int, int], None]
"""Called with the numbers of finished and of all utterances of the share."""
log = logging.getLogger(__name__)


def fill(
    folder: Path,
    wanted: Plan,
    making: Making,
    *,
    allowed: int,
    share: Share = EVERYTHING,
    tell: Tell | None = None,
) -> tuple[int, ...]:
    """Make the unfinished shards of `share`, list all failures, return shards still missing.

    Shards that are missing belong to other shares. Raises `StoreError` when the folder holds other
    features, the disk is full, or another process is making one of these shards; `FeatureError`
    when more than `allowed` utterances fail.
    """
    with (
        disk_errors(StoreError, "the feature store", folder, "finished shards are kept"),
        PartLocks(folder) as locks,
    ):
        with locks.whole():
            plan = _settled(folder, wanted)
        filling = _Filling(folder, plan, locks, share.shards(plan.shards), allowed)
        filling.run(making, tell or (lambda done, total: None))
        with locks.whole():
            return _closed(folder, plan, allowed)


class _Filling:
    """One process's share of the work on a store."""

    def __init__(
        self, folder: Path, plan: Plan, locks: PartLocks, own: range, allowed: int
    ) -> None:
        self._folder, self._plan, self._locks = folder, plan, locks
        self._own, self._allowed = own, allowed
        # Too many failures so far: their files may have been repaired since, so try them again.
        failed = sum(len(entry.failed) for entry in _present(folder, plan))
        self._retry = failed > allowed
        self._kept = self._finished(own)

    def run(self, making: Making, tell: Tell) -> None:
        """Make the pending shards one after another."""
        pending = [shard for shard in self._own if shard not in self._kept]
        if pending:
            self._hold(pending)
            # Another process may have finished one before this process held it.
            self._kept.update(self._finished(pending, quiet=True))
            pending = [shard for shard in pending if shard not in self._kept]
        advance = self._counter(tell)
        if pending:
            with making(self._plan, advance) as make:
                for shard in pending:
                    self._finish(make(shard))

    def _counter(self, tell: Tell) -> Advance:
        """Tell the progress so far and return the function that continues it."""
        done = sum(len(self._plan.rows(shard)) for shard in self._kept)
        total = sum(len(self._plan.rows(shard)) for shard in self._own)
        tell(done, total)

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            tell(done, total)

        return advance

    def _hold(self, shards: Iterable[int]) -> None:
        """Lock these shards until the work ends. Raises `StoreError` if one is taken."""
        for shard in shards:
            path = shard_path(self._folder, shard)
            if not self._locks.take(shard):
                raise StoreError(
                    f"another process is making {path.name}",
                    where=self._folder,
                    hint="let it finish, or give each process another share: "
                    "--shard 1/2, --shard 2/2",
                )
            _sweep(self._folder, path.name, entry_path(self._folder, shard).name)

    def _finish(self, entry: Entry) -> None:
        """Save the entry of a new shard, unless too many utterances have failed."""
        self._kept[entry.shard] = entry
        if sum(len(entry.failed) for entry in self._kept.values()) > self._allowed:
            with self._locks.whole():
                present = _present(self._folder, self._plan)
                others = [other for other in present if other.shard not in self._own]
                entries = [*self._kept.values(), *others]
                _refuse_many(self._folder, self._plan, entries, self._allowed)
        entry.save(entry_path(self._folder, entry.shard))

    def _finished(self, shards: Iterable[int], *, quiet: bool = False) -> dict[int, Entry]:
        """Return the entries of intact shards, reading every byte on all cores."""
        with ThreadPoolExecutor(cores()) as pool:  # hashing releases the GIL
            found = pool.map(lambda shard: _intact(self._folder, self._plan, shard, quiet), shards)
            return {
                entry.shard: entry
                for entry in found
                if entry and not (self._retry and entry.failed)
            }


def same(one: Plan, other: Plan) -> bool:
    """Return whether two plans differ in nothing but the size of their shards."""
    return one.model_copy(update={"shard_rows": other.shard_rows}) == other


def _settled(folder: Path, wanted: Plan) -> Plan:
    """Return the plan to work by: that of the begun store, or `wanted`, which is written.

    A begun store keeps its shard size. Raises `StoreError` if the folder holds other features:
    nothing is overwritten.
    """
    _sweep(folder, PLAN, FAILURES, WARNINGS)
    plan = _begun(folder) or wanted
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


def _begun(folder: Path) -> Plan | None:
    """Return the plan in the folder; a damaged one is removed."""
    if not (folder / PLAN).exists():
        return None
    try:
        return Plan.load(folder / PLAN)
    except StoreError as error:
        log.warning("%s; it is written again", error.what)
        (folder / PLAN).unlink()
        return None


def _sweep(folder: Path, *names: str) -> None:
    """Remove half-written files of a killed process; the caller holds their lock."""
    for name in names:
        for left in folder.glob(f".{name}.*.tmp"):
            left.unlink()


def _intact(folder: Path, plan: Plan, shard: int, quiet: bool) -> Entry | None:
    """Return the entry of an intact shard; a damaged one is logged."""
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
    """Return the plan's entries in the folder, whichever process wrote them."""
    found = []
    for shard in range(plan.shards):
        try:
            found.append(read_entry(folder, plan, shard))
        except StoreError:
            continue
    return found


def _closed(folder: Path, plan: Plan, allowed: int) -> tuple[int, ...]:
    """Write the lists of failures and warnings so far; return the shards still missing."""
    entries = _present(folder, plan)
    missing = set(range(plan.shards)) - {entry.shard for entry in entries}
    if not missing:
        _refuse_many(folder, plan, entries, allowed)
    write_lists(folder, entries)
    return tuple(sorted(missing))


def _refuse_many(folder: Path, plan: Plan, entries: Iterable[Entry], allowed: int) -> None:
    """Raise `FeatureError`, after listing every failure, if more have failed than allowed."""
    ordered = sorted(entries, key=lambda entry: entry.shard)
    failed = [failure for entry in ordered for failure in entry.failed]
    if len(failed) > allowed:
        write_lists(folder, ordered)
        raise FeatureError(
            f"{len(failed)} of {plan.utterances} utterances failed, more than the {allowed} "
            f"allowed; the first is {failed[0].id}: {failed[0].message}",
            where=folder / FAILURES,
            hint="repair those files and run the same command again, "
            "or allow more: corpus.max_failures",
        )
