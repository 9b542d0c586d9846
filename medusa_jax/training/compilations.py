"""How many programs this process has compiled: a padded shape or a stack that is new costs seconds, so each epoch says how many were."""

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"
_found = 0


def compilations() -> int:
    """Programs compiled, or read from the cache on disk, since this module was imported."""
    return _found


def _note(event: str, duration_secs: float, **_: str | int) -> None:
    global _found
    _found += event == _EVENT


jax.monitoring.register_event_duration_secs_listener(_note)
