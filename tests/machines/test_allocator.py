"""Freed memory goes back to the system."""

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest

from medusa_jax.machines.allocator import return_freed


def resident():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and glibc")
def test_what_was_freed_is_returned():
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("another C library than glibc")
    pieces = [np.ones(60_000, np.uint8) for _ in range(4000)]  # too small to be mapped singly
    kept = pieces[-1]
    del pieces
    before = resident()
    return_freed()
    assert resident() < before
    assert kept.all()
    return_freed()
