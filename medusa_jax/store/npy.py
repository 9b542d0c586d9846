"""A folder of `.npy` files, one an utterance, to a store and back: what the published code and many others keep features in."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import FeatureError, MedusaError, StoreError
from medusa_jax.files import digest_of, write_text, write_whole
from medusa_jax.store.builder import Advance, Make, cores, fill
from medusa_jax.store.ledger import Entry, Failure, Plan
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.shard import BATCH_ROWS, Clip, as_stored
from medusa_jax.store.shard_writer import write_shard

EXPORTED = "exported-from.txt"


def import_folder(
    source: Path,
    corpus: Corpus,
    folder: Path,
    *,
    dtype: Literal["float16", "float32", "int8"] = "float16",
    max_failures: float = 0.01,
    shard_rows: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Write the store `folder` from `source`, where utterance `a.wav` is `a.npy`: `[t, d]` or `[1, t, d]`. Resumes as extraction does.

    A file that is missing or does not fit is a row of `failures.jsonl`. Raises `FeatureError` when more than the share
    `max_failures` are, or when two utterances would read one file; `StoreError` if `folder` holds anything else.
    """
    files = _files(source, corpus.frame["id"].tolist())
    sizes = [path.stat().st_size if path.is_file() else None for path in files.values()]
    wanted = Plan(
        extractor={
            "extractor": "imported",
            "files": digest_of([[path.name for path in files.values()], sizes]),
        },
        corpus=corpus.name,
        inputs=digest_of(list(files)),
        width=_width(source, files),
        dtype=dtype,
        utterances=len(files),
        shard_rows=shard_rows,
    )

    @contextmanager
    def making(plan: Plan, advance: Advance) -> Iterator[Make]:
        with ThreadPoolExecutor(cores()) as pool:
            yield partial(_make, list(files.items()), pool, folder, plan, advance)

    fill(folder, wanted, making, allowed=int(max_failures * len(files)), tell=progress)
    return FeatureStore.open(folder)


def export_folder(
    store: FeatureStore, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> int:
    """Write every utterance `a.wav` of the store to `folder` as `a.npy`, `[t, d]`, and return how many; files already written are kept.

    Raises `StoreError` if the folder holds anything but an unfinished export of this store, or the store is damaged.
    """
    files = _files(folder, store.ids)
    mark = folder / EXPORTED
    if not mark.is_file() and folder.is_dir() and any(folder.iterdir()):
        raise StoreError("the folder is not empty", where=folder, hint="choose a new folder")
    if mark.is_file() and mark.read_text(encoding="utf-8").strip() != store.digest:
        raise StoreError(
            "the folder holds the files of another store", where=folder, hint="choose a new folder"
        )
    write_text(mark, store.digest + "\n")
    for done, (id, path) in enumerate(files.items(), 1):
        if not path.exists():
            with write_whole(path) as temporary, open(temporary, "wb") as file:
                np.save(file, store.frames(id), allow_pickle=False)
        if progress:
            progress(done, len(files))
    return len(files)


def _files(folder: Path, ids: Iterable[str]) -> dict[str, Path]:
    """Each utterance's file, by the last part of its id without the ending: no id leads out of the folder."""
    files = {id: folder / f"{PurePosixPath(id).stem}.npy" for id in ids}
    owners: dict[Path, str] = {}
    for id, path in files.items():
        if owners.setdefault(path, id) != id:
            raise FeatureError(
                f"two utterances are one file, {path.name}: {owners[path]} and {id}", where=folder
            )
    return files


def _width(source: Path, files: dict[str, Path]) -> int:
    """Features of a frame, from the first file that can be read."""
    if not source.is_dir():
        raise FeatureError(
            "there is no such folder",
            where=source,
            hint="give the folder that holds the .npy files",
        )
    for path in files.values():
        try:
            return int(_read(path).shape[1])
        except FeatureError:
            continue
    hint = "a file carries its utterance's name: clip-1.npy for clip-1.wav"
    raise FeatureError(
        f"none of the {len(files)} utterances has a .npy file of frames here",
        where=source,
        hint=hint,
    )


def _make(
    files: list[tuple[str, Path]],
    pool: ThreadPoolExecutor,
    folder: Path,
    plan: Plan,
    advance: Advance,
    shard: int,
) -> Entry:
    rows = plan.rows(shard)

    def windows() -> Iterator[list[Clip | Failure]]:
        for start in range(rows.start, rows.stop, BATCH_ROWS):
            window = files[start : min(start + BATCH_ROWS, rows.stop)]
            yield list(pool.map(lambda item: _clip(item[0], item[1], plan), window))
            advance(len(window))

    return write_shard(folder, plan, shard, windows(), {"medusa-jax": version("medusa-jax")})


def _clip(id: str, path: Path, plan: Plan) -> Clip | Failure:
    """An utterance's frames, or why there are none."""
    try:
        frames_td = _read(path)
        if frames_td.shape[1] != plan.width:
            raise FeatureError(
                f"frames of {frames_td.shape[1]} features, where the first file has {plan.width}"
            )
        return as_stored(id, frames_td, plan.dtype)
    except MedusaError as error:
        return Failure(id=id, audio=path.name, error=type(error).__name__, message=error.what)


def _read(path: Path) -> np.ndarray:
    """Frames `[t, d]`, finite, t ≥ 1, at least float32. Raises `FeatureError` for a file that holds none; a pickle is not opened."""
    try:
        with open(path, "rb") as file:
            frames = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise FeatureError(f"there is no {path.name}", where=path) from None
    except (OSError, ValueError, EOFError) as error:
        raise FeatureError(
            f"{path.name} is not an array that NumPy reads: {error}", where=path
        ) from error
    if not isinstance(frames, np.ndarray) or frames.dtype.kind != "f":
        raise FeatureError(f"{path.name} holds no floating-point array", where=path)
    frames_td = frames[0] if frames.ndim == 3 and len(frames) == 1 else frames
    if frames_td.ndim != 2 or not frames_td.size:
        raise FeatureError(
            f"{path.name} is of shape {frames.shape}, not [t, d] or [1, t, d]", where=path
        )
    if not np.isfinite(frames_td).all():
        raise FeatureError(f"{path.name} holds NaN or infinity", where=path)
    return frames_td.astype(np.float32) if frames_td.dtype == np.float16 else frames_td
