"""Count of the programs that this process has compiled: a padded shape or a stack that is new costs
seconds, so each epoch says how many were.
"""

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"
_SAVED = "/jax/compilation_cache/compile_time_saved_sec"
_found = 0
_saved = 0.0


def compilations() -> int:
    """Programs compiled, or read from the cache on disk, since this module was imported."""
    return _found


def seconds_saved() -> float:
    """Seconds saved since then by the cache on disk."""
    return _saved


def _note(event: str, duration_secs: float, **_: str | int) -> None:
    global _found, _saved
    _found += event == _EVENT
    _saved += duration_secs if event == _SAVED else 0.0


jax.monitoring.register_event_duration_secs_listener(_note)
