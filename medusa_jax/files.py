"""Files that appear whole or not at all, and folders used by one process at a time."""

import errno
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medusa_jax.errors import MedusaError, RunFolderError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, an exhausted quota, a file at its size limit."""


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`.

    On success it is synced and renamed into place, on any error removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def disk_errors(kind: type[MedusaError], what: str, where: Path, kept: str) -> Iterator[None]:
    """Raise an `OSError` (full disk, quota, no permission) as `kind`.

    `what` could not be written, and `kept` tells what remains for the next attempt.
    """
    try:
        yield
    except OSError as error:
        cure = "free some disk space" if error.errno in FULL else "fix the cause"
        raise kind(
            f"{what} cannot be written: {error.strerror or error}",
            where=where,
            hint=f"{cure} and run the same command again: {kept}",
        ) from error


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that renames in it survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold `folder/.lock` for this process.

    If another process holds it, raise `RunFolderError` at once, or `wait` until it is free. The
    kernel frees the lock when the process ends, even if killed, so nothing needs cleaning up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            raise RunFolderError(
                "another process is working in this folder",
                where=folder,
                hint="wait for it, stop it, or choose another folder with --out",
            ) from error
        yield


class PartLocks:
    """Locks on the numbered parts of a folder, for several processes that work on its parts.

    They are record locks on bytes of one file, `.parts`, which network file systems support too.
    The kernel frees them when the process ends, even if killed. They separate processes, not the
    threads of one.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(folder / ".parts", os.O_RDWR | os.O_CREAT, 0o666)

    def __enter__(self) -> "PartLocks":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)  # frees all locks

    def take(self, part: int) -> bool:
        """Hold part number `part`; return False at once if another process holds it."""
        try:
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 + part)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        return True

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Hold the files that belong to no part, once they are free: for short work."""
        fcntl.lockf(self._handle, fcntl.LOCK_EX, 1, 0)
        try:
            yield
        finally:
            fcntl.lockf(self._handle, fcntl.LOCK_UN, 1, 0)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def digest_of(value: object) -> str:
    """Hex SHA-256 of a JSON-serialisable value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
