"""Compiler options of a step, beyond XLA's defaults: measured by benchmarks/environment.py and
benchmarks/gpu.py.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import jax

from medusa_jax.layers.tuning import tuned

_CPU = Path("/proc/cpuinfo")
_GPU = {"xla_gpu_enable_triton_gemm": False}


@lru_cache(maxsize=1)
def compiler_options() -> dict[str, Any] | None:
    """On a GPU, products by cuBLAS alone: XLA would compile dozens of Triton kernels for each
    product and time them. On CPUs that have vectors of 512 bits at full clock, these; else None.

    XLA halves vectors for the sake of earlier CPUs. `avx512_bf16` came with those that no longer
    slow down for them.
    """
    if jax.default_backend() == "gpu":
        return _GPU
    if (
        jax.default_backend() != "cpu"
        or not tuned("vectors")
        or not _CPU.is_file()
        or "avx512_bf16" not in _CPU.read_text(encoding="utf-8").split()
    ):
        return None
    return {"xla_cpu_prefer_vector_width": 512}
