"""One shard written and described: what extraction, conversion and import have in common."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from medusa_jax.files import sha256_of, write_whole
from medusa_jax.store.ledger import Entry, Failure, Plan, Warned, shard_path
from medusa_jax.store.shard import BATCH_ROWS, Clip, write_batches

Result = Clip | Failure | Warned
"""What came of an utterance: frames or a failure, and perhaps a warning."""


def write_shard(
    folder: Path,
    plan: Plan,
    shard: int,
    windows: Iterable[Iterable[Result]],
    made_with: dict[str, str],
) -> Entry:
    """Write the file of shard number `shard`, a window at a time, and return its entry.

    The entry is the caller's to write: until it is, the shard does not count. Equal windows give equal bytes.
    """
    ids: list[str] = []
    lengths: list[int] = []
    failed: list[Failure] = []
    warned: list[Warned] = []
    clipped = 0

    def batches() -> Iterator[list[Clip]]:
        nonlocal clipped
        for window in windows:
            results = list(window)
            clips = [result for result in results if isinstance(result, Clip)]
            failed.extend(result for result in results if isinstance(result, Failure))
            warned.extend(result for result in results if isinstance(result, Warned))
            ids.extend(clip.id for clip in clips)
            lengths.extend(len(clip.frames) for clip in clips)
            clipped += sum(clip.clipped for clip in clips)
            yield from (
                clips[start : start + BATCH_ROWS] for start in range(0, len(clips), BATCH_ROWS)
            )

    path = shard_path(folder, shard)
    with write_whole(path) as temporary:
        write_batches(temporary, batches(), plan.dtype)
    return Entry(
        plan=plan.digest(),
        shard=shard,
        size=path.stat().st_size,
        sha256=sha256_of(path),
        ids=tuple(ids),
        lengths=tuple(lengths),
        failed=tuple(failed),
        warned=tuple(warned),
        clipped=clipped,
        made_with=made_with,
    )
