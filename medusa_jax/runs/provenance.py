"""The origin of a run's numbers: configuration, versions, machine, digests of the data."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from medusa_jax.files import write_text
from medusa_jax.runs.run import Run
from medusa_jax.version import VERSION

_PACKAGES = (
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
    """Write `provenance.json`: the configuration's digest, `made_by`, and the digests `inputs`.

    `made_by` lists every set of versions and machine used in the folder, oldest first, so that an
    upgrade does not hide the versions that trained the members. The file is left alone if nothing
    is new.
    """
    from medusa_jax.machines.processes import leads

    if not leads():
        return
    before = known_provenance(run)
    current = {name: value for name, value in provenance(run).items() if name != "config"}
    made_by = before["made_by"] + ([] if current in before["made_by"] else [current])
    now = {"config": run.config.digest(), **before, **inputs, "made_by": made_by}
    if now != before:
        write_text(run.provenance_file, json.dumps(now, indent=1, ensure_ascii=False) + "\n")


def known_provenance(run: Run) -> dict[str, Any]:
    """The contents of `provenance.json`; an empty `made_by` if it cannot be read."""
    try:
        known: dict[str, Any] = json.loads(run.provenance_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"made_by": []}
    return known


def reused_members(run: Run) -> dict[str, str]:
    """Folders of members copied from other runs: the place in the run, and the source below `out`.

    Earlier versions called the entry `adopted`.
    """
    known = known_provenance(run)
    reused: dict[str, str] = known.get("reused") or known.get("adopted") or {}
    return reused


def provenance(run: Run) -> dict[str, object]:
    """Configuration digest, versions and machine of this process."""
    import jax

    return {
        "config": run.config.digest(),
        "python": platform.python_version(),
        "medusa-jax": VERSION,
        **{name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cores": _cores(),
        "devices": ", ".join(sorted({d.device_kind for d in jax.devices()})),
    }


def _cores() -> int | None:
    """The number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
