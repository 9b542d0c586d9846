"""DeepSER's training step against a plain PyTorch loop on the same utterances. Separate processes in turn, an epoch each.

    python benchmarks/train.py [--quick] [--hidden 256] [--batch 16] [--utterances 192] [--longest 550]
        [--rounds 3] [--members 4] [--one-shape] [--out FILE]

Without a GPU: PyTorch in float32, ours in float32 and in bfloat16. With one also PyTorch in bfloat16 under torch.compile; there use
`--hidden 1024 --utterances 4096`, with `--batch 16` and `--batch 64`. `--members 4` adds four seeds on one stream of batches against four runs,
`--one-shape` a run whose batches are all padded alike.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import train_task

from medusa_jax.cli.start import PAGES, large_pages
from medusa_jax.files import write_text

HERE = Path(__file__).parent
Rows = dict[str, list[dict[str, Any]]]
PEAK = """
import json, sys, time, torch
found, device = {}, sys.argv[1]
for name in ("float32", "bfloat16"):
    a, times = torch.randn(N, N, device=device).to(getattr(torch, name)), []
    for _ in range(10):
        began = time.perf_counter(); a @ a
        if device == "cuda": torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    found[name] = 2 * N**3 / min(times)
print(json.dumps(found))
"""
PEAK_XLA = """
import json, time, jax, jax.numpy as jnp
found, product = {}, jax.jit(lambda a: jnp.matmul(a, a, preferred_element_type=jnp.float32))
for name in ("float32", "bfloat16"):
    a, times = jax.random.normal(jax.random.key(0), (N, N)).astype(name), []
    for _ in range(10):
        began = time.perf_counter(); product(a).block_until_ready(); times.append(time.perf_counter() - began)
    found[name] = 2 * N**3 / min(times)
