"""The checks of benchmarks/gpu.py. Each prints lines for people, and a JSON on the last line.

    python benchmarks/gpu_checks.py NAME JSON

- `tests`: `pytest -m gpu`.
- `peak`: operations a second of a large matrix product, the better of PyTorch and XLA.
- `compile`: the first pass and a step under several options of XLA's compiler.
- `warm`: the programs that others time, compiled all at once.
- `step-16`, `step-64`: an epoch of DeepSER at h = 1024, batch 16 or 64, beside PyTorch in eager
  float32 and in bfloat16 under torch.compile.
- `switches`: that epoch with each part of `MEDUSA_TUNED` alone.
- `members`: four members under vmap, one after the other on each batch, and in four runs.
- `resume`: a run that was killed and started again against one that was not, bit for bit.
- `memory`: the peak of a training step against the plan of `medusa train --plan`.
- `backbones`: hidden states by large encoders and steps that train one, beside PyTorch.
- `trace`: a profiler trace of three steps, and the kernels that take the most time.

Timings come from benchmarks/train_ours.py and train_torch.py, each in a fresh process.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gpu_backbones import check_backbones
from gpu_resume import killed_and_resumed
from gpu_rows import (
    Row,
    attempt,
    described,
    in_other_libraries,
    judged,
    peak_of,
    settings_of,
    speeds,
    tried,
)
from gpu_trace import heaviest, newest_trace
from results import target
from train import backend, ours, peaks

ROOT = Path(__file__).parents[1]
SWITCHES = {
    "cuda": {f"tuned {part}": {"MEDUSA_TUNED": part} for part in ("attention", "norm", "products")},
    "cpu": {
        "XLA's own paths": {"MEDUSA_TUNED": "xla"},
        "XLA's own options": {"MEDUSA_BENCHMARK_OPTIONS": "{}"},
    },
}
TRITON, AUTOTUNED = "xla_gpu_enable_triton_gemm", "xla_gpu_experimental_enable_fusion_autotuner"
OPTIONS: dict[str, dict[str, Any]] = {
    "no search": {"xla_gpu_autotune_level": 0, TRITON: False, AUTOTUNED: False},
    "cuBLAS, fusions not searched": {TRITON: False, AUTOTUNED: False},
    "Triton products": {AUTOTUNED: False},
    "XLA's own": {},
}
WAYS = {
    "vmap": ours("bfloat16", 4, side_by_side=True),
    "loop": ours("bfloat16", 4, side_by_side=False),
    "one member": ours("bfloat16"),
}
Found = dict[str, Any]


def check_tests(task: Row) -> Found:
    """The tests marked `gpu`; none is no failure."""
    plain = "addopts=-ra --import-mode=importlib"  # beartype is not needed
    pytest = [sys.executable, "-m", "pytest", "-o", plain, "-p", "no:cacheprovider"]
    command = [*pytest, "-m", "gpu", "-v", "--durations=0", "tests/machines"]
    lines = [""]
    pipe, both = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=pipe, stderr=both) as running:
        for line in running.stdout or ():
            lines.append(line.rstrip())
            print(lines[-1], flush=True)  # a time-out leaves what was reached
    code = running.returncode
    return {"passed": code in (0, 5), "summary": lines[-1], "code": code}


def check_peak(task: Row) -> Found:
    """The peak that later checks stand beside, kept in the output folder."""
    found = peaks(backend(), 256 if task["tiny"] else None)
    Path(task["out"], "peak.json").write_text(json.dumps(found))
    parts = [f"{value / 1e12:.2f} TFLOP/s in {name}" for name, value in found.items()]
    return {"passed": True, "summary": ", ".join(parts), "peak": found}


def check_warm(task: Row) -> Found:
    """Compile the programs of the checks that follow, all at once: theirs are then short."""
    began = time.monotonic()
    every = [
        {**settings_of(task, batch), **own}
        for batch in (16, 64)
        for own in (ours("bfloat16"), ours("float32"))
    ]
    every += [{**settings_of(task, 16), **own} for own in WAYS.values()]
    others = in_other_libraries(every[0])
    every += [{**every[0], **own} for own in others.values() if own["compiled"]]
    with ThreadPoolExecutor(len(every)) as pool:
        rows = list(pool.map(tried, every))
    broken = [row["error"] for row in rows if "error" in row]
    print(*broken, sep="\n")
    summary = f"{len(every)} contenders in {time.monotonic() - began:.0f} s, {len(broken)} broke"
    return {"passed": not broken, "summary": summary}


def check_step(task: Row, batch: int) -> Found:
    """Every contender at one batch size. Passed if ours ran as shipped, in both precisions."""
    settings = settings_of(task, batch)
    shipped = {f"ours {name}": ours(name) for name in ("bfloat16", "float32")}
    rows = {}
    for name, own in {**shipped, **in_other_libraries(settings)}.items():
        rows[name] = attempt({**settings, **own})
        print(described(name, rows[name], peak_of(task, own["precision"])), flush=True)
    for line in judged(rows, peak_of(task, "bfloat16"), settings):
        print(line)
    passed = all("error" not in rows[name] for name in shipped)
    return {"passed": passed, "summary": speeds(rows), "rows": rows}


def check_switches(task: Row) -> Found:
    """A step as shipped and with each part tuned for CPUs alone, or XLA's own on a CPU."""
    settings, rows = settings_of(task, 16), {}
    for name, around in {"as shipped": {}, **SWITCHES[settings["device"]]}.items():
        rows[name] = attempt({**settings, **ours("bfloat16")}, around)
        print(described(name, rows[name], peak_of(task, "bfloat16")), flush=True)
    rates = [f"{name} {row['rate']:.1f}" for name, row in rows.items() if "rate" in row]
    passed = "error" not in rows["as shipped"]
    return {"passed": passed, "summary": f"utterances/s: {', '.join(rates)}", "rows": rows}


