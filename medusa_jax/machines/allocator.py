"""Memory that the C library keeps once it was freed."""

import ctypes
import sys


def return_freed() -> bool:
    """Give freed memory back to the system; False where the C library cannot.

    XLA leaves hundreds of megabytes each time it compiles a step.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return trim is not None and bool(trim(0))
