"""`medusa` on damaged corpora: errors name the file, and allowed failures are warnings."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from small_run import SPEECH_ONLY, small_yaml

from medusa_jax.synthetic.generate import generate


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A generated corpus, to be copied before it is damaged."""
    return generate(tmp_path_factory.mktemp("speech") / "corpus", size=120, test_per_class=5)


@pytest.fixture
def speech(corpus, tmp_path):
    """A copy of the corpus and a configuration that reads it as MSP-Podcast's."""
    root = tmp_path / "my corpus"
    shutil.copytree(corpus, root)
    path = small_yaml(
        tmp_path / "speech.yaml", corpus={"source": "msp-podcast", "path": str(root)}, **SPEECH_ONLY
    )
    return root, path


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
    partitions.write_text(
        "".join(line + "\n" for line in partitions.read_text().splitlines() if "test3" not in line)
    )


BAD_CORPORA = {
    no_files: (3, ["no utterance found"]),
    no_column: (3, ["EmoVal", "labels_consensus.csv"]),
    unknown_label: (3, ["'Q'", "labels_consensus.csv, line"]),
    escaping: (3, ["../../", "labels_consensus.csv, line"]),
    class_missing: (6, ["fear"]),
    one_speaker: (3, ["1 speaker(s) in train"]),
    many_corrupt: (4, ["3 of 160 utterances failed, more than the 1 allowed", "failures.jsonl"]),
    no_test: (9, ["0 test3 utterances", "--set submission=null"]),
}


@pytest.mark.parametrize("damage", BAD_CORPORA, ids=lambda damage: damage.__name__)
def test_a_bad_corpus_is_reported_with_its_file(medusa, speech, tmp_path, damage):
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
    code, out, err = medusa(
        "extract", path, "--out", tmp_path / "out", "--set", "corpus.max_failures=0.05"
    )
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


def test_conversations_are_generated_and_checked(medusa, tmp_path):
    code, out, err = medusa("corpus", "generate", tmp_path / "c", "--conversations", "--size", 100)
    assert code == 0, err
    assert "100 turns of dialogues" in out
    code, out, err = medusa("corpus", "check", tmp_path / "c")
    assert code == 0, err
    assert "dialogues" in out
