"""Compiler options of a step, beyond XLA's defaults (benchmarks/environment.py has the
measurements).
"""

from functools import lru_cache
from pathlib import Path

import jax

from medusa_jax.layers.tuning import tuned

_CPU = Path("/proc/cpuinfo")


@lru_cache(maxsize=1)
def compiler_options() -> dict[str, int] | None:
    """Vectors of 512 bits on CPUs that have them at full clock; None elsewhere.

    XLA halves them for the sake of earlier CPUs. `avx512_bf16` came with those that no longer slow
    down for them.
    """
    if (
        jax.default_backend() != "cpu"
        or not tuned("vectors")
        or not _CPU.is_file()
        or "avx512_bf16" not in _CPU.read_text(encoding="utf-8").split()
    ):
        return None
    return {"xla_cpu_prefer_vector_width": 512}
