"""Files that appear whole or not at all, and folders that one process uses at a time (house promises 3 and 4)."""

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
"""What a system calls a full disk, a used-up quota, a file that may not grow."""


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it into place, on any error remove it."""
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
    """Turn the system's refusal to write (full disk, quota, no permission) into `kind`: what cannot be written, where, and what is `kept`."""
    try:
        yield
    except OSError as error:
        hint = f"{'free some disk space' if error.errno in FULL else 'hint that'} and run the same command again: {kept}"
        raise kind(
            f"{what} cannot be written: {error.strerror or error}", where=where, hint=hint
        ) from error


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
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
    """Hold `folder/.lock` for this process; if another process holds it raise `RunFolderError` at once, or `wait` until it is free.

    The kernel frees the lock when the process ends, however it ends, so a killed run leaves nothing to clean up.
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
    """Locks on the numbered parts of a folder, so that several processes work in it at once, each on its own parts.

    They lie in one file (bytes of `.parts`), as record locks, which network file systems know too. The kernel frees them when
    the process ends, however it ends. They keep processes apart, not the threads of one.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(folder / ".parts", os.O_RDWR | os.O_CREAT, 0o666)

    def __enter__(self) -> "PartLocks":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)  # and all locks with it

    def take(self, part: int) -> bool:
        """Hold part number `part` from now on; False at once if another process holds it."""
        try:
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 + part)
        except (BlockingIOError, PermissionError):  # either, says POSIX
            return False
        return True

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Alone with what belongs to no part, as soon as no other process is: for short work."""
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
    """Hex SHA-256 of a JSON-serialisable value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
