"""Another process that holds parts of a folder during a test."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_HOLD = """
import sys
from pathlib import Path
from medusa_jax.files import PartLocks
with PartLocks(Path(sys.argv[1])) as locks:
    assert all(locks.take(int(part)) for part in sys.argv[2:])
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(folder: Path, parts: Iterable[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Another process holds `parts` of `folder` until the end of the block, or until killed."""
    command = [sys.executable, "-c", _HOLD, str(folder), *map(str, parts)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.communicate()
