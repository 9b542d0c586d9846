"""Pretrained encoders in Flax against PyTorch: extraction, fine-tuning, the positional convolution.

    python benchmarks/backbones.py [--quick] [--only extract|tune|positions] [--out FILE]
        [--device cpu|cuda] [--compute float32|bfloat16] [--rounds 3] [--family NAME ...]

Random weights in the published shapes, the same folder for both, separate processes in turn;
ratios are PyTorch's seconds by ours, within a round. Extraction is of clips (of texts) with the
lengths of MSP-Podcast, programs compiled before the clock starts; the first pass is printed beside
it. Two free cores need about half an hour, two minutes with --quick.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import encoders
import numpy as np
from results import machine, python, save, target

WORKER = str(Path(__file__).with_name("backbones_worker.py"))
FAMILIES = ("wavlm-base-plus", "hubert-base", "whisper-base", "roberta-base", "modernbert-base")
FASTER, TUNED = 1.0, 1.3


def tasks_of(given: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    """The comparisons, by name."""
    shared = {"device": given.device, "compute": given.compute, "passes": 1 if given.quick else 3}
    found: dict[str, dict[str, Any]] = {}
    for name in given.family[: 1 if given.quick else None]:
        task = {"what": "extract", "clips": 4 if given.quick else 24, "layers": "sum_last_4"}
        model = {"folder": str(encoders.save(name, folder)), "window": "real"}
        found[f"extract {name}"] = {**shared, **task, **model}
    small = "wavlm-tiny" if given.quick else "wavlm-base-plus"
    step = {"what": "tune", "seconds": 6, "batch": 4, "remat": given.remat}
    found[f"tune {small}"] = {**shared, **step, "folder": str(encoders.save(small, folder))}
    width = 256 if given.quick else 768
    found["positions"] = {**shared, "what": "positions", "seconds": 6, "batch": 4, "width": width}
    return {name: one for name, one in found.items() if given.only in (None, one["what"])}


def measured(task: dict[str, Any], rounds: int) -> list[dict[str, Any]]:
    """Rows of both contenders, in turn."""
    rows = []
    for turn in range(rounds):
        for backend in ("torch", "flax") if turn % 2 else ("flax", "torch"):
            found = python(WORKER, json.dumps({**task, "backend": backend}))
            rows.append({"backend": backend, "round": turn, **found})
    return rows


def judged(name: str, what: str, rows: list[dict[str, Any]]) -> str:
    """Print the medians and the ratio with its spread; one line for the target."""
    by = {kind: [row for row in rows if row["backend"] == kind] for kind in ("torch", "flax")}
    other = "XLA" if what == "positions" else "PyTorch"
    for kind, label in (("torch", other), ("flax", "ours")):
        seconds, first = (np.median([row[key] for row in by[kind]]) for key in ("seconds", "first"))
        memory = max(row["peak_mb"] for row in by[kind])
        print(f"{name:26s} {label:8s} {seconds:8.3f} s (first {first:.1f} s), {memory:,.0f} MB")
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(by["torch"], by["flax"], strict=True)]
    ratio = float(np.median(ratios))
    wanted = TUNED if what == "tune" else FASTER
    text = f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return target(name.replace(" ", "-"), f"{wanted} times {other}", text, ratio >= wanted)


def main() -> None:
    """Compare, print, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny models: within two minutes")
    parser.add_argument("--only", choices=("extract", "tune", "positions"))
    parser.add_argument("--family", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--compute", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--remat", action="store_true", help="compute layers again in `tune`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    found, lines = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for name, task in tasks_of(given, Path(folder)).items():
            found[name] = measured(task, 1 if given.quick else given.rounds)
            lines.append(judged(name, task["what"], found[name]))
    print(*lines, sep="\n")
    save(given.out, machine("jax", "flax", "torch", "transformers", "medusa-jax"), rows=found)


if __name__ == "__main__":
    main()
