"""Import a folder of `.npy` files, one per utterance, as a store, and export a store to one."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Literal

import numpy as np

from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import FeatureError, MedusaError, StoreError
from medusa_jax.files import digest_of, write_text, write_whole
from medusa_jax.store.builder import Advance, Make, fill
from medusa_jax.store.checked import cores
from medusa_jax.store.ledger import Entry, Failure, Plan
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.shard import BATCH_ROWS, Clip, as_stored
from medusa_jax.store.shard_writer import write_shard
from medusa_jax.version import VERSION

EXPORTED = "exported-from.txt"
_PARSING = Lock()
"""NumPy parses headers with `ast`, which is not safe in several threads (cpython#106905)."""


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
    """Write the store `folder` from `source`, where utterance `a.wav` is `a.npy`.

    Arrays are `[t, d]` or `[1, t, d]`. An interrupted import resumes as extraction does. A missing
    or unsuitable file is a row of `failures.jsonl`. Raises `FeatureError` when more than the share
    `max_failures` fail, or two utterances share one file; `StoreError` if `folder` holds anything
    else.
    """
    files = _files(source, corpus.frame["id"].tolist())
    wanted = Plan(
        extractor={"extractor": "imported", "files": _digest(files)},
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
    """Write every utterance `a.wav` to `folder` as `a.npy`, `[t, d]`, and return their number.

    Files already written are kept. Raises `StoreError` if the folder holds anything but an
    unfinished export of this store, or the store is damaged.
    """
    files = _files(folder, store.ids)
    _mark(folder, store.digest)
    for done, (id, path) in enumerate(files.items(), 1):
        if not path.exists():
            with write_whole(path) as temporary, open(temporary, "wb") as file:
                np.save(file, store.frames(id), allow_pickle=False)
        if progress:
            progress(done, len(files))
    return len(files)


def _mark(folder: Path, digest: str) -> None:
    """Note in `folder` which store it is exported from. Raises `StoreError` for other contents."""
    mark = folder / EXPORTED
    if not mark.is_file() and folder.is_dir() and any(folder.iterdir()):
        raise StoreError("the folder is not empty", where=folder, hint="choose a new folder")
    if mark.is_file() and mark.read_text(encoding="utf-8").strip() != digest:
        raise StoreError(
            "the folder holds the files of another store", where=folder, hint="choose a new folder"
        )
    write_text(mark, digest + "\n")


def _files(folder: Path, ids: Iterable[str]) -> dict[str, Path]:
    """Return each utterance's file, named by the stem of its id, so always inside the folder.

    Raises `FeatureError` if two utterances share a file.
    """
    files = {id: folder / f"{PurePosixPath(id).stem}.npy" for id in ids}
    owners: dict[Path, str] = {}
    for id, path in files.items():
        if owners.setdefault(path, id) != id:
            raise FeatureError(
                f"two utterances share one file, {path.name}: {owners[path]} and {id}", where=folder
            )
    return files


def _digest(files: dict[str, Path]) -> str:
    """Return the digest of the names and sizes of the files."""
    names = [path.name for path in files.values()]
    sizes = [path.stat().st_size if path.is_file() else None for path in files.values()]
    return digest_of([names, sizes])


def _width(source: Path, files: dict[str, Path]) -> int:
    """Return the features of a frame in the first readable file."""
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
    raise FeatureError(
        f"none of the {len(files)} utterances has a .npy file of frames here",
        where=source,
        hint="name each file after its utterance: clip-1.npy for clip-1.wav",
    )


def _make(
    files: list[tuple[str, Path]],
    pool: ThreadPoolExecutor,
    folder: Path,
    plan: Plan,
    advance: Advance,
    shard: int,
) -> Entry:
    """Write one shard."""
    rows = plan.rows(shard)

    def windows() -> Iterator[list[Clip | Failure]]:
        for start in range(rows.start, rows.stop, BATCH_ROWS):
            window = files[start : min(start + BATCH_ROWS, rows.stop)]
            yield list(pool.map(lambda item: _clip(item[0], item[1], plan), window))
            advance(len(window))

    return write_shard(folder, plan, shard, windows(), {"medusa-jax": VERSION})


def _clip(id: str, path: Path, plan: Plan) -> Clip | Failure:
    """Return an utterance's frames, or its failure."""
    try:
        frames_td = _read(path)
        if frames_td.shape[1] != plan.width:
            raise FeatureError(
                f"frames have {frames_td.shape[1]} features, those of the first file {plan.width}"
            )
        return as_stored(id, frames_td, plan.dtype)
    except MedusaError as error:
        return Failure(id=id, audio=path.name, error=type(error).__name__, message=error.what)


def _read(path: Path) -> np.ndarray:
    """Return frames `[t, d]`, finite, t ≥ 1, at least float32.

    Raises `FeatureError` for anything else; pickles are never loaded.
    """
    try:
        file = BytesIO(path.read_bytes())
        with _PARSING:
            frames = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise FeatureError(f"there is no {path.name}", where=path) from None
    except (OSError, ValueError, EOFError) as error:
        raise FeatureError(
            f"NumPy cannot read {path.name} as an array: {error}", where=path
        ) from error
    if not isinstance(frames, np.ndarray) or frames.dtype.kind != "f":
        raise FeatureError(f"{path.name} holds no floating-point array", where=path)
    frames_td = frames[0] if frames.ndim == 3 and len(frames) == 1 else frames
    if frames_td.ndim != 2 or not frames_td.size:
        raise FeatureError(
            f"{path.name} has the shape {frames.shape}, not [t, d] or [1, t, d]", where=path
        )
    if not np.isfinite(frames_td).all():
        raise FeatureError(f"{path.name} holds NaN or infinity", where=path)
    return frames_td.astype(np.float32) if frames_td.dtype == np.float16 else frames_td
