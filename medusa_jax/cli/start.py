"""The program `medusa`: started once more where the memory that it will need can be had in large pages.

A training step on a CPU asks for gigabytes and gives them back. Handed out in pages of 4 kB, that took a fifth of its time
(benchmarks/environment.py); in pages of 2 MB a twentieth. The C library decides as a process starts, so it must be told before.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

TUNABLES = "GLIBC_TUNABLES"
PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def main() -> None:
    """`medusa`, in an environment as `large_pages` wants it."""
    wanted = large_pages(os.environ, PAGES)
    if wanted != os.environ:
        os.execve(sys.executable, sys.orig_argv, wanted)
    from medusa_jax.cli.app import main as medusa

    medusa()


def large_pages(environment: Mapping[str, str], pages: Path) -> dict[str, str]:
    """`environment` with the C library told to ask for large pages, where `pages` says that one has to ask.

    What the user has set stays. Other systems and C libraries have no such file or do not look at the variable.
    """
    try:
        asked = "[madvise]" in pages.read_text(encoding="ascii")
    except OSError:
        asked = False
    return {**({TUNABLES: "glibc.malloc.hugetlb=1"} if asked else {}), **environment}
