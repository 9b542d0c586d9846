"""A run that is killed and started again, against one that is not: for benchmarks/gpu.py."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

MEDUSA = "from medusa_jax.cli.start import main; main()"
RESULTS = ("*.parquet", "*.safetensors")  # below members/: predictions and weights
WAIT = 100.0  # seconds for the first save


def config_of(hidden: int, layers: int, members: int) -> dict[str, Any]:
    """A run of members that train together for three epochs."""
    return {
        "name": "resume",
        "corpus": {"source": "generated", "size": 120, "test_per_class": 5, "hold_out": 0.2},
        "features": {"text": {"extractor": "hashed_text", "width": 32}},
        "model": {"hidden": hidden, "feedforward": 2 * hidden, "layers": layers},
        "training": {
            "batch_size": 8,
            "shapes": 1,
            "stage1": {"epochs": 2, "learning_rate": 1e-3},
            "stage2": {"epochs": 1, "learning_rate": 3e-4},
        },
        "members": [
            {"id": f"m{seed}", "modalities": ["text"], "seed": seed} for seed in range(members)
        ],
        "ensemble": {"epochs": 1, "seeds": 1},
    }


def medusa(command: str, config: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """Start the command `medusa`."""
    arguments = [sys.executable, "-c", MEDUSA, command, str(config), "--out", str(out), *more]
    return subprocess.Popen(
        arguments, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a command. Raises `RuntimeError` with its last lines if it fails."""
    began = time.monotonic()
    output, _ = process.communicate()
    command = process.args[3]  # type: ignore[index]
    print(f"medusa {command}: {time.monotonic() - began:.0f} s", flush=True)
    if process.returncode:
        raise RuntimeError(f"{command} failed:\n{output[-2000:]}")


def killed_and_resumed(folder: Path, **sizes: int) -> dict[str, Any]:
    """Files compared, those that differ, and whether the second run was killed while it trained.

    `sizes` are those of `config_of`. The second run is saved after every step.
    """
    config = folder / "resume.yaml"
    config.write_text(yaml.safe_dump(config_of(**sizes)), encoding="utf-8")
    plain, killed = folder / "plain", folder / "killed"
    finish(medusa("extract", config, plain))
    shutil.copytree(plain, killed)
    finish(medusa("train", config, plain))
    if (plain / "compiled").is_dir():  # the programs are the same
        shutil.copytree(plain / "compiled", killed / "compiled")
    often = ("--set", "engine.save_minutes=0")
    was_killed = kill_after_a_save(medusa("train", config, killed, *often), killed)
    finish(medusa("train", config, killed))
    wanted, found = results_below(plain), results_below(killed)
    different = sorted(name for name in wanted if found.get(name) != wanted[name])
    return {"compared": len(wanted), "different": different, "killed": was_killed}


def kill_after_a_save(process: subprocess.Popen[str], out: Path) -> bool:
    """Kill the process with SIGKILL some steps after its first save; False if it ended before."""
    deadline = time.monotonic() + WAIT
    while process.poll() is None and time.monotonic() < deadline:
        if saved_below(out):
            time.sleep(1.0)
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def saved_below(out: Path) -> bool:
    """Whether a group of members has been saved."""
    try:
        return any(out.glob("*/groups/*/last-*.json"))
    except FileNotFoundError:  # a folder went while it was listed
        return False


def results_below(out: Path) -> dict[str, str]:
    """SHA-256 of each member's results, by path."""
    found = {}
    for pattern in RESULTS:
        for path in sorted(out.glob(f"*/members/**/{pattern}")):
            found[str(path.relative_to(out))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
