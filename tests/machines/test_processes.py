"""Two real processes, as SLURM would start them, train one run together: the same numbers, one set
of files, stopped and gone on.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_run import small_config, small_yaml

from medusa_jax.config.run import RunConfig
from medusa_jax.errors import ConfigError
from medusa_jax.machines.mesh import devices_of
from medusa_jax.machines.processes import joined, known_to_all, leads, least, of_the_first, several
from medusa_jax.runs.prepare import prepare
from medusa_jax.runs.run import Run
from medusa_jax.runs.train import train

CHANGES = {
    "features": {"text": {"extractor": "hashed_text", "width": 16}},
    "members": [{"id": "words", "modalities": ["text"]}],
    "training": {
        "stage1": {"epochs": 2, "learning_rate": 1e-4},
        "stage2": {"epochs": 6, "learning_rate": 1e-4},
        "patience": 20,
    },
}
ONE_DEVICE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def start(path, out, process, job):
    """`medusa train` as a process of two in a SLURM job of this number (JAX takes the port from
    it).
    """
    slurm = {
        "JOB_ID": job,
        "NTASKS": 2,
        "PROCID": process,
        "LOCALID": 0,
        "STEP_NODELIST": "localhost",
    }
    environment = {**os.environ, "XLA_FLAGS": ONE_DEVICE} | {
        f"SLURM_{name}": str(value) for name, value in slurm.items()
    }
    command = [
        sys.executable,
        "-c",
        "from medusa_jax.cli.app import main; main()",
        "train",
        str(path),
        "--out",
        str(out),
        "--distributed",
    ]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def start_two(path, out):
    job = random.SystemRandom().randrange(4096)  # a port that no other test run has
    return [start(path, out, process, job) for process in (0, 1)]


def ended(processes):
    """Exit codes, and what each said on stdout and on stderr."""
    said = [process.communicate(timeout=400) for process in processes]
    return [process.returncode for process in processes], *zip(*said, strict=True)


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """A configuration, and an output folder in which its corpus and features are ready."""
    folder = tmp_path_factory.mktemp("distributed")
    run = Run(RunConfig.model_validate(small_config(**CHANGES)), folder / "extracted")
    run.folder.mkdir(parents=True)
    return small_yaml(folder / "small.yaml", **CHANGES), run, prepare(run)


def after_an_epoch(run, processes):
    """Wait until the member has had an epoch."""
    metrics = run.member_folder(0, "words") / "metrics.jsonl"
    while not metrics.exists() or not metrics.read_text():
        assert all(process.poll() is None for process in processes), ended(processes)
        time.sleep(0.05)


@pytest.mark.slow
def test_two_processes_train_what_one_trains_also_when_one_of_them_is_stopped(extracted, tmp_path):
    path, alone, prepared = extracted
    together = Run(alone.config, tmp_path / "together")
    shutil.copytree(alone.out, together.out)
    train(prepared)  # the single process is this one

    processes = start_two(path, together.out)
    after_an_epoch(together, processes)
    # the one that writes nothing is told; both must stop, and the other one save
    processes[1].send_signal(signal.SIGTERM)
    codes, _, errors = ended(processes)
    assert codes == [75, 75], errors
    codes, out, errors = ended(start_two(path, together.out))
    assert codes == [0, 0], errors
    assert ["1 member(s) trained" in said for said in out] == [True, False], (
        "the second process keeps silent"
    )

    one, two = (each.predictions(prepared.corpus, 0, "words") for each in (alone, together))
    np.testing.assert_allclose(one.logits, two.logits, atol=1e-4)
    np.testing.assert_allclose(one.attributes, two.attributes, atol=1e-4)
    lines = [
        (each.member_folder(0, "words") / "metrics.jsonl").read_text().splitlines()
        for each in (alone, together)
    ]
    losses = [[json.loads(line)["loss"] for line in some] for some in lines]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert len(losses[0]) == 8
    assert np.ptp(losses[0]) > 1e-3, "nothing was learnt, so the comparison says little"


@pytest.mark.slow
def test_processes_that_find_nothing_prepared_say_what_to_do(tmp_path):
    codes, _, errors = ended(
        start_two(small_yaml(tmp_path / "small.yaml", **CHANGES), tmp_path / "out")
    )
    assert codes == [7, 7]
    for said in errors:
        assert "several processes cannot train a run that was never prepared" in said
        assert "medusa extract" in said


def test_a_process_that_cannot_find_the_others_says_what_to_set(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(ConfigError, match="cannot find the others") as caught, joined():
        pass
    assert "JAX_COORDINATOR_ADDRESS" in str(caught.value.hint)


def test_a_single_process_leads_and_asks_nobody():
    assert leads()
    assert not several()
    assert least(7.0) == 7
    assert of_the_first(lambda: "mine", None) == "mine"
    answers = iter([False, True])
    stop = known_to_all(lambda: next(answers), devices_of(1))
    assert [stop(), stop(wait=True)] == [False, True]
