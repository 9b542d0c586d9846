"""Checkpoints that plain orbax opens, with a digest of every file beside them.

`KIND-STEP/` is orbax's own folder of nested dicts of arrays; `KIND-STEP.json` holds the digests and
whatever else must be known to go on. A checkpoint counts once its JSON stands, which is written
last.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from medusa_jax.errors import CheckpointError
from medusa_jax.files import digest_of, sha256_of, write_text

PyTree = Any


class Writer:
    """Writes checkpoints in the background, one at a time.

    `save` returns once the arrays are in orbax's hands; `wait` until they are on disk with their
    digests. Either raises `CheckpointError` for what went wrong in the background, for instance on
    a full disk: the older checkpoint stays.
    """

    def __init__(self) -> None:
        self._pending: tuple[Path, dict[str, Any]] | None = None
        self._checkpointer = ocp.StandardCheckpointer(multiprocessing_options=_alone())

    def save(
        self, folder: Path, kind: str, step: int, tree: PyTree, about: dict[str, Any], digest: str
    ) -> None:
        """Save nested dicts of arrays as the newest checkpoint of `kind`, then drop the older ones.

        `digest` names the training; `restore` refuses another.
        """
        self.wait()
        folder = folder.absolute()  # orbax wants it, and paths compared must be of one kind
        target = folder / f"{kind}-{step:08d}"
        with _refused(target):
            folder.mkdir(parents=True, exist_ok=True)
            _record_of(target).unlink(missing_ok=True)
            self._checkpointer.save(target, jax.tree.map(np.asarray, tree), force=True)
        self._pending = target, {"config": digest, "step": step, "about": about}

    def wait(self) -> None:
        """Finish what was begun: the record with the digest of every file is written last."""
        if self._pending is None:
            return
        (target, record), self._pending = self._pending, None
        with _refused(target):
            self._checkpointer.wait_until_finished()
            write_text(_record_of(target), _sealed({**record, "files": _files(target)}))
        _drop_older(target)

    def close(self) -> None:
        """Finish, and end orbax's threads."""
        try:
            self.wait()
        finally:
            with suppress(Exception):  # orbax raises here once more what `wait` has raised
                self._checkpointer.close()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def save(
    folder: Path, kind: str, step: int, tree: PyTree, about: dict[str, Any], digest: str
) -> None:
    """`Writer.save`, and wait until it is done."""
    with Writer() as writer:
        writer.save(folder, kind, step, tree, about, digest)


def restore(
    folder: Path, kind: str, digest: str | None = None
) -> tuple[PyTree, dict[str, Any]] | None:
    """The newest checkpoint of `kind` as nested dicts of NumPy arrays and its `about`; None if
    there is none.

    Raises `CheckpointError` naming the file if a digest differs, and the folder if it was saved
    under another configuration. The files are checked before orbax reads them: on a damaged one it
    prints tracebacks of its threads.
    """
    record = _newest(folder, kind)
    if record is None:
        return None
    path = folder / f"{kind}-{record['step']:08d}"
    if digest is not None and record["config"] != digest:
        raise CheckpointError(
            "the checkpoint belongs to another configuration",
            where=path,
            hint="use another run folder (--out)",
        )
    try:
        found = _files(path)
        wrong = sorted(
            name for name, sha256 in record["files"].items() if found.get(name) != sha256
        )
        if wrong:
            raise ValueError(f"damaged or missing: {', '.join(wrong[:3])}")
        with ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
            arrays = jax.tree.map(np.asarray, checkpointer.restore(path.absolute()))
    except Exception as error:  # orbax, tensorstore and zarr raise what they like on damaged files
        reason = str(error).splitlines()[0][:200]
        raise CheckpointError(
            f"the checkpoint cannot be read: {reason}", where=path, hint=_without(path)
        ) from error
    return arrays, record["about"]


def newest_about(folder: Path, kind: str) -> dict[str, Any] | None:
    """The `about` of the newest checkpoint of `kind`, without its arrays; None if there is none.

    Raises `CheckpointError` if its record is damaged.
    """
    record = _newest(folder, kind)
    return None if record is None else record["about"]


def newest_digest(folder: Path, kind: str) -> str | None:
    """The digest that the newest checkpoint of `kind` was saved under, likewise."""
    record = _newest(folder, kind)
    return None if record is None else record["config"]


def _newest(folder: Path, kind: str) -> dict[str, Any] | None:
    """The record of the newest checkpoint of `kind`."""
    records = sorted(folder.glob(f"{kind}-*.json"))
    if not records:
        return None
    path = records[-1].with_suffix("")
    try:
        record = _opened(records[-1].read_text(encoding="utf-8"))
        if not {"about", "config", "files", "step"} <= record.keys():
            raise ValueError("its JSON lacks parts of a checkpoint's record")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"the checkpoint cannot be read: {error}", where=path, hint=_without(path)
        ) from error
    return record


def _alone() -> ocp.options.MultiprocessingOptions:
    """Options for this process alone: beside others orbax would wait for them, and only one
    writes.
    """
    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )


@contextmanager
def _refused(target: Path) -> Iterator[None]:
    """Turn a refusal to write into `CheckpointError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint could not be written: {error}",
            where=target,
            hint="free some disk space and run the same command again",
        ) from error


def _drop_older(target: Path) -> None:
    """Remove all checkpoints of the kind of `target` but this one, records first."""
    kind = target.name.rsplit("-", 1)[0]
    for older in target.parent.glob(f"{kind}-*.json"):
        if older != _record_of(target):
            older.unlink()
    for older in target.parent.glob(f"{kind}-*"):
        if older.is_dir() and older != target:
            shutil.rmtree(older, ignore_errors=True)


def _record_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _without(path: Path) -> str:
    return f"remove {path.name} and {path.name}.json to go on without it"


def _sealed(record: dict[str, Any]) -> str:
    """The record as JSON with its own digest: a flipped digit in `about` is damage too."""
    return json.dumps({**record, "sha256": digest_of(record)}, indent=1)


def _opened(text: str) -> dict[str, Any]:
    """The record in `_sealed` text. Raises `ValueError` if anything in it was changed."""
    record: dict[str, Any] = json.loads(text)
    if record.pop("sha256", None) != digest_of(record):
        raise ValueError("its JSON does not match its own digest")
    return record


def _files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below the folder, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}


def as_dicts(tree: PyTree) -> dict[str, Any]:
    """Any tree of arrays as nested dicts with string keys, which orbax restores without our
    classes.
    """
    result: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        *parents, last = _names(path)
        node = result
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = leaf
    return result


def fill(template: PyTree, dicts: dict[str, Any]) -> PyTree:
    """The tree shaped like `template` with the arrays of `as_dicts`.

    Raises `CheckpointError` if one is missing or has another shape.
    """

    def find(path: tuple[Any, ...], leaf: Any) -> Any:
        node: Any = dicts
        for name in _names(path):
            node = node.get(name) if isinstance(node, dict) else None
        if node is None or np.shape(node) != np.shape(leaf):
            raise CheckpointError(
                f"the checkpoint has no array {'/'.join(_names(path))} of shape {np.shape(leaf)}",
                hint="was it trained with another model config?",
            )
        return node

    return jax.tree_util.tree_map_with_path(find, template)


def _names(path: tuple[Any, ...]) -> list[str]:
    """The keys of a path, without nnx's closing `value`."""
    names = [jax.tree_util.keystr((key,), simple=True) for key in path]
    return names[:-1] if len(names) > 1 and names[-1] == "value" else names or ["value"]
