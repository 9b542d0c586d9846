"""The command from the outside: every mistake is told in words (what, where, how to mend) with its exit code, never by a traceback."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from small_run import SMALL, SPEECH_ONLY, small_yaml
from test_pipeline import results_of

from medusa_jax.corpus.generated import generate
from medusa_jax.corpus.table import Corpus

WORDS = {"features": {"text": SMALL["features"]["text"]}, "members": [SMALL["members"][1]]}
LONG = {"stage1": {"epochs": 4, "learning_rate": 1e-3}, "stage2": {"epochs": 4, "learning_rate": 3e-4}}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A generated corpus, to be copied before it is damaged."""
    return generate(tmp_path_factory.mktemp("speech") / "corpus", size=120, test_per_class=5)


@pytest.fixture
def speech(corpus, tmp_path):
    """A copy of the corpus and a configuration that reads it as MSP-Podcast's."""
    root = tmp_path / "my corpus"
    shutil.copytree(corpus, root)
    path = small_yaml(tmp_path / "speech.yaml", corpus={"source": "msp-podcast", "path": str(root)}, **SPEECH_ONLY)
    return root, path


BAD_CONFIGS = {
    "typo": (["training.batchsize=3"], 2, ["unknown key 'training.batchsize'", "did you mean 'batch_size'?"]),
    "unknown section": (["trainin.batch_size=3"], 2, ["unknown key 'trainin'", "did you mean 'training'?"]),
    "wrong type": (["training.batch_size=many"], 2, ["training.batch_size: Input should be a valid integer"]),
    "a section is no number": (["corpus=5"], 2, ["corpus: Input should be"]),
    "no setting": (["training.batch_size"], 2, ["is not a setting", "--set section.key=value"]),
    "no such member": (["members.7.seed=1"], 2, ["there is no 'members.7.seed'", "members.0.seed"]),
    "not YAML": (["seed=[1"], 2, ["not a YAML value"]),
    "empty": (["="], 2, ["unknown key ''"]),
    "unknown feature": (["members.0.modalities=[wavlm]"], 2, ["no features are called 'wavlm'", "logmel, text"]),
    "unknown extractor": (["features.text.extractor=bert"], 2, ["'bert'", "hashed_text"]),
    "below the range": (["features.logmel.bands=1"], 2, ["features.logmel.bands: Input should be greater"]),
    "hold-out too large": (["corpus.hold_out=0.9"], 2, ["corpus.hold_out", "less than 0.5"]),
    "no members": (["members=[]"], 2, ["members"]),
    "two of one name": (["members.1.id=both"], 2, ["given twice: both"]),
    "heads": (["model.heads=3"], 2, ["hidden (16) must be a multiple of heads (3)"]),
    "a name that is a path": (["name=../../elsewhere"], 2, ["name"]),
    "unknown source": (["corpus.source=podcast"], 2, ["corpus.source", "'msp-podcast'"]),
    "no path": (["corpus.source=msp-podcast"], 2, ["corpus.path", "--set corpus.path=FOLDER"]),
    "no corpus": (["corpus.source=msp-podcast", "corpus.path=no where"], 3, ["no corpus here", "no where"]),
}


@pytest.mark.parametrize("mistake", BAD_CONFIGS)
def test_a_mistake_in_the_configuration_is_told_before_anything_is_made(medusa, tmp_path, monkeypatch, mistake):
    monkeypatch.chdir(tmp_path)
    settings, code, words = BAD_CONFIGS[mistake]
    path = small_yaml(tmp_path / "small.yaml")
    found, out, err = medusa("run", path, *(part for s in settings for part in ("--set", s)))
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert all(word in err for word in words), err
    assert "where:" in err
    assert "Traceback" not in err
    assert os.listdir(tmp_path) == ["small.yaml"]


def test_one_mistake_of_all_members_is_told_once(medusa, tmp_path):
    _, _, err = medusa("run", small_yaml(tmp_path / "s.yaml"), "--set", "training.batchsize=3")
    assert err.count("batchsize") == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.yaml", None, ["no such configuration", "demo"]),
        ("dmeo", None, ["no such configuration", "did you mean 'demo'?"]),
        ("empty.yaml", b"", ["a mapping of sections"]),
        ("list.yaml", b"- 1\n", ["a mapping of sections"]),
        ("broken.yaml", b"a: b: c", ["not YAML", "line 1"]),
        ("binary.yaml", b"\xff\xfe\x00", ["cannot be read"]),
        (".", None, ["no config.yaml"]),
    ],
)
def test_what_is_no_configuration_is_told(medusa, tmp_path, monkeypatch, name, content, words):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, _, err = medusa("run", name)
    assert code == 2
    assert all(word in err for word in [*words, "where:", "mend:"]), err


