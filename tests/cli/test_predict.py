"""`medusa export` and `medusa predict`: what a person sees and a program reads."""

import csv
import io
import json

import jax
import numpy as np
import pytest
import soundfile
from small_system import small_system

from medusa_jax.cli.predict import parsed
from medusa_jax.errors import ConfigError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, its exported system, and a folder of two recordings and a text called .wav."""
    folder = tmp_path_factory.mktemp("predict")
    prepared, system = small_system(folder)
    sounds = folder / "sounds"
    sounds.mkdir()
    rng = np.random.default_rng(0)
    for name, seconds in (("one.wav", 2), ("two.flac", 7)):
        soundfile.write(sounds / name, rng.normal(0, 0.1, 16_000 * seconds), 16_000)
    (sounds / "words.wav").write_text("these are words")
    yield prepared, system, sounds
    jax.config.update("jax_compilation_cache_dir", None)


def test_a_folder_of_recordings_as_a_table(medusa, made):
    _, system, sounds = made
    code, said, _ = medusa("predict", system, sounds)
    assert code == 0
    assert "one.wav" in said
    assert "not readable as audio" in " ".join(said.split())


def test_json_csv_and_lines_agree(medusa, made):
    _, system, sounds = made
    one = sounds / "one.wav"
    (whole,) = json.loads(medusa("predict", system, one, "--json")[1])
    line = json.loads(medusa("predict", system, one, "--jsonl")[1])
    assert whole == line
    assert whole["label"] == max(whole["probabilities"], key=whole["probabilities"].get)
    assert set(whole) >= {"file", "start", "end", "label", "confidence", "attributes"}
    (row,) = csv.DictReader(io.StringIO(medusa("predict", system, one, "--csv")[1]))
    assert row["label"] == whole["label"]
    assert float(row["end"]) == 2
    for name, share in whole["probabilities"].items():
        assert float(row[name]) == pytest.approx(share)


def test_windows_and_a_picture(medusa, made, tmp_path):
    _, system, sounds = made
    for suffix in (".png", ".svg"):
        picture = tmp_path / f"two{suffix}"
        arguments = ("--windows", "3/2", "--json", "--plot", picture)
        code, said, _ = medusa("predict", system, sounds / "two.flac", *arguments)
        assert code == 0
        assert [one["start"] for one in json.loads(said)] == [0, 2, 4]
        assert json.loads(said)[-1]["end"] == 7
        assert picture.stat().st_size > 5_000


def test_standard_input(medusa, made, monkeypatch):
    _, system, sounds = made
    content = (sounds / "one.wav").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    (found,) = json.loads(medusa("predict", system, "-", "--json")[1])
    (wanted,) = json.loads(medusa("predict", system, sounds / "one.wav", "--json")[1])
    assert found["probabilities"] == wanted["probabilities"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--windows", "six"), 2, "not a length and a hop"),
        (("--windows", "3/6"), 2, "leave gaps"),
        (("--json", "--csv"), 2, "choose one of"),
        (("--use", "none"), 2, "choose one of majority_vote"),
        (("--plot", "picture.gif"), 2, "name it .png or .svg"),
    ],
)
def test_a_wrong_option_is_refused(medusa, made, arguments, code, words):
    _, system, sounds = made
    found, _, error = medusa("predict", system, sounds / "one.wav", *arguments)
    assert (found, words in error) == (code, True), error
    assert "Traceback" not in error


def test_only_bad_recordings_is_an_error(medusa, made, tmp_path):
    _, system, sounds = made
    code, _, error = medusa("predict", system, sounds / "words.wav")
    assert code == 3
    assert "none of 1 recording(s) could be predicted" in error
    assert medusa("predict", tmp_path, sounds)[0] == 6
    assert medusa("predict", system, tmp_path)[0] == 3


def test_a_run_is_exported_once(medusa, made, tmp_path):
    prepared, _, sounds = made
    folder = tmp_path / "system"
    code, _, said = medusa("export", prepared.run.folder, folder)
    assert code == 0
    assert f"medusa predict {folder}" in " ".join(said.split())
    code, _, error = medusa("export", prepared.run.folder, folder)
    assert code == 6
    assert "not empty" in error
    one = sounds / "one.wav"
    from_run, from_folder = (
        json.loads(medusa("predict", place, one, "--json")[1])[0]["probabilities"]
        for place in (prepared.run.folder, folder)
    )
    assert from_run == from_folder


@pytest.mark.parametrize(
    ("text", "wanted"), [("6/3", (6, 3)), ("2", (2, 2)), (" 1.5/0.5 ", (1.5, 0.5))]
)
def test_windows_are_parsed(text, wanted):
    assert parsed(text) == wanted


@pytest.mark.parametrize("text", ["", "6/", "6/3/1", "nan/1", "inf"])
def test_other_windows_are_refused(text):
    with pytest.raises(ConfigError, match="not a length and a hop"):
        parsed(text)
