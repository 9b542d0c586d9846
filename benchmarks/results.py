"""Shared by the benchmarks: a contender in a fresh process, targets, the machine, the JSON."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def python(*arguments: str, **environment: str) -> dict[str, Any]:
    """The JSON that a fresh Python prints last. Raises `SystemExit` with its errors if it fails."""
    # transformers looks for nothing on the hub: benchmarks make their models
    settings = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "HF_HUB_OFFLINE": "1"}
    around = {**os.environ, **settings, **environment}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=around)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def target(name: str, wanted: str, measured: object, met: bool) -> str:
    """One line; `measured` is None where this machine cannot tell."""
    verdict = f"measured {measured}: {'met' if met else 'missed'}"
    return f"target {name}: wanted {wanted}, {'not measured' if measured is None else verdict}"


def machine(*packages: str) -> dict[str, Any]:
    """Platform, cores, and the versions of Python and of packages that the numbers depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    return {**found, "cores": len(os.sched_getaffinity(0)), **_versions(packages)}


def _versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def save(path: Path | None, environment: dict[str, Any], **results: Any) -> None:
    """Write the environment and the results as JSON, if there is a path."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"environment": environment, **results}, indent=1, default=float)
        path.write_text(text + "\n", encoding="utf-8")
