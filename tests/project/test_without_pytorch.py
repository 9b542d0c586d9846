"""Where PyTorch is not installed, a run goes from audio to a submission, pretrained models too."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_run import small_yaml

HIDING = Path(__file__).parents[1] / "support/without_torch"
"""On PYTHONPATH: PyTorch is not found."""


def without_pytorch(*arguments: object) -> "subprocess.CompletedProcess[str]":
    paths = [str(HIDING), *(path or os.getcwd() for path in sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("XLA_FLAGS", None)  # compiled well: pretrained models are large
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_pytorch_is_hidden() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: nothing to hide")
    program = "import transformers; print(transformers.utils.is_torch_available()); import torch"
    done = without_pytorch("-c", program)
    assert done.stdout == "False\n"
    assert "No module named 'torch'" in done.stderr


@pytest.fixture
def models() -> dict[str, str]:
    """Folders of published models by name."""
    root = Path(os.environ.get("MEDUSA_TEST_MODELS", ""))
    for name in ("whisper-tiny.en", "minilm"):
        if not (root / name / "config.json").is_file():
            pytest.skip(f"MEDUSA_TEST_MODELS has no {name}")
    return {name: str(root / name) for name in ("whisper-tiny.en", "minilm")}


@pytest.mark.slow
def test_a_run_goes_from_audio_to_a_submission(models: dict[str, str], tmp_path: Path) -> None:
    whisper = {"extractor": "huggingface", "model": models["whisper-tiny.en"], "window": "real"}
    words = {"extractor": "huggingface", "model": models["minilm"]}
    changes: dict[str, Any] = {
        "corpus": {"size": 100},
        "transcription": {"model": models["whisper-tiny.en"], "max_tokens": 8},
        "features": {"speech": whisper, "words": words},
        "members": [{"id": "both", "modalities": ["speech", "words"], "seed": 1}],
        "model": {"stack": {}},
    }
    path = small_yaml(tmp_path / "pretrained.yaml", **changes)
    program = "from medusa_jax.cli.app import main; main()"
    done = without_pytorch("-c", program, "run", path, "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = (tmp_path / "runs").glob("small-*")
    (file,) = run.glob("submission/*-categorical.csv")
    assert file.is_file()
    for store in (tmp_path / "runs").glob("*s/*/shard-00000.json"):
        made_with = json.loads(store.read_text())["made_with"]
        assert "jax" in made_with
        assert "torch" not in made_with
    assert "PyTorch" not in done.stderr, "transformers does not say that it misses it"
