"""What made a run: configuration, versions, machine, digests of the data."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from medusa_jax.files import write_text
from medusa_jax.runs.run import Run

_PACKAGES = (
    "medusa-jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "datasets",
    "transformers",
    "numpy",
    "pandas",
    "scikit-learn",
)


def keep_provenance(run: Run, **inputs: object) -> None:
    """Write `provenance.json`: the configuration's digest, the digests `inputs` of what was read, and `made_by`.

    `made_by` lists every set of versions and machine that worked in the folder, the first one first: a later upgrade does
    not hide what trained the members. A run that has nothing new to say leaves the file alone.
    """
    from medusa_jax.machines.processes import leads

    path = run.folder / "provenance.json"
    if not leads():
        return
    before = known_provenance(run)
    us = {name: value for name, value in provenance(run).items() if name != "config"}
    made_by = before["made_by"] + ([] if us in before["made_by"] else [us])
    now = {"config": run.config.digest(), **before, **inputs, "made_by": made_by}
    if now != before:
        write_text(path, json.dumps(now, indent=1, ensure_ascii=False) + "\n")


def known_provenance(run: Run) -> dict[str, Any]:
    """What `provenance.json` says so far."""
    try:
        known: dict[str, Any] = json.loads(
            (run.folder / "provenance.json").read_text(encoding="utf-8")
        )
    except (OSError, ValueError):
        return {"made_by": []}
    return known


def provenance(run: Run) -> dict[str, object]:
    """What made the numbers: configuration, versions, machine."""
    import jax

    return {
        "config": run.config.digest(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "devices": ", ".join(sorted({d.device_kind for d in jax.devices()})),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