def test_steps_out_of_order_say_which_comes_first(medusa, tmp_path):
    path, out = small_yaml(tmp_path / "small.yaml"), tmp_path / "out"
    for command, first in (("ensemble", "medusa train"), ("evaluate", "medusa train"), ("submit", "medusa ensemble")):
        code, _, err = medusa(command, path, "--out", out)
        assert code == 8
        assert first in err
    assert not (out / "features").exists(), "and extract nothing meanwhile"


def test_a_renamed_run_folder_does_not_start_another_run(medusa, tmp_path):
    path, out = small_yaml(tmp_path / "small.yaml"), tmp_path / "out"
    medusa("ensemble", path, "--out", out)
    (run,) = out.glob("small-*")
    run.rename(out / "best")
    code, _, err = medusa("evaluate", out / "best")
    assert code == 7
    assert run.name in err
    assert not run.exists()


@pytest.mark.parametrize("kind", ["a file", "a file of the run's name", "a place where nothing can be made"])
def test_a_run_folder_that_cannot_be_made(medusa, tmp_path, kind):
    path, out = small_yaml(tmp_path / "small.yaml"), tmp_path / "out"
    if kind == "a file":
        out.write_text("mine")
    elif kind.endswith("name"):
        medusa("ensemble", path, "--out", out)
        (run,) = out.glob("small-*")
        shutil.rmtree(run)
        run.write_text("mine")
    else:
        out = Path("/proc/medusa")
    code, _, err = medusa("run", path, "--out", out)
    assert code == 7
    assert "cannot be used" in err
    assert "--out" in err


def _labels(root: Path) -> Path:
    for other in ("labels_consensus.json", "labels.txt"):
        (root / "Labels" / other).unlink(missing_ok=True)
    return root / "Labels" / "labels_consensus.csv"


