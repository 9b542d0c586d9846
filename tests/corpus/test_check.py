"""`check` and the corpus commands: counts, errors, warnings and the exit code."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
from rich.console import Console
from small_iemocap import write_iemocap
from small_meld import write_meld, write_sound
from typer.testing import CliRunner

from medusa_jax.cli.corpus import app
from medusa_jax.corpus.check import check
from medusa_jax.corpus.iemocap import read_iemocap
from medusa_jax.corpus.meld import read_meld
from medusa_jax.corpus.msp_layout import write_msp_podcast_labels
from medusa_jax.corpus.msp_podcast import read_msp_podcast
from medusa_jax.corpus.ratings import RATING_COLUMNS
from medusa_jax.corpus.sources import read_source
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError

NAMES = [f"MSP-PODCAST_000{i}_0001.wav" for i in range(6)]
SPLITS = ["Train"] * 4 + ["Development"] * 2


@pytest.fixture
def root(tmp_path):
    ratings = [
        (n, f"W{w}", "Sad" if i % 2 else "Happy", [], 3.0, 4.0, 5.0)
        for i, n in enumerate(NAMES)
        for w in range(3 + i)
    ]
    utterances = [
        (n, i, "Male" if i < 4 else "Female", s, "hello")
        for i, (n, s) in enumerate(zip(NAMES, SPLITS, strict=True))
    ]
    write_msp_podcast_labels(
        tmp_path,
        pd.DataFrame(ratings, columns=list(RATING_COLUMNS)),
        pd.DataFrame(
            utterances, columns=["FileName", "SpkrID", "Gender", "Split_Set", "transcript"]
        ),
    )
    (tmp_path / "Audios").mkdir()
    for i, name in enumerate(NAMES):
        soundfile.write(
            tmp_path / "Audios" / name,
            np.random.default_rng(i).normal(0, 0.1, 16000 * (i + 1)),
            16000,
        )
    return tmp_path


def checked(root, **options):
    return check(read_msp_podcast(root), **options)


def edit(root, old, new):
    """Change a field in every label file at once, so that no file contradicts another."""
    for path in [*root.glob("Labels/*"), root / "Speaker_ids.txt"]:
        path.write_text(path.read_text().replace(old, new))


def test_a_good_corpus_is_counted(root):
    result = checked(root, decode=True)
    assert result.ok
    assert result.errors == result.warnings == ()
    assert result.splits.to_dict("records") == [
        {
            "split": "train",
            "utterances": 4,
            "hours": 0.0,
            "speakers": 4,
            "votes mean": 4.5,
            "min": 3,
            "max": 6,
            "no class target": 0,
        },
        {
            "split": "development",
            "utterances": 2,
            "hours": 0.0,
            "speakers": 2,
            "votes mean": 7.5,
            "min": 7,
            "max": 8,
            "no class target": 0,
        },
    ]
    assert result.counts.to_dict("records") == [
        {"split": "train", "gender": "male", "sad": 2, "happy": 2, "all": 4},
        {"split": "development", "gender": "female", "sad": 1, "happy": 1, "all": 2},
    ]


def test_hours_are_measured(root):
    soundfile.write(root / "Audios" / NAMES[0], np.zeros(16000 * 180), 16000)
    assert checked(root).splits["hours"].tolist() == [0.05, 0.0]


def test_it_prints_tables_and_marks_synthetic_speech(root):
    (root / "synthetic.json").write_text("{}")
    out = io.StringIO()
    Console(file=out, width=100).print(checked(root))
    text = out.getvalue()
    assert "synthetic speech" in text
    assert "development" in text
    assert "no errors" in text


@pytest.mark.parametrize(
    ("damage", "decode", "message"),
    [
        (lambda path: path.unlink(), False, f"audio file not found: 1, for example {NAMES[1]}"),
        (
            lambda path: path.write_bytes(b"junk"),
            False,
            f"not readable as audio: 1, for example {NAMES[1]}",
        ),
        (lambda path: soundfile.write(path, np.zeros(0), 16000), False, "contains no samples: 1"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), False, "truncated: 1"),
        (
            lambda path: soundfile.write(path, np.array([np.nan] * 99), 16000, subtype="FLOAT"),
            True,
            "NaN or infinite samples: 1",
        ),
    ],
)
def test_bad_audio_is_an_error(root, damage, decode, message):
    damage(root / "Audios" / NAMES[1])
    result = checked(root, decode=decode)
    assert not result.ok
    assert len(result.errors) == 1
    assert message in result.errors[0]


def test_a_speaker_on_both_sides_is_an_error(root):
    edit(root, f"{NAMES[4]};4", f"{NAMES[4]};2")
    edit(root, "4,Female", "2,Female")
    assert checked(root).errors == ("speakers on both sides of a split: 1, for example 2",)


def test_warnings_do_not_fail(root):
    soundfile.write(root / "Audios" / NAMES[0], np.zeros(8000), 8000)
    soundfile.write(root / "Audios" / NAMES[2], np.zeros(16000), 16000)
    soundfile.write(root / "Audios" / NAMES[3], np.zeros(16000), 16000)
    soundfile.write(root / "Audios" / "stray.wav", np.zeros(16000), 16000)
    csv = root / "Labels" / "labels_consensus.csv"
    csv.write_text(
        csv.read_text().replace(f"{NAMES[1]},S", f"{NAMES[1]},N").replace("3,Male", "Unknown,Male")
    )
    edit(root, f"{NAMES[3]};3", f"{NAMES[3]};Unknown")
    result = checked(root, decode=True)
    assert result.ok
    assert [line.split(":")[0] for line in result.warnings] == [
        "audio not at 16000 Hz (it is resampled when read)",
        "audio narrow_band",
        "audio silent",
        "the same sound under several ids",
        "the consensus is not the plurality of the votes",
        "unknown speaker in train",
        "audio files without a row",
    ]


def test_a_table_older_than_its_audio_is_a_warning(root):
    corpus = read_msp_podcast(root)
    soundfile.write(root / "Audios" / NAMES[0], np.zeros(4000), 16000)
    assert (
        check(corpus)
        .warnings[0]
        .startswith("audio length differs from the table: build the table again: 1")
    )


def test_duplicate_clips_of_the_real_release_are_found(shared_data):
    result = check(read_source("ravdess", shared_data / "ravdess"), decode=True)
    assert result.ok
    assert result.warnings == (
        "the same sound under several ids: 2, for example "
        "03-01-03-01-02-01-07, 03-01-03-01-02-02-07",
    )
    assert result.counts["all"].tolist() == [720, 720]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_commands_build_and_check(root, tmp_path):
    table = tmp_path / "out" / "table.parquet"
    built = run("build", "msp-podcast", root, "--out", table, "--soft-labels", "with_other")
    assert built.exit_code == 0, built.output
    assert "6 utterances" in built.output
    assert Corpus.load(table).soft_labels == "with_other"
    for path in (table, root):
        result = run("check", path)
        assert result.exit_code == 0, result.output
        assert "no errors" in result.output
    (root / "Audios" / NAMES[0]).unlink()
    result = run("check", table, "--decode")
    assert result.exit_code == 3
    assert "audio file not found: 1" in result.output


def test_duplicate_ids_end_the_check(root):
    path = root / "Labels" / "labels_consensus.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    result = run("check", root)
    assert result.exit_code != 0
    assert isinstance(result.exception, CorpusError)
    assert "duplicate" in str(result.exception)


def test_a_generated_corpus_passes_its_check(tmp_path):
    made = run("generate", tmp_path / "corpus", "--size", 60, "--test-per-class", 1)
    assert made.exit_code == 0, made.output
    result = run("check", tmp_path / "corpus", "--decode")
    assert result.exit_code == 0, result.output
    assert "synthetic speech" in result.output
    assert json.loads((tmp_path / "corpus" / "synthetic.json").read_text())["size"] == 60


@pytest.fixture
def talks(tmp_path):
    """MELD as text, with a turn left out, a dialogue of one utterance and an unknown speaker."""
    corpus = read_meld(write_meld(tmp_path))
    gone = corpus.frame["id"].isin(["train_dia0_utt3", *(f"dev_dia1_utt{i}" for i in range(6))])
    part = corpus.where(~gone.to_numpy())
    speakers = part.frame["speaker"].where(part.frame["dialogue"] != "test_2", None)
    return replace(part, frame=part.frame.assign(speaker=speakers))


def test_conversations_are_counted_and_their_oddities_named(talks):
    found = check(talks)
    assert found.ok
    assert found.title == "meld, 56 utterances, no audio"
    columns = ["split", "utterances", "dialogues", "turns median", "turns max"]
    assert found.splits[columns].to_numpy().tolist() == [
        ["train", 20, 3, 7.0, 7],
        ["development", 15, 3, 7.0, 7],
        ["test1", 21, 3, 7.0, 7],
    ]
    assert list(found.warnings) == [
        "speakers in several splits (set corpus.speakers: shared in a run): 4, for example Joey, "
        "Rachel, Ross",
        "dialogues with turns left out: 2, for example train_0, dev_1",
        "dialogues of one utterance: 1, for example dev_1",
        "dialogues with an unknown speaker: 1, for example test_2",
    ]


def test_whole_dialogues_of_their_own_speakers_need_no_warning(tmp_path):
    found = check(read_iemocap(write_iemocap(tmp_path)), decode=True)
    assert found.ok
    assert not [line for line in found.warnings if "dialogue" in line or "speakers" in line]
    assert found.splits["dialogues"].tolist() == [6, 2, 2]


def test_a_corpus_with_some_audio_counts_what_lacks(tmp_path):
    root = write_meld(tmp_path)
    for turn in range(7):
        write_sound(root / "train" / f"dia0_utt{turn}.wav")
    write_sound(root / "train" / "dia8_utt0.wav")
    (root / "train" / "dia0_utt6.wav").write_bytes(b"")
    found = check(read_meld(root))
    assert [line.split(":")[0] for line in found.errors] == ["the audio file is empty"]
    assert "utterances without audio: 56, for example train_dia1_utt0" in found.warnings[0]
    assert found.warnings[-1] == "audio files without a row: 1, for example train/dia8_utt0.wav"


def test_options_of_a_source_reach_its_reader(tmp_path):
    root = write_iemocap(tmp_path / "release", sound=False)
    table = tmp_path / "table.parquet"
    options = ["--label-set", "4", "--merge-excited", "--out", str(table)]
    done = CliRunner().invoke(app, ["build", "iemocap", str(root), *options])
    assert done.exit_code == 0, done.output
    assert "80 utterances in 10 dialogues of iemocap, 0.00 hours of audio found" in done.output
    corpus = Corpus.load(table)
    assert corpus.classes == ("angry", "happy", "neutral", "sad")
    assert (corpus.labels == 1).sum() == 20
    write_sound(tmp_path / "sound" / "train" / "dia0_utt0.wav")
    options = ["--audio", str(tmp_path / "sound"), "--out", str(table)]
    done = CliRunner().invoke(app, ["build", "meld", str(write_meld(tmp_path / "meld")), *options])
    assert done.exit_code == 0, done.output
    assert Corpus.load(table).audio_path(0).is_file()
