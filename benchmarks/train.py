"""DeepSER's training step against a plain PyTorch loop on the same utterances.

    python benchmarks/train.py [--quick] [--hidden 256] [--batch 16] [--utterances 192]
        [--longest 550] [--rounds 3] [--members 4] [--one-shape] [--out FILE]

Separate processes in turn, an epoch each. Without a GPU: PyTorch in float32, ours in float32 and in
bfloat16. With one also PyTorch in bfloat16 under torch.compile; there use `--hidden 1024
--utterances 4096`, with `--batch 16` and `--batch 64`. `--members 4` adds four seeds on one stream
of batches against four runs, `--one-shape` a run whose batches are all padded alike.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import train_task
from results import machine, python, save, target

from medusa_jax.cli.start import PAGES, large_pages

HERE = Path(__file__).parent
Rows = dict[str, list[dict[str, Any]]]
Ratios = dict[str, np.ndarray]


def backend() -> str:
    """`cpu` or `cuda`, as JAX finds it in a fresh process."""
    found = python("-c", "import jax, json; print(json.dumps({'is': jax.default_backend()}))")["is"]
    return "cpu" if found == "cpu" else "cuda"


def peaks(device: str, size: int | None = None) -> dict[str, float]:
    """Operations a second of a large matrix product, by precision: the better of both libraries."""
    side = str(size or (8192 if device == "cuda" else 2048))
    both = [python(str(HERE / "peak.py"), library, device, side) for library in ("torch", "xla")]
    return {name: max(one[name] for one in both) for name in both[0]}


def ours(precision: str, members: int = 1, **more: Any) -> dict[str, Any]:
    """The settings of one contender of this project."""
    return {"worker": "train_ours.py", "precision": precision, "members": members, **more}


def in_torch(precision: str, compiled: bool) -> dict[str, Any]:
    """The settings of one contender in PyTorch."""
    return {"worker": "train_torch.py", "precision": precision, "compiled": compiled}


def contenders(device: str, members: int, one_shape: bool) -> dict[str, dict[str, Any]]:
    """Settings of each, by name; the first is what the others are compared with."""
    found = {"torch float32": in_torch("float32", False)}
    if device == "cuda":
        found["torch bfloat16 compiled"] = in_torch("bfloat16", True)
    found |= {f"ours {name}": ours(name) for name in ("float32", "bfloat16")}
    if one_shape:
        found["ours one shape"] = ours("float32", shapes=1)
    if members > 1:
        found["ours group"] = ours("float32", members)
    return found


def once(task: dict[str, Any], **environment: str) -> dict[str, Any]:
    """One epoch of a contender in a fresh process, with the memory pages that `medusa` asks for."""
    own = task["worker"] == "train_ours.py"
    around = {**large_pages({}, PAGES), **environment} if own else environment
    row = python(str(HERE / task["worker"]), json.dumps(task), **around)
    return {**row, "rate": row["utterances"] / row["seconds"]}


def measure(given: argparse.Namespace, device: str, folder: Path) -> Rows:
    """Every round of every contender."""
    train_task.write(folder, given.utterances, given.longest)
    task = {"folder": str(folder), "device": device, "hidden": given.hidden}
    task |= {"batch": given.batch, "shapes": given.shapes}
    every = contenders(device, given.members, given.one_shape)
    rows: Rows = {name: [] for name in every}
    for _ in range(given.rounds):
        for name, own in every.items():
            rows[name].append(once({**task, **own}))
    return rows


def show(rows: Rows, peak: dict[str, float]) -> Ratios:
    """Print each contender; each one's utterances a second against the first one's, by round."""
    speeds = [f"{value / 1e9:.0f} GFLOP/s in {name}" for name, value in peak.items()]
    print(f"measured peak of matrix products: {', '.join(speeds)}")
    first = np.array([row["rate"] for row in next(iter(rows.values()))])
    ratios = {}
    for name, own in rows.items():
        ratios[name] = np.array([row["rate"] for row in own]) / first
        print(line(name, own, ratios[name], peak["bfloat16" if "bfloat16" in name else "float32"]))
    return ratios


def line(name: str, rows: list[dict[str, Any]], ratio: np.ndarray, peak: float) -> str:
    """Speed, ratio with its spread, operations, padding, memory and waiting of one contender."""
    rate = np.array([row["rate"] for row in rows])
    middle = rows[int(np.argsort(rate)[len(rate) // 2])]
    kinds = ("real", "computed")
    speeds = [f"{middle[kind] / middle['seconds'] / 1e9:.0f} {kind}" for kind in kinds]
    share = middle["computed"] / middle["seconds"] / peak
    memory = max(row["memory"] for row in rows) / 1e9
    waited = middle["waited"]
    parts = [
        f"{name:24s} {np.median(rate):8.2f} utterances/s, "
        f"x{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})",
        f"GFLOP/s {', '.join(speeds)} ({share:.0%} of the peak)",
        f"padding {middle['padding']:.1%}",
        f"peak memory {memory:.2f} GB",
    ]
    return "; ".join(parts + ([] if waited is None else [f"{waited:.1%} waiting for input"]))


def judge(
    given: argparse.Namespace, device: str, rows: Rows, ratios: Ratios, peak: dict[str, float]
) -> None:
    """The targets of both kinds of machine."""
    middle = {name: float(np.median(ratio)) for name, ratio in ratios.items()}
    plain, rounded = middle["ours float32"], middle["ours bfloat16"]
    if device == "cpu":
        busy = share(rows["ours float32"], peak["float32"])
        report("train-cpu-float32", "1.5 times PyTorch float32", plain, plain >= 1.5)
        report("train-cpu-peak", "65 % of the float32 peak", busy, busy >= 0.65)
        report("train-cpu-bfloat16", "2.5 times PyTorch float32", rounded, rounded >= 2.5)
    else:
        compiled = float(np.median(ratios["ours bfloat16"] / ratios["torch bfloat16 compiled"]))
        busy = share(rows["ours bfloat16"], peak["bfloat16"])
        report("train-gpu-eager", "10 times PyTorch float32", rounded, rounded >= 10)
        report("train-gpu-compiled", "3 times PyTorch bf16 compiled", compiled, compiled >= 3)
        if given.batch == 64:
            report("train-gpu-peak", "40 % of the bfloat16 peak at batch 64", busy, busy >= 0.4)
    memory = largest(rows["ours float32"]) / largest(rows["torch float32"])
    report("train-memory", "at most PyTorch's", memory, memory <= 1)
    judge_shapes(given, rows)
    judge_group(given, device, rows)


def judge_shapes(given: argparse.Namespace, rows: Rows) -> None:
    """Several padded shapes against one."""
    if given.one_shape:
        few, one = rows["ours float32"], rows["ours one shape"]
        faster = ratio_of(one, few)
        work = one[0]["computed"] / few[0]["computed"]
        print(
            f"{given.shapes} shapes against one: x{faster:.2f} in time, x{work:.2f} in operations"
        )


def judge_group(given: argparse.Namespace, device: str, rows: Rows) -> None:
    """Members on one stream of batches against as many runs."""
    if given.members > 1:
        group, alone = rows["ours group"], rows["ours float32"]
        cheaper = given.members * ratio_of(alone, group)
        wanted = 1.0 if device == "cpu" else 2.5
        name = f"train-group-of-{given.members}"
        report(name, f"{wanted} times cheaper than separate runs", cheaper, cheaper >= wanted)
        read = group[0]["read"] / alone[0]["read"]
        report("train-group-read", "input bytes of one run", read, read == 1)


def report(name: str, wanted: str, measured: float, met: bool) -> None:
    print(target(name, wanted, f"{measured:.2f}", met))


def share(rows: list[dict[str, Any]], peak: float) -> float:
    """The median share of the peak that the computed operations reach."""
    return float(np.median([row["computed"] / row["seconds"] for row in rows])) / peak


def largest(rows: list[dict[str, Any]]) -> float:
    return float(max(row["memory"] for row in rows))


def ratio_of(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> float:
    """The median over rounds of the seconds of `rows` against those of `others`."""
    pairs = zip(rows, others, strict=True)
    return float(np.median([one["seconds"] / other["seconds"] for one, other in pairs]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick = "a small model, 32 utterances, one shape, one round"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--utterances", type=int, default=192)
    parser.add_argument("--longest", type=int, default=550, help="frames of an utterance at most")
    parser.add_argument("--shapes", type=int, default=6)
    parser.add_argument("--one-shape", action="store_true", help="also ours with one padded shape")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    if given.quick:
        given.hidden, given.utterances, given.shapes, given.rounds = 32, 32, 1, 1
    return given


def main() -> None:
    given, device = arguments(), backend()
    peak = peaks(device)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(given, device, Path(folder))
    sizes = f"hidden {given.hidden}, batch {given.batch}, {given.utterances} utterances"
    print(f"{os.cpu_count()} cores, {device}; {sizes}")
    judge(given, device, rows, show(rows, peak), peak)
    packages = ("jax", "jaxlib", "torch", "numpy", "medusa-jax")
    environment = {**machine(*packages), "device": device}
    settings = {key: value for key, value in vars(given).items() if key != "out"}
    save(given.out, environment, settings=settings, peak=peak, rows=rows)


if __name__ == "__main__":
    main()
