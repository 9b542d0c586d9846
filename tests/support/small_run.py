"""The smallest run with every part: two members on generated speech, challenge files."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import yaml
from toy_task import MEASURED

from medusa_jax.config.run import RunConfig
from medusa_jax.config.section import merged
from medusa_jax.runs.chain import Finished, run_all
from medusa_jax.runs.folder import opened
from medusa_jax.runs.prepare import Prepared, prepare
from medusa_jax.runs.run import Run

# One shape and batches no larger than the smallest balanced subset: each step is compiled once in
# the whole test run.
SMALL: dict[str, Any] = {
    "name": "small",
    "corpus": {"source": "generated", "size": 120, "test_per_class": 5, "hold_out": 0.2},
    "features": {
        "logmel": {"extractor": "logmel", "bands": 16},
        "text": {"extractor": "hashed_text", "width": 16},
    },
    "model": {
        "hidden": 16,
        "feedforward": 16,
        "layers": 1,
        "stack": {"logmel": 16},
        "standardise": True,
    },
    "training": {
        "batch_size": 8,
        "stage1": {"epochs": 1, "learning_rate": 1e-3},
        "stage2": {"epochs": 1, "learning_rate": 3e-4},
        "shapes": 1,
    },
    "members": [
        {"id": "both", "modalities": ["logmel", "text"], "seed": 1},
        {"id": "words", "modalities": ["text"], "seed": 2},
    ],
    "ensemble": {"epochs": 3, "seeds": 2, "learning_rate": 1e-2},
    "submission": {"challenge": "interspeech2025"},
}
GENERATED = "generated-120-5-0"  # where its corpus lies, below corpora/
SPEECH_ONLY = {
    "features": {"logmel": SMALL["features"]["logmel"]},
    "members": [{"id": "speech", "modalities": ["logmel"], "seed": 3}],
}


def small_config(**changes: Any) -> dict[str, Any]:
    """The raw configuration with `changes` merged; `features` and `members` are replaced."""
    raw = merged(copy.deepcopy(SMALL), changes)
    return {**raw, **{key: changes[key] for key in ("features", "members") if key in changes}}


def small_yaml(path: Path, **changes: Any) -> Path:
    """The same as a file."""
    path.write_text(yaml.safe_dump(small_config(**changes)), encoding="utf-8")
    return path


def finish(out: Path, **changes: Any) -> tuple[Prepared, Finished]:
    """Run everything below `out`, as the command does."""
    run = Run(RunConfig.model_validate(small_config(**changes)), out)
    with opened(run):
        prepared = prepare(run)
        return prepared, run_all(prepared)


def results_of(folder: Path) -> dict[str, bytes]:
    """Every result of a run by its path, without clocks and paths."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if re.search(
            r"outputs\.parquet|safetensors|ensemble/\w+\.parquet|submission/.*csv|scores\.csv"
            r"|member\.json",
            name,
        ):
            found[name] = path.read_bytes()
        # orbax's own files hold the time of day
        if re.fullmatch(r"(best|meta|last)-\d+\.json", path.name):
            record = json.loads(path.read_text())
            found[name] = json.dumps(
                {key: record[key] for key in ("config", "step", "about")}
            ).encode()
        if path.name == "metrics.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = json.dumps(
                [{k: v for k, v in line.items() if k not in MEASURED} for line in lines]
            ).encode()
    return found
