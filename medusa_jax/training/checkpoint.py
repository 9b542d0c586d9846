"""Checkpoints that plain orbax opens, with a digest of every file and array beside them (house promise 3).

`KIND-STEP/` is orbax's own folder of nested dicts of arrays; `KIND-STEP.json` holds the digests and whatever else must be
known to go on. A checkpoint counts once its JSON stands, which is written last.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from medusa_jax.errors import CheckpointError
from medusa_jax.files import digest_of, sha256_of, write_text

PyTree = Any


def save(
    folder: Path, kind: str, step: int, tree: PyTree, about: dict[str, Any], digest: str
) -> None:
    """Save nested dicts of arrays as the newest checkpoint of `kind` (`last`, `best`), then drop the older ones.

    `digest` names the configuration; `restore` refuses another. On a full disk the older checkpoint stays and `CheckpointError` is raised.
    """
    folder = folder.absolute()  # orbax wants it, and every path compared below must be of one kind
    arrays = jax.tree.map(np.asarray, tree)
    target = folder / f"{kind}-{step:08d}"
    record = folder / f"{target.name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)
        with _checkpointer() as checkpointer:
            checkpointer.save(target, arrays, force=True)
        said = {
            "config": digest,
            "step": step,
            "about": about,
            "leaves": _digests(arrays),
            "files": _files(target),
        }
        write_text(record, _sealed(said))
    except (OSError, ValueError) as error:
        hint = "free some disk space and run the same command again"
        raise CheckpointError(
            f"the checkpoint could not be written: {error}", where=target, hint=hint
        ) from error
    for older in folder.glob(f"{kind}-*.json"):
        if older != record:
            older.unlink()
    for older in folder.glob(f"{kind}-*"):
        if older.is_dir() and older != target:
            shutil.rmtree(older, ignore_errors=True)


def restore(
    folder: Path, kind: str, digest: str | None = None
) -> tuple[PyTree, dict[str, Any]] | None:
    """The newest checkpoint of `kind` as nested dicts of NumPy arrays and its `about`; None if there is none.

    Raises `CheckpointError` naming the file or array if a digest differs, and the folder if it was saved under another
    configuration. The files are checked before orbax reads them: on a damaged one it spills tracebacks of its threads.
    """
    records = sorted(folder.glob(f"{kind}-*.json"))
    if not records:
        return None
    path = records[-1].with_suffix("")
    again = f"remove {path.name} and {path.name}.json to go on without it"
    try:
        record = _opened(records[-1].read_text(encoding="utf-8"))
        there = _files(path)
        wrong = sorted(
            name for name, sha256 in record["files"].items() if there.get(name) != sha256
        )
        if wrong:
            raise ValueError(f"damaged or missing: {', '.join(wrong[:3])}")
        with _checkpointer() as checkpointer:
            arrays = jax.tree.map(np.asarray, checkpointer.restore(path.absolute()))
    except Exception as error:  # orbax, tensorstore and zarr raise what they like on damaged files
        raise CheckpointError(
            f"the checkpoint cannot be read: {str(error).splitlines()[0][:200]}",
            where=path,
            hint=again,
        ) from error
    if digest is not None and record["config"] != digest:
        raise CheckpointError(
            "the checkpoint belongs to another configuration",
            where=path,
            hint="use another run folder (--out)",
        )
    found = _digests(arrays)
    damaged = sorted(
        name
        for name in {**found, **record["leaves"]}
        if found.get(name) != record["leaves"].get(name)
    )
    if damaged:
        raise CheckpointError(
            f"the checkpoint is damaged in {', '.join(damaged[:3])} ({len(damaged)} array(s))",
            where=path,
            hint=again,
        )
    return arrays, record["about"]


def newest_about(folder: Path, kind: str) -> dict[str, Any] | None:
    """The `about` of the newest checkpoint of `kind`, without its arrays; None if there is none. Raises `CheckpointError` if it is damaged."""
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
    try:
        record = _opened(records[-1].read_text(encoding="utf-8"))
        if not {"about", "config"} <= record.keys():
            raise ValueError("its JSON lacks what a checkpoint says")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = f"remove {records[-1].stem} and {records[-1].name} to go on without it"
        raise CheckpointError(
            f"the checkpoint cannot be read: {error}", where=records[-1].with_suffix(""), hint=hint
        ) from error
    return record


def _checkpointer() -> ocp.StandardCheckpointer:
    """orbax's own, for this process alone: beside others it would wait for them, and only one writes."""
    own = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )
    return ocp.StandardCheckpointer(multiprocessing_options=options)


def _sealed(record: dict[str, Any]) -> str:
    """The record as JSON with its own digest: a flipped digit in `about` is damage too."""
    return json.dumps({**record, "sha256": digest_of(record)}, indent=1)


def _opened(text: str) -> dict[str, Any]:
    """What `_sealed` wrote. Raises `ValueError` if anything in it was changed."""
    record = json.loads(text)
    if record.pop("sha256", None) != digest_of(record):
        raise ValueError("its JSON does not match its own digest")
    return record


def _files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below the folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _digests(tree: PyTree) -> dict[str, str]:
    """SHA-256 of each array's type, shape and bytes, by its path in the tree."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): hashlib.sha256(
            f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes()
        ).hexdigest()
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def as_dicts(tree: PyTree) -> dict[str, Any]:
    """Any tree of arrays as nested dicts with string keys: what orbax restores without knowing our classes."""
    result: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        *parents, last = _names(path)
        node = result
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = leaf
    return result


def fill(template: PyTree, dicts: dict[str, Any]) -> PyTree:
    """The tree shaped like `template` with the arrays of `as_dicts`. Raises `CheckpointError` if one is missing or misshapen."""

    def find(path: tuple[Any, ...], leaf: Any) -> Any:
        node: Any = dicts
        for name in _names(path):
            node = node.get(name) if isinstance(node, dict) else None
        if node is None or np.shape(node) != np.shape(leaf):
            where = "/".join(_names(path))
            raise CheckpointError(
                f"the checkpoint has no array {where} of shape {np.shape(leaf)}",
                hint="was it trained with another model config?",
            )
        return node

    return jax.tree_util.tree_map_with_path(find, template)


def _names(path: tuple[Any, ...]) -> list[str]:
    """The keys of a path, without nnx's closing `value`."""
    names = [jax.tree_util.keystr((key,), simple=True) for key in path]
    return names[:-1] if len(names) > 1 and names[-1] == "value" else names or ["value"]
