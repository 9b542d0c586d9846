"""One contender of a GPU's check: its settings, its measurements, and words for them."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import train_task
from results import target
from train import backend, in_torch, once

FULL = {"hidden": 1024, "utterances": 320, "longest": 550, "shapes": 2}
TINY = {"hidden": 16, "utterances": 16, "longest": 20, "shapes": 1}
Row = dict[str, Any]


def settings_of(task: Row, batch: int) -> Row:
    """What every contender gets; the data are written by the first check that needs them."""
    sizes = TINY if task["tiny"] else FULL
    folder = Path(task["data"]) / "utterances"
    if not (folder / "stores").exists():
        train_task.write(folder, sizes["utterances"], sizes["longest"])
    batch = min(batch, 8) if task["tiny"] else batch
    chosen = {"hidden": sizes["hidden"], "shapes": sizes["shapes"], "batch": batch}
    return {"out": task["out"], "folder": str(folder), "device": backend(), **chosen}


def in_other_libraries(settings: Row) -> dict[str, Row]:
    """PyTorch's contenders, where PyTorch is installed; the compiled one on a GPU."""
    if importlib.util.find_spec("torch") is None:
        return {}
    found = {"torch float32": in_torch("float32", False)}
    if settings["device"] == "cuda":
        found["torch bfloat16 compiled"] = in_torch("bfloat16", True)
    return found


def attempt(task: Row, around: dict[str, str] | None = None) -> Row:
    """One contender's measurements, as `tried` gives them.

    They are appended to the output folder's rows.jsonl at once: a check may run out of time.
    """
    row = tried(task, around)
    with Path(task["out"], "rows.jsonl").open("a", encoding="utf-8") as file:
        kept = {"task": task, "switches": around or {}, **row}
        file.write(json.dumps(kept, default=float) + "\n")
    return row


def tried(task: Row, around: dict[str, str] | None = None) -> Row:
    """One contender's measurements, or `error` with the end of its errors."""
    try:
        return once(task, **(around or {}))
    except SystemExit as failed:
        return {"error": str(failed)[-1500:]}


def peak_of(task: Row, precision: str) -> float | None:
    """The measured peak, if the check of it ran."""
    file = Path(task["out"], "peak.json")
    return json.loads(file.read_text())[precision] if file.is_file() else None


def described(name: str, row: Row, peak: float | None) -> str:
    """One line for people."""
    if "error" in row:
        return f"{name:26s} broke: {row['error'].splitlines()[-1]}"
    speed = row["computed"] / row["seconds"]
    share = "" if peak is None else f" ({speed / peak:.1%} of the peak)"
    milliseconds = 1e3 * row["seconds"] / row["steps"]
    parts = [
        f"{name:26s} {row['rate']:8.1f} utterances/s, {milliseconds:.1f} ms a step",
        f"{speed / 1e12:.2f} TFLOP/s{share}",
        f"first pass {row['first_pass_seconds']:.0f} s",
        f"peak memory {row['memory'] / 1e9:.2f} GB",
    ]
    return "; ".join(parts)


def judged(rows: dict[str, Row], peak: float | None, settings: Row) -> list[str]:
    """The targets of a GPU."""
    if settings["device"] != "cuda" or "error" in rows["ours bfloat16"]:
        return []
    own, batch, lines = rows["ours bfloat16"], settings["batch"], []
    for name, wanted in {"torch float32": 10.0, "torch bfloat16 compiled": 3.0}.items():
        if "rate" in rows.get(name, {}):
            ratio = own["rate"] / rows[name]["rate"]
            title = f"gpu-{batch}-against-{name.replace(' ', '-')}"
            lines.append(target(title, f"{wanted:g} times", f"{ratio:.2f}", ratio >= wanted))
    if peak is not None and batch == 64:
        share = own["computed"] / own["seconds"] / peak
        lines.append(target("gpu-64-peak", "40 % of the peak", f"{share:.1%}", share >= 0.4))
    return lines


def speeds(rows: dict[str, Row]) -> str:
    """The fastest of ours against each of PyTorch's."""
    rates = {name: row["rate"] for name, row in rows.items() if "rate" in row}
    own = {name: rate for name, rate in rates.items() if name.startswith("ours")}
    if not own:
        return "nothing of ours ran"
    best = max(own, key=lambda name: own[name])
    others = [f"x{own[best] / rate:.2f} {name}" for name, rate in rates.items() if name not in own]
    return ", ".join([f"{best} {own[best]:.1f} utterances/s", *others])
