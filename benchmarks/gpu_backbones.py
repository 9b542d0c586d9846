"""Large encoders in Flax on a card: hidden states of clips, and fine-tuning steps, beside PyTorch.

`check_backbones` is a check of benchmarks/gpu.py; the contenders are those of
benchmarks/backbones_worker.py.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from backbones_worker import clips_of
from encoders import flops, save
from gpu_rows import Row, peak_of
from results import python, target
from train import backend

WORKER = str(Path(__file__).with_name("backbones_worker.py"))
SHARE = 0.4  # of the measured peak
CLIPS = 128


def check_backbones(task: Row) -> dict[str, Any]:
    """Extraction by WavLM Large and Whisper large, then a step that trains WavLM Large."""
    tiny = task["tiny"]
    device = "cpu" if tiny else backend()
    shared = {"device": device, "compute": "bfloat16", "passes": 1 if tiny else 2}
    shared |= {"window": "real", "layers": "sum_last_4", "clips": 3 if tiny else CLIPS}
    rows: dict[str, Row] = {}
    for name in ("wavlm-tiny",) if tiny else ("wavlm-large", "whisper-large-v3"):
        folder = str(save(name, Path(task["data"])))
        for kind in ("flax",) if tiny else ("flax", "torch"):
            own = {**shared, "what": "extract", "backend": kind, "folder": folder}
            rows[f"extract {name} {kind}"] = told(own, name, task)
    name = "wavlm-tiny" if tiny else "wavlm-large"
    step = {"what": "tune", "seconds": 1 if tiny else 6, "batch": 2 if tiny else 16, "remat": True}
    folder = str(save(name, Path(task["data"])))
    for kind in ("flax",) if tiny else ("flax", "torch"):
        row = {**shared, **step, "backend": kind, "folder": folder}
        rows[f"tune {name} {kind}"] = told(row, name, task)
    broken = [name for name, row in rows.items() if "error" in row]
    parts = [f"{name} {row['seconds']:.2f} s" for name, row in rows.items() if "seconds" in row]
    return {"passed": not broken, "summary": ", ".join(parts), "rows": rows}


def told(own: dict[str, Any], name: str, task: Row) -> Row:
    """A contender's row, printed with its share of the peak and hours of audio an hour."""
    title = f"{own['what']} {name} {own['backend']}"
    try:
        row: Row = python(WORKER, json.dumps(own))
    except SystemExit as error:
        print(f"{title}: {str(error).splitlines()[-1]}", flush=True)
        return {"error": str(error)[-2000:]}
    print(f"{title}: {row['seconds']:.3f} s, first {row['first']:.1f} s", flush=True)
    if own["what"] != "extract":
        return row
    seconds = [len(wave_n) / 16_000 for wave_n in clips_of(own["clips"])]
    row["hours_an_hour"] = sum(seconds) / row["seconds"]
    print(f"{title}: {row['hours_an_hour']:.0f} hours of audio an hour", flush=True)
    peak = peak_of(task, "bfloat16")
    if peak and own["backend"] == "flax":
        operations = flops(name, float(np.mean(seconds)), window="real") * len(seconds)
        share = operations / row["seconds"] / peak
        print(target(f"gpu-{name}", f"{SHARE:.0%} of the peak", f"{share:.0%}", share >= SHARE))
    return row
