"""`medusa` stopped, killed, started twice, or on a full disk ends in the same files."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_run import SMALL, results_of, small_yaml

from medusa_jax.corpus.table import Corpus

LONG = {
    "stage1": {"epochs": 4, "learning_rate": 1e-3},
    "stage2": {"epochs": 4, "learning_rate": 3e-4},
}


def start(*arguments: object, prelude: str = "") -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = ["medusa", *map(str, arguments)]
    program = f"""
import sys
sys.argv = {command!r}
{prelude}
from medusa_jax.cli.app import main
main()
"""
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(there, process: subprocess.Popen[str]) -> None:
    """Wait for a sign of progress."""
    limit = time.monotonic() + 240
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_a_full_disk_is_reported_and_nothing_half_written_is_left(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    process = start(
        "extract", small_yaml(tmp_path / "s.yaml"), "--out", tmp_path / "out", prelude=limit
    )
    _, err = process.communicate()
    assert process.returncode == 3
    assert "cannot write the generated corpus: File too large" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out/corpora/generated-120-5-0").exists()
    assert not list((tmp_path / "out").rglob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_outside_training_is_no_traceback(tmp_path, number):
    process = start(
        "extract", small_yaml(tmp_path / "s.yaml", corpus={"size": 3000}), "--out", tmp_path / "out"
    )
    until(lambda: list((tmp_path / "out").glob("corpora/.*/corpus/Audios/*9.wav")), process)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 75, err
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert not list((tmp_path / "out/corpora").iterdir()), "a corpus is whole or not there"


@pytest.mark.slow
def test_stopped_killed_and_doubled_runs_end_as_one_never_disturbed(tmp_path):
    """SIGTERM and two SIGKILLs at different steps, with a second process meanwhile."""
    path = small_yaml(tmp_path / "s.yaml", training=LONG, ensemble={"epochs": 30})
    reference = start("run", path, "--out", tmp_path / "a")
    _, err = reference.communicate()
    assert reference.returncode == 0, err
    (calm,) = (tmp_path / "a").glob("small-*")
    run = tmp_path / "b" / calm.name
    (tmp_path / "b").mkdir()
    shutil.copytree(tmp_path / "a/compiled", tmp_path / "b/compiled")

    def lines(member: str) -> int:
        metrics = run / "members" / member / "metrics.jsonl"
        return len(metrics.read_text().splitlines()) if metrics.exists() else 0

    rng = np.random.default_rng(0)
    moments = [
        (lambda: run.joinpath("corpus.parquet").exists(), signal.SIGKILL),
        (lambda: lines("both") >= 2, signal.SIGTERM),
        (lambda: lines("words") >= 3, signal.SIGKILL),
    ]
    for turn, (there, number) in enumerate(moments):
        process = start("run", path, "--out", tmp_path / "b")
        until(there, process)
        if turn == 0:
            second = start("train", path, "--out", tmp_path / "b")
            assert "another process is working in this folder" in second.communicate()[1]
            assert second.returncode == 7
        time.sleep(float(rng.uniform(0, 0.1)))
        process.send_signal(number)
        _, err = process.communicate()
        assert process.returncode in ((75, 0) if number == signal.SIGTERM else (-9, 0)), err
    last = start("run", path, "--out", tmp_path / "b")
    _, err = last.communicate()
    assert last.returncode == 0, err
    disturbed = results_of(run)
    for name, content in results_of(calm).items():
        assert disturbed[name] == content, name
    assert sorted(disturbed) == sorted(results_of(calm))
    assert (
        json.loads((run / "provenance.json").read_text())["corpus"]
        == Corpus.load(run / "corpus.parquet").digest()
    )


@pytest.mark.slow
def test_a_stopped_ablation_goes_on_by_the_same_command_and_ends_as_one_that_was_not(tmp_path):
    """SIGTERM in training, SIGKILL later; the tables equal those of an ablation never stopped."""
    members = [
        {"id": "one", "modalities": ["text"], "seed": 1},
        {"id": "two", "modalities": ["text"], "seed": 2},
    ]
    words = {"features": {"text": SMALL["features"]["text"]}, "members": members}
    path = small_yaml(
        tmp_path / "s.yaml", **words, training={"stage1": {"epochs": 4}, "stage2": {"epochs": 4}}
    )

    def ablate(out: Path) -> subprocess.Popen[str]:
        return start(
            "ablate", path, "--out", out, "--seeds", 2, "--rows", "no_mixup", "--members", "one"
        )

    def tables(out: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in out.glob("small-*/studies/*")}

    calm = ablate(tmp_path / "a")
    _, err = calm.communicate()
    assert calm.returncode == 0, err
    shutil.copytree(tmp_path / "a/compiled", tmp_path / "b/compiled")
    for epochs, number in ((2, signal.SIGTERM), (5, signal.SIGKILL)):
        process = ablate(tmp_path / "b")
        until(
            lambda n=epochs: any(
                len(file.read_text().splitlines()) >= n
                for file in tmp_path.glob("b/*/members/*/metrics.jsonl")
            ),
            process,
        )
        process.send_signal(number)
        _, err = process.communicate()
        assert process.returncode == (75 if number == signal.SIGTERM else -9), err
        assert "Traceback" not in err
        assert not tables(tmp_path / "b"), "no table before its end"
    last = ablate(tmp_path / "b")
    _, err = last.communicate()
    assert last.returncode == 0, err
    assert tables(tmp_path / "b") == tables(tmp_path / "a")
    assert len(tables(tmp_path / "a")) == 6
