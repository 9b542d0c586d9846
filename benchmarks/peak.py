"""Operations a second of one large matrix product, by precision: the peak that others stand beside.

python benchmarks/peak.py torch|xla cpu|cuda SIZE      # a JSON on the last line
"""

import json
import sys
import time
from collections.abc import Callable

TRIES = 10
PRECISIONS = ("float32", "bfloat16")


def in_torch(name: str, device: str, size: int) -> Callable[[], object]:
    """A product of PyTorch, waited for."""
    import torch

    a = torch.randn(size, size, device=device).to(getattr(torch, name))

    def product() -> None:
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()

    return product


def in_xla(name: str, device: str, size: int) -> Callable[[], object]:
    """A product of XLA on its default device, waited for; sums are float32."""
    import jax
    import jax.numpy as jnp

    a = jax.random.normal(jax.random.key(0), (size, size)).astype(name)
    run = jax.jit(lambda x: jnp.matmul(x, x, preferred_element_type=jnp.float32))
    run(a).block_until_ready()
    return lambda: run(a).block_until_ready()


def peak(product: Callable[[], object], size: int) -> float:
    """Operations a second of the fastest try."""
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        product()
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def main() -> None:
    library, device, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    make = {"torch": in_torch, "xla": in_xla}[library]
    print(json.dumps({name: peak(make(name, device, size), size) for name in PRECISIONS}))


if __name__ == "__main__":
    main()
