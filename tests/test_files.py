"""Files that appear whole or not at all, and folders used by one process at a time."""

import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medusa_jax.errors import RunFolderError
from medusa_jax.files import locked, sha256_of, write_text, write_whole

HOLD = """
import sys, time, pathlib
from medusa_jax.files import locked
with locked(pathlib.Path(sys.argv[1])): print("held", flush=True); time.sleep(60)
"""
FULL = """
import resource, sys, pathlib
from medusa_jax.files import write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try: write_text(pathlib.Path(sys.argv[1]), "x" * 5000)
except OSError as error: print(error.strerror)
"""
SLOW = """
import sys, time, pathlib
from medusa_jax.files import write_whole
with write_whole(pathlib.Path(sys.argv[1])) as path:
    path.write_text("half")
    print("half", flush=True)
    time.sleep(60)
"""


def started(program: str, argument: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(argument)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def ended(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_file_appears_with_its_folders_and_no_other(tmp_path):
    write_text(tmp_path / "a/b/ü.txt", "grüße\n")
    assert (tmp_path / "a/b/ü.txt").read_bytes() == "grüße\n".encode()
    assert os.listdir(tmp_path / "a/b") == ["ü.txt"]


def spoil(path: Path) -> None:
    with write_whole(path) as temporary:
        temporary.write_text("new")
        raise ValueError("stop")


def test_an_error_leaves_the_old_file_and_no_litter(tmp_path):
    write_text(tmp_path / "x", "old")
    with pytest.raises(ValueError, match="stop"):
        spoil(tmp_path / "x")
    assert (tmp_path / "x").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_the_file_is_not_there_before_it_is_whole(tmp_path):
    with write_whole(tmp_path / "x") as temporary:
        temporary.write_text("half")
        assert not (tmp_path / "x").exists()
        assert temporary.parent == tmp_path, "a rename is atomic within one file system only"


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_others_may_read_it_as_the_umask_says(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "x", "")
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~mask
        assert os.umask(mask) == mask, "asking for the mask does not change it"
    finally:
        os.umask(before)


def test_a_full_disk_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "x", "old")
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "x")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.strip() == os.strerror(27)
    assert (tmp_path / "x").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_kill_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "x", "old")
    ended(started(SLOW, tmp_path / "x"))
    assert (tmp_path / "x").read_text() == "old"


def test_a_folder_is_used_by_one_process_and_free_once_it_is_killed(tmp_path):
    holder = started(HOLD, tmp_path / "new/folder")
    before = time.monotonic()
    with pytest.raises(RunFolderError) as caught, locked(tmp_path / "new/folder"):
        pass
    assert time.monotonic() - before < 1, "it does not wait"
    assert caught.value.where == tmp_path / "new/folder"
    assert "--out" in str(caught.value)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with locked(tmp_path / "new/folder"):
        pass
    with locked(tmp_path / "new/folder"):
        pass


def test_the_digest_is_of_every_byte(tmp_path):
    content = os.urandom(3_000_001)
    (tmp_path / "x").write_bytes(content)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(content).hexdigest()
