"""One switch between code written for XLA's CPU backend and flax's and XLA's own path.

`MEDUSA_TUNED` is `auto` (tuned on a CPU, XLA's own path elsewhere), `cpu` (all tuned), `xla`
(nothing tuned), or a list of parts, as in `attention,norm`. A measurement can turn each part alone;
docs/performance.md has the ones made so far.
"""

import os

import jax

from medusa_jax.errors import ConfigError

PARTS = frozenset({"attention", "norm", "products", "vectors"})


def tuned(part: str) -> bool:
    """Tell whether this part takes the code tuned for CPUs; asked when a program is traced."""
    asked = os.environ.get("MEDUSA_TUNED", "auto")
    if asked in ("auto", ""):
        return jax.default_backend() == "cpu"
    if asked in ("cpu", "xla"):
        return asked == "cpu"
    parts = set(asked.split(","))
    if unknown := sorted(parts - PARTS):
        raise ConfigError(
            f"no part is called {unknown[0]!r}",
            where="MEDUSA_TUNED",
            hint=f"auto, cpu, xla, or a list of {', '.join(sorted(PARTS))}",
        )
    return part in parts
