"""`medusa` from the outside: a mistake ends in three lines and an exit code, no traceback."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import SMALL, small_yaml

WORDS = {"features": {"text": SMALL["features"]["text"]}, "members": [SMALL["members"][1]]}
HEAVY = ("jax", "flax", "pandas", "sklearn", "transformers", "datasets", "torch", "scipy")

BAD_CONFIGS = {
    "typo": (
        ["training.batchsize=3"],
        2,
        ["unknown key 'training.batchsize'", "did you mean 'batch_size'?"],
    ),
    "unknown section": (
        ["trainin.batch_size=3"],
        2,
        ["unknown key 'trainin'", "did you mean 'training'?"],
    ),
    "wrong type": (
        ["training.batch_size=many"],
        2,
        ["training.batch_size: Input should be a valid integer"],
    ),
    "a section is no number": (["corpus=5"], 2, ["corpus: Input should be"]),
    "no setting": (["training.batch_size"], 2, ["is not a setting", "--set section.key=value"]),
    "no such member": (["members.7.seed=1"], 2, ["no key 'members.7.seed'", "members.0.seed"]),
    "not YAML": (["seed=[1"], 2, ["not a YAML value"]),
    "empty": (["="], 2, ["unknown key ''"]),
    "unknown feature": (
        ["members.0.modalities=[wavlm]"],
        2,
        ["unknown modality 'wavlm'", "logmel, text"],
    ),
    "unknown extractor": (["features.text.extractor=bert"], 2, ["'bert'", "hashed_text"]),
    "below the range": (
        ["features.logmel.bands=1"],
        2,
        ["features.logmel.bands: Input should be greater"],
    ),
    "hold-out too large": (["corpus.hold_out=0.9"], 2, ["corpus.hold_out", "less than 0.5"]),
    "no members": (["members=[]"], 2, ["members"]),
    "two of one name": (["members.1.id=both"], 2, ["duplicate member id(s): both"]),
    "heads": (["model.heads=3"], 2, ["hidden (16) must be a multiple of heads (3)"]),
    "a name that is a path": (["name=../../elsewhere"], 2, ["name"]),
    "unknown source": (["corpus.source=podcast"], 2, ["corpus.source", "'msp-podcast'"]),
    "no path": (["corpus.source=msp-podcast"], 2, ["corpus.path", "--set corpus.path=FOLDER"]),
    "no corpus": (
        ["corpus.source=msp-podcast", "corpus.path=no where"],
        3,
        ["no corpus here", "no where"],
    ),
}


@pytest.mark.parametrize("mistake", BAD_CONFIGS)
def test_a_mistake_in_the_configuration_is_reported_before_anything_is_made(
    medusa, tmp_path, monkeypatch, mistake
):
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


def test_one_mistake_of_all_members_is_reported_once(medusa, tmp_path):
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
def test_what_is_no_configuration_is_reported(medusa, tmp_path, monkeypatch, name, content, words):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, _, err = medusa("run", name)
    assert code == 2
    assert all(word in err for word in [*words, "where:", "hint:"]), err


def test_steps_out_of_order_say_which_comes_first(medusa, tmp_path):
    path, out = small_yaml(tmp_path / "small.yaml"), tmp_path / "out"
    for command, first in (
        ("ensemble", "medusa train"),
        ("evaluate", "medusa train"),
        ("submit", "medusa ensemble"),
    ):
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


@pytest.mark.parametrize(
    "kind", ["a file", "a file of the run's name", "a place where nothing can be made"]
)
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


def test_a_finished_run_prints_its_scores_and_files_in_80_columns(medusa, tmp_path, monkeypatch):
    # not a terminal: a narrow one in the environment cuts nothing
    monkeypatch.setenv("COLUMNS", "40")
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
    assert (
        medusa(
            "submit", "check", run / "submission/interspeech2025-categorical.csv", "--names", names
        )[0]
        == 0
    )


def test_help_names_every_command(medusa):
    code, out, _ = medusa("--help")
    assert code == 0
    for command in (
        "demo",
        "run",
        "extract",
        "train",
        "ensemble",
        "evaluate",
        "submit",
        "corpus",
        "features",
    ):
        assert f" {command} " in out


def test_help_loads_nothing_heavy():
    program = f"""
import sys
sys.argv = ["medusa", "--help"]
from medusa_jax.cli.app import main
try:
    main()
except SystemExit:
    print(sorted(set(sys.modules) & set({HEAVY!r})))
"""
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
