"""A small trained system in a folder of its own, made once for a file of tests."""

from pathlib import Path

from small_run import finish

from medusa_jax.inference.system import export, open_system
from medusa_jax.runs.prepare import Prepared


def small_system(folder: Path, **changes) -> tuple[Prepared, Path]:
    """The run below `folder`, and its exported system."""
    prepared, _ = finish(folder / "runs", submission=None, **changes)
    return prepared, export(open_system(prepared.run.folder), folder / "system")