print(json.dumps(found))
"""


def python(*arguments: str, **environment: str) -> dict[str, Any]:
    """What a fresh Python prints last."""
    around = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", **environment}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=around)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def peaks(device: str) -> dict[str, float]:
    """Operations a second of one large product of matrices here, by precision: the better of PyTorch's and XLA's."""
    size = 8192 if device == "cuda" else 2048
    both = [python("-c", f"N = {size}\n{code}", device) for code in (PEAK, PEAK_XLA)]
    return {name: max(one[name] for one in both) for name in both[0]}


def contenders(device: str, members: int, one_shape: bool) -> dict[str, dict[str, Any]]:
    """Settings of each, by name; the first is what the others are compared with."""
    found: dict[str, dict[str, Any]] = {
        "torch float32": {"worker": "train_torch.py", "precision": "float32", "compiled": False}
    }
    if device == "cuda":
        found["torch bfloat16 compiled"] = {
            "worker": "train_torch.py",
            "precision": "bfloat16",
            "compiled": True,
        }
    found |= {
        f"ours {name}": {"worker": "train_ours.py", "precision": name, "members": 1}
        for name in ("float32", "bfloat16")
    }
    if one_shape:
        found["ours one shape"] = {
            "worker": "train_ours.py",
            "precision": "float32",
            "members": 1,
            "shapes": 1,
        }
    if members > 1:
        found["ours group"] = {
            "worker": "train_ours.py",
            "precision": "float32",
            "members": members,
        }
    return found


def measure(given: argparse.Namespace, device: str, folder: Path) -> Rows:
    """Every round of every contender."""
    train_task.write(folder, given.utterances, given.longest)
    task = {
        "folder": str(folder),
        "device": device,
        "hidden": given.hidden,
        "batch": given.batch,
        "shapes": given.shapes,
    }
    rows: Rows = {name: [] for name in contenders(device, given.members, given.one_shape)}
    for _ in range(given.rounds):
        for name, own in contenders(device, given.members, given.one_shape).items():
            around = (
                large_pages({}, PAGES) if own["worker"] == "train_ours.py" else {}
            )  # as the command `medusa` sets it for itself
            row = python(str(HERE / own["worker"]), json.dumps({**task, **own}), **around)
            row["rate"] = row["utterances"] / row["seconds"]
            rows[name].append(row)
    return rows


def tell(rows: Rows, peak: dict[str, float]) -> dict[str, np.ndarray]:
    """Print what was measured; the ratio of each contender's utterances a second to the first one's, a round each."""
    print(
        "measured peak of matrix products: "
        + ", ".join(f"{value / 1e9:.0f} GFLOP/s in {name}" for name, value in peak.items())
    )
    first = np.array([row["rate"] for row in next(iter(rows.values()))])
    ratios = {}
    for name, own in rows.items():
        rate = np.array([row["rate"] for row in own])
        middle = own[int(np.argsort(rate)[len(rate) // 2])]
        speeds = [
            f"{middle[kind] / middle['seconds'] / 1e9:.0f} {kind}" for kind in ("real", "computed")
        ]
        share = (
            middle["computed"]
            / middle["seconds"]
            / peak["bfloat16" if "bfloat16" in name else "float32"]
        )
        ratios[name] = rate / first
        spread = (
            f"x{np.median(ratios[name]):.2f} ({ratios[name].min():.2f} to {ratios[name].max():.2f})"
        )
        waited = (
            ""
            if middle["waited"] is None
            else f", {middle['waited']:.1%} of the time waiting for input"
        )
        print(
            f"{name:24s} {np.median(rate):8.2f} utterances/s, {spread}; GFLOP/s {', '.join(speeds)} ({share:.0%} of the peak); "
            f"padding {middle['padding']:.1%}; peak memory {max(row['memory'] for row in own) / 1e9:.2f} GB{waited}"
        )
    return ratios


def target(name: str, wanted: str, measured: float | None, met: bool) -> None:
    """One line; `None`: this machine cannot tell."""
    print(
        f"target {name}: wanted {wanted}, "
        + (
            "not measured"
            if measured is None
            else f"measured {measured:.2f}: {'met' if met else 'missed'}"
        )
    )


def judge(
    given: argparse.Namespace,
    device: str,
    rows: Rows,
    ratios: dict[str, np.ndarray],
    peak: dict[str, float],
) -> None:
    """The targets of both kinds of machine."""

    def share(name: str, precision: str) -> float:
        return (
            float(np.median([row["computed"] / row["seconds"] for row in rows[name]]))
            / peak[precision]
        )

    middle = {name: float(np.median(ratio)) for name, ratio in ratios.items()}
    plain, rounded, cpu = middle["ours float32"], middle["ours bfloat16"], device == "cpu"
    memory = max(row["memory"] for row in rows["ours float32"]) / max(
        row["memory"] for row in rows["torch float32"]
    )
    busy = share("ours float32", "float32")
    target("train-cpu-float32", "1.5 times PyTorch float32", plain if cpu else None, plain >= 1.5)
    target("train-cpu-peak", "65 % of the float32 peak", busy if cpu else None, busy >= 0.65)
    target(
        "train-cpu-bfloat16", "2.5 times PyTorch float32", rounded if cpu else None, rounded >= 2.5
    )
    target("train-memory", "at most PyTorch's", memory, memory <= 1)
    compiled = (
        None
        if cpu
        else float(np.median(ratios["ours bfloat16"] / ratios["torch bfloat16 compiled"]))
    )
    busy = share("ours bfloat16", "bfloat16")
    target("train-gpu-eager", "10 times PyTorch float32", None if cpu else rounded, rounded >= 10)
    target(
        "train-gpu-compiled", "3 times PyTorch bfloat16 compiled", compiled, (compiled or 0) >= 3
    )
    target(
        "train-gpu-peak",
        "40 % of the bfloat16 peak at batch 64",
        busy if not cpu and given.batch == 64 else None,
        busy >= 0.4,
    )
    if given.one_shape:
        few, one = rows["ours float32"], rows["ours one shape"]
        faster = float(
            np.median([b["seconds"] / a["seconds"] for a, b in zip(few, one, strict=True)])
        )
        print(
            f"{given.shapes} shapes against one: x{faster:.2f} in time, x{one[0]['computed'] / few[0]['computed']:.2f} in operations"
        )
    if given.members > 1:
        group, alone = rows["ours group"], rows["ours float32"]
        cheaper = float(
            np.median(
                [
                    given.members * one["seconds"] / many["seconds"]
                    for one, many in zip(alone, group, strict=True)
                ]
            )
        )
        wanted = 1.0 if cpu else 2.5
        target(
            f"train-group-of-{given.members}",
            f"{wanted} times cheaper than separate runs",
            cheaper,
            cheaper >= wanted,
        )
        read = group[0]["read"] / alone[0]["read"]
        target("train-group-read", "input bytes of one run", read, read == 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a small model, 32 utterances, one shape, one round"
    )
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--utterances", type=int, default=192)
    parser.add_argument(
        "--longest", type=int, default=550, help="frames of speech that an utterance has at most"
    )
    parser.add_argument("--shapes", type=int, default=6)
    parser.add_argument(
        "--one-shape",
        action="store_true",
        help="also ours with every batch padded to the longest utterance of all",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    if given.quick:
        given.hidden, given.utterances, given.shapes, given.rounds = 32, 32, 1, 1
    device = python(
        "-c",
        "import json, jax; print(json.dumps({'is': 'cpu' if jax.default_backend() == 'cpu' else 'cuda'}))",
    )["is"]
    peak = peaks(device)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(given, device, Path(folder))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {device}; hidden {given.hidden}, batch {given.batch}, {given.utterances} utterances"
    )
    judge(given, device, rows, tell(rows, peak), peak)
    if given.out:
        versions = {
            name: version(name) for name in ("jax", "jaxlib", "torch", "numpy", "medusa-jax")
        }
        machine = {
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "device": device,
            **versions,
        }
        settings = {key: value for key, value in vars(given).items() if key != "out"}
        write_text(
            given.out,
            json.dumps(
                {"environment": machine, "settings": settings, "peak": peak, "rows": rows}, indent=1
            )
            + "\n",
        )


if __name__ == "__main__":
    main()
