"""A JAX profiler trace: where it lies, and what takes the most time on the device."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

SHOWN = 15
WAITING = "wait for completion"  # of operations that are events of their own


def newest_trace(folder: Path) -> Path | None:
    """The newest Perfetto trace below a folder."""
    found = sorted(folder.rglob("perfetto_trace.json.gz"))
    return found[-1] if found else None


def heaviest(trace: Path) -> dict[str, float]:
    """The events that take the most time, with their share: of the GPU's kernels if there are any.

    Without a GPU, XLA's operations on the host.
    """
    events = json.loads(gzip.decompress(trace.read_bytes()))
    events = events["traceEvents"] if isinstance(events, dict) else events
    device = _device_processes(events)
    times: Counter[str] = Counter()
    for event in events:
        if event.get("ph") == "X" and (event["pid"] in device if device else "args" in event):
            times[event["name"]] += 0 if WAITING in event["name"] else event.get("dur", 0)
    total = sum(times.values()) or 1
    return {name: taken / total for name, taken in times.most_common(SHOWN)}


def _device_processes(events: list[dict[str, Any]]) -> set[int]:
    """The ids under which the trace keeps GPUs."""
    named = [one for one in events if one.get("name") == "process_name"]
    return {one["pid"] for one in named if "GPU" in one.get("args", {}).get("name", "")}