def no_files(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def no_column(root: Path) -> None:
    pd.read_csv(_labels(root)).drop(columns="EmoVal").to_csv(_labels(root), index=False)


def unknown_label(root: Path) -> None:
    _labels(root).write_text(_labels(root).read_text().replace(",N,", ",Q,", 1))


def escaping(root: Path) -> None:
    name = pd.read_csv(_labels(root))["FileName"][0]
    _labels(root).write_text(_labels(root).read_text().replace(name, "../../" + name, 1))


def class_missing(root: Path) -> None:
    table = pd.read_csv(_labels(root))
    table.assign(EmoClass=table["EmoClass"].replace("F", "N")).to_csv(_labels(root), index=False)


def one_speaker(root: Path) -> None:
    table = pd.read_csv(_labels(root))
    table.loc[table["Split_Set"] == "Train", "SpkrID"] = "7"
    table.to_csv(_labels(root), index=False)
    (root / "Speaker_ids.txt").unlink()


def many_corrupt(root: Path) -> None:
    for path in sorted((root / "Audios").iterdir())[:3]:
        path.write_bytes(b"" if path.stem.endswith("1") else b"RIFF")


def no_test(root: Path) -> None:
    for path in (root / "Audios").glob("*test3*"):
        path.unlink()
    partitions = root / "Partitions.txt"
    partitions.write_text("".join(line + "\n" for line in partitions.read_text().splitlines() if "test3" not in line))


BAD_CORPORA = {
    no_files: (3, ["no utterance found"]),
    no_column: (3, ["EmoVal", "labels_consensus.csv"]),
    unknown_label: (3, ["'Q'", "labels_consensus.csv, line"]),
    escaping: (3, ["../../", "labels_consensus.csv, line"]),
    class_missing: (6, ["fear"]),
    one_speaker: (3, ["1 speaker(s) in train"]),
    many_corrupt: (4, ["3 of 160 utterances failed, 1 may", "failures.jsonl"]),
    no_test: (9, ["0 test3 utterances", "--set submission=null"]),
}


@pytest.mark.parametrize("damage", BAD_CORPORA, ids=lambda damage: damage.__name__)
def test_a_bad_corpus_is_told_with_its_file(medusa, speech, tmp_path, damage):
    root, path = speech
    damage(root)
    code, words = BAD_CORPORA[damage]
    found, _, err = medusa("run", path, "--out", tmp_path / "out")
    assert found == code, err
    assert all(word in err for word in [*words, "error:"]), err
    assert "Traceback" not in err


def test_more_failures_may_be_allowed(medusa, speech, tmp_path):
    root, path = speech
    many_corrupt(root)
    code, out, err = medusa("extract", path, "--out", tmp_path / "out", "--set", "corpus.max_failures=0.05")
    assert code == 0, err
    assert "157 utterances" in out
    assert "3 of 160 utterance(s) have no logmel features" in err


def test_one_bad_file_is_a_warning_and_another_rate_none(medusa, speech, tmp_path):
    root, path = speech
    nan, resampled, *_ = sorted((root / "Audios").iterdir())
    soundfile.write(nan, np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    wave, _ = soundfile.read(resampled)
    soundfile.write(resampled, np.repeat(wave, 3)[:, None].repeat(2, axis=1), 48_000)
    code, out, err = medusa("extract", path, "--out", tmp_path / "out")
    assert code == 0
    assert "159 utterances" in out
    assert f"warning: 1 of 160 utterance(s) have no logmel features; the first is {nan.name}" in err
    assert "failures.jsonl" in err


def test_a_finished_run_prints_its_scores_and_files_in_80_columns(medusa, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # not a terminal: a narrow one in the environment cuts nothing
    path = small_yaml(tmp_path / "wörds.yaml", **WORDS)
    code, out, err = medusa("run", path, "--out", tmp_path / "out here")
    assert code == 0, err
    systems = ("words", "majority_vote", "soft_vote", "meta_classifier", "soup")
    for shown in (*systems, "Macro-F1", "CCC mean", "Task 1, valid", "Task 2, valid", "mean CCC"):
        assert shown in out
    assert "synthetic" in out
    assert "…" not in out
    lines = out.splitlines()
    assert max(len(line.rstrip()) for line in lines if str(tmp_path) not in line) <= 80
    for line in lines:
        if str(tmp_path) in line:
            assert Path(line.strip()).is_file(), "a path stands alone on its line, whole"
    (run,) = (tmp_path / "out here").glob("small-*")
    for command in ("evaluate", "submit"):
        assert medusa(command, run)[0] == 0
    names = tmp_path / "names.txt"
    names.write_text("\n".join(path.name for path in run.parent.glob("corpora/*/Audios/*test3*")))
    assert medusa("submit", "check", run / "submission/interspeech2025-categorical.csv", "--names", names)[0] == 0


def test_help_names_every_command(medusa):
    code, out, _ = medusa("--help")
    assert code == 0
    for command in ("demo", "run", "extract", "train", "ensemble", "evaluate", "submit", "corpus", "features"):
        assert f" {command} " in out


def test_help_loads_nothing_heavy():
    program = "import sys; sys.argv = ['medusa', '--help']\nfrom medusa_jax.cli.app import main\ntry: main()\nexcept SystemExit: pass\n"
    heavy = "print([m for m in ('jax', 'flax', 'pandas', 'sklearn', 'transformers', 'datasets', 'torch', 'scipy') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", program + heavy], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


def start(*arguments: object, prelude: str = "") -> subprocess.Popen[str]:
    """The command in a process of its own."""
    program = f"import sys\nsys.argv = ['medusa', *{[str(a) for a in arguments]!r}]\n{prelude}\nfrom medusa_jax.cli.app import main\nmain()"
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(there, process: subprocess.Popen[str]) -> None:
    """Wait for a sign of progress."""
    limit = time.monotonic() + 240
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_a_full_disk_is_told_and_nothing_half_written_is_left(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    process = start("extract", small_yaml(tmp_path / "s.yaml"), "--out", tmp_path / "out", prelude=limit)
    _, err = process.communicate()
    assert process.returncode == 3
    assert "cannot write the generated corpus: File too large" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out/corpora/generated-120-5-0").exists()
    assert not list((tmp_path / "out").rglob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_outside_training_is_no_traceback(tmp_path, number):
    process = start("extract", small_yaml(tmp_path / "s.yaml", corpus={"size": 3000}), "--out", tmp_path / "out")
    until(lambda: list((tmp_path / "out").glob("corpora/.*/corpus/Audios/*9.wav")), process)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 75, err
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert not list((tmp_path / "out/corpora").iterdir()), "a corpus is whole or not there"


@pytest.mark.slow
def test_stopped_killed_and_doubled_runs_end_as_one_never_disturbed(tmp_path):
    """SIGTERM and three SIGKILLs at different steps, a second process meanwhile: the final files are those of an undisturbed run."""
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

    rng = np.random.default_rng()
    moments = [
        (lambda: run.joinpath("corpus.parquet").exists(), signal.SIGKILL),
        (lambda: lines("both") >= 2, signal.SIGTERM),
        (lambda: lines("both") >= 5, signal.SIGKILL),
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
    assert json.loads((run / "provenance.json").read_text())["corpus"] == Corpus.load(run / "corpus.parquet").digest()
