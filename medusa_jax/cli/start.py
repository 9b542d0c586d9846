"""The program `medusa`, restarted once with large memory pages where they must be asked for.

A training step on a CPU allocates and frees gigabytes. In pages of 4 kB that took a fifth of its
time (benchmarks/environment.py), in pages of 2 MB a twentieth. The C library reads the setting as
a process starts, so it must be in the environment before.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

TUNABLES = "GLIBC_TUNABLES"
PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def main() -> None:
    """Run `medusa` in the environment of `large_pages`."""
    wanted = large_pages(os.environ, PAGES)
    if wanted != os.environ:
        os.execve(sys.executable, sys.orig_argv, wanted)
    from medusa_jax.cli.app import main as medusa

    medusa()


def large_pages(environment: Mapping[str, str], pages: Path) -> dict[str, str]:
    """`environment` with large pages enabled in the C library, where the file `pages` needs that.

    A value set by the user is kept. Other systems lack the file, other C libraries ignore the
    variable.
    """
    try:
        on_request = "[madvise]" in pages.read_text(encoding="ascii")
    except OSError:
        on_request = False
    return {**({TUNABLES: "glibc.malloc.hugetlb=1"} if on_request else {}), **environment}