def check_compile(task: Row) -> Found:
    """The compiler's options as shipped and otherwise: seconds to the first steps, and a step's."""
    settings, rows = settings_of(task, 16), {}
    options = OPTIONS if settings["device"] == "cuda" else {"XLA's own": {}}
    for name, own in {"as shipped": None, **options}.items():
        around = {} if own is None else {"MEDUSA_BENCHMARK_OPTIONS": json.dumps(own)}
        around["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        rows[name] = attempt({**settings, **ours("bfloat16")}, around)
        print(described(name, rows[name], None), flush=True)
    passed = "error" not in rows["as shipped"]
    firsts = {
        name: f"{row['first_pass_seconds']:.0f} s" for name, row in rows.items() if "rate" in row
    }
    summary = ", ".join(f"{name} {first}" for name, first in firsts.items())
    return {"passed": passed, "summary": summary, "rows": rows}


def check_members(task: Row) -> Found:
    """Four members that share batches, in both ways, against four runs of one."""
    rows = members_of(task)
    if any("error" in row for row in rows.values()):
        return {"passed": False, "summary": "a way broke", "rows": rows}
    runs = 4 * rows["one member"]["seconds"]
    gains = {name: runs / rows[name]["seconds"] for name in ("vmap", "loop")}
    best = max(gains.values())
    print(target("gpu-group-of-4", "2.5 times cheaper than 4 runs", f"{best:.2f}", best >= 2.5))
    summary = ", ".join(f"{name} x{gain:.2f}" for name, gain in gains.items())
    return {"passed": True, "summary": f"{summary} against four runs", "rows": rows}


def members_of(task: Row) -> dict[str, Row]:
    """One member, and four in both ways; measured once for the checks that need them."""
    file = Path(task["data"]) / "members.json"
    if file.is_file():
        return dict(json.loads(file.read_text()))
    settings, rows = settings_of(task, 16), {}
    for name, own in WAYS.items():
        rows[name] = attempt({**settings, **own})
        print(described(name, rows[name], peak_of(task, "bfloat16")), flush=True)
    file.write_text(json.dumps(rows))
    return rows


def check_resume(task: Row) -> Found:
    """Equal predictions and weights after a SIGKILL in the middle of training."""
    sizes = {"hidden": 512, "layers": 2, "members": 2}
    if task["tiny"]:
        sizes = {"hidden": 16, "layers": 1, "members": 1}
    found = killed_and_resumed(Path(task["data"]), **sizes)
    if found["different"]:
        print("these files differ:", *found["different"], sep="\n  ")
    same = not found["different"] and found["compared"] > 0
    what = f"{found['compared']} files compared, {len(found['different'])} differ"
    return {"passed": same and found["killed"], "summary": what, **found}


def check_memory(task: Row) -> Found:
    """Members alone and in company. A host's memory is not comparable, so it is not judged."""
    rows, card = members_of(task), backend() == "cuda"
    shares = {
        name: row["memory"] / row["planned"] for name, row in rows.items() if "error" not in row
    }
    for name, share in shares.items():
        row = rows[name]
        print(f"{name}: peak {row['memory'] / 1e9:.2f} GB, planned {row['planned'] / 1e9:.2f} GB")
        title = f"gpu-memory-{name.replace(' ', '-')}"
        print(target(title, "at most the plan", f"{share:.2f}" if card else None, share <= 1))
    summary = ", ".join(f"{name} {share:.2f} of the plan" for name, share in shares.items())
    return {"passed": len(shares) == len(rows), "summary": summary, "shares": shares}


def check_trace(task: Row) -> Found:
    """A trace of three steps, left in the output folder as trace.json.gz."""
    folder = Path(task["data"]) / "trace"
    own = {**settings_of(task, 16), **ours("bfloat16"), "trace": str(folder)}
    row = attempt(own)
    found = newest_trace(folder)
    if "error" in row or found is None:
        return {"passed": False, "summary": row.get("error", "no trace was written")}
    Path(task["out"], "trace.json.gz").write_bytes(found.read_bytes())
    kernels = heaviest(found)
    print(*(f"{share:6.1%}  {name}" for name, share in kernels.items()), sep="\n")
    return {"passed": True, "summary": "trace.json.gz", "kernels": kernels}


CHECKS: dict[str, Callable[[Row], Found]] = {
    "tests": check_tests,
    "peak": check_peak,
    "warm": check_warm,
    "step-16": lambda task: check_step(task, 16),
    "step-64": lambda task: check_step(task, 64),
    "switches": check_switches,
    "compile": check_compile,
    "members": check_members,
    "resume": check_resume,
    "memory": check_memory,
    "backbones": check_backbones,
    "trace": check_trace,
}


def main() -> None:
    name, task = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(CHECKS[name](task), default=float))


if __name__ == "__main__":
    main()
