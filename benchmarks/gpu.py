"""Checks on a GPU machine, each in a process of its own with its own time limit.

    python benchmarks/gpu.py --out DIR [--minutes 8] [--only NAME ...] [--tiny]

First those that time nothing, at once, one of which compiles what the others time; then the
others, the most important first, so that a short lease answers the most. `DIR/gpu.json` has the
environment and every number, written after each check, `DIR/rows.jsonl` each measurement as it
comes; a table stands at the end. A missed target
fails nothing. The exit status is 1 if a check broke: an error, a time-out, or a wrong result.
`--tiny` shrinks every check so that all run on a CPU within minutes. benchmarks/gpu_checks.py
describes the checks.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from results import machine, save

HERE = Path(__file__).parent
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "torch", "medusa-jax")
FAST_COMPILER = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
BUSY = 3  # times its limit: a tiny check may share its cores
LEAST = 15.0  # seconds: with less left, no check is started


@dataclass(frozen=True)
class Check:
    """A check of benchmarks/gpu_checks.py and the seconds that it may take.

    Those that time nothing run `together`, before the others.
    """

    name: str
    limit: float
    together: bool = False


CHECKS = (
    Check("tests", 100, together=True),
    Check("resume", 100, together=True),
    Check("warm", 105, together=True),
    Check("peak", 40),
    Check("members", 90),
    Check("memory", 30),
    Check("trace", 60),
    Check("step-16", 120),
    Check("backbones", 200),
    Check("step-64", 120),
    Check("switches", 120),
    Check("compile", 180),
)


@dataclass
class Outcome:
    """A check's end: `passed`, `failed`, `timed out` or `no time`; its lines and its numbers."""

    name: str
    status: str
    seconds: float
    lines: list[str]
    found: dict[str, Any]


def main() -> None:
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "rows.jsonl").unlink(missing_ok=True)
    environment = {**machine(*PACKAGES), "cards": cards()}
    left_out = {"step-64", "warm"} if given.tiny else set()  # of no use to tiny batches
    names = set(given.only or [check.name for check in CHECKS]) - left_out
    chosen = [check for check in CHECKS if check.name in names]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        task = {"out": str(given.out.resolve()), "data": folder, "tiny": given.tiny}

        def checked(check: Check) -> None:
            left = 60 * given.minutes - (time.monotonic() - began)
            outcomes.append(run(check, task, left))
            print(shown(outcomes[-1]), flush=True)
            rows = [asdict(one) for one in outcomes]
            save(given.out / "gpu.json", environment, tiny=given.tiny, checks=rows)

        with ThreadPoolExecutor() as pool:
            list(pool.map(checked, (check for check in chosen if check.together)))
        for check in chosen:
            if not check.together:
                checked(check)
    print(table(outcomes))
    sys.exit(any(one.status in ("failed", "timed out") for one in outcomes))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [check.name for check in CHECKS]
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.json and the trace")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all checks together")
    parser.add_argument("--only", nargs="+", choices=names, help="these checks alone")
    parser.add_argument("--tiny", action="store_true", help="shrunk, for a CPU")
    return parser.parse_args()


def run(check: Check, task: dict[str, Any], left: float) -> Outcome:
    """One check in a process group of its own, killed as a whole at its limit."""
    if left < LEAST:
        return Outcome(check.name, "no time", 0.0, [], {})
    command = [sys.executable, str(HERE / "gpu_checks.py"), check.name, json.dumps(task)]
    limit = min(check.limit * (BUSY if task["tiny"] else 1), left)
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=around(task),
        start_new_session=True,
    )
    late, output = False, ""
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        late = True
    finally:  # also when this process is stopped
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
    return outcome(check.name, process.returncode, output, late, time.monotonic() - began)


def outcome(name: str, code: int, output: str, late: bool, seconds: float) -> Outcome:
    """Read a check's output: its last line is a JSON unless it broke."""
    lines = output.splitlines()
    if late:
        return Outcome(name, "timed out", seconds, lines[-20:], {})
    if code:
        return Outcome(name, "failed", seconds, lines[-40:], {})
    found = json.loads(lines[-1])
    return Outcome(name, "passed" if found["passed"] else "failed", seconds, lines[:-1], found)


def around(task: dict[str, Any]) -> dict[str, str]:
    """The environment of a check: the project importable, memory on demand, programs kept.

    A program that an earlier process compiled is read again: a first pass is then short. Tiny
    checks compile fast and run slow.
    """
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    own = {"PYTHONPATH": path, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    own["JAX_COMPILATION_CACHE_DIR"] = str(Path(task["data"], "compiled"))
    own["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return {**os.environ, **own, **({"XLA_FLAGS": FAST_COMPILER} if task["tiny"] else {})}


def cards() -> list[str]:
    """Name, memory and driver of every NVIDIA card."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def shown(one: Outcome) -> str:
    """A check's head and lines."""
    head = f"== {one.name}: {one.status} in {one.seconds:.0f} s"
    return "\n".join([head, *(f"   {line}" for line in one.lines)])


def table(outcomes: list[Outcome]) -> str:
    """One row per check."""
    rows = ["", f"{'check':<10}{'status':<12}{'seconds':>8}  result"]
    for one in outcomes:
        summary = one.found.get("summary", "")
        rows.append(f"{one.name:<10}{one.status:<12}{one.seconds:>8.0f}  {summary}")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
