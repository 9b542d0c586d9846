"""Write a shard and describe it: common to extraction, conversion and import."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medusa_jax.files import sha256_of, write_whole
from medusa_jax.store.ledger import Entry, Failure, Plan, Warned, shard_path
from medusa_jax.store.shard import BATCH_ROWS, Clip, write_batches

Result = Clip | Failure | Warned
"""The result of an utterance: frames or a failure, and perhaps a warning."""


@dataclass
class _Tally:
    """The description of a shard, collected while its clips are written."""

    ids: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    warned: list[Warned] = field(default_factory=list)
    clipped: int = 0

    def batches(self, windows: Iterable[Iterable[Result]]) -> Iterator[list[Clip]]:
        """Yield the clips of each window in record batches, and note every result."""
        for window in windows:
            clips = []
            for result in window:
                self._note(result)
                if isinstance(result, Clip):
                    clips.append(result)
            for start in range(0, len(clips), BATCH_ROWS):
                yield clips[start : start + BATCH_ROWS]

    def _note(self, result: Result) -> None:
        if isinstance(result, Clip):
            self.ids.append(result.id)
            self.lengths.append(len(result.frames))
            self.clipped += result.clipped
        elif isinstance(result, Failure):
            self.failed.append(result)
        else:
            self.warned.append(result)


def write_shard(
    folder: Path,
    plan: Plan,
    shard: int,
    windows: Iterable[Iterable[Result]],
    made_with: dict[str, str],
) -> Entry:
    """Write the file of shard number `shard`, one window at a time, and return its entry.

    The caller saves the entry; until then the shard does not count as finished. Equal windows
    give equal bytes.
    """
    tally, path = _Tally(), shard_path(folder, shard)
    with write_whole(path) as temporary:
        write_batches(temporary, tally.batches(windows), plan.dtype)
    return Entry(
        plan=plan.digest(),
        shard=shard,
        size=path.stat().st_size,
        sha256=sha256_of(path),
        ids=tuple(tally.ids),
        lengths=tuple(tally.lengths),
        failed=tuple(tally.failed),
        warned=tuple(tally.warned),
        clipped=tally.clipped,
        made_with=made_with,
    )
