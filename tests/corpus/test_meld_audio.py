"""MELD's audio: WAV files, and those that ffmpeg makes once from the release's videos."""

import logging
import os
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from small_meld import write_meld, write_sound

from medusa_jax.corpus.meld import read_meld
from medusa_jax.errors import CorpusError, DependencyError

STAND_IN = """#!/bin/sh
for given in "$@"; do case "$given" in file:*) video=${given#file:};; esac; done
echo "$video" >> "$(dirname "$0")/calls"
if grep -q broken "$video"; then echo "moov atom not found" >&2; exit 1; fi
cat "$video"
"""
"""In place of ffmpeg: a video's bytes are its samples, unless it has the word broken."""


@pytest.fixture
def root(tmp_path):
    return write_meld(tmp_path / "meld", dialogues=1, turns=3)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The stand-in is ffmpeg; gives the names of the videos that it has read."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ffmpeg").write_text(STAND_IN)
    (folder / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def read():
        text = (folder / "calls").read_text() if (folder / "calls").exists() else ""
        return sorted(line.rsplit("/", 1)[1] for line in text.split())

    return read


def video(root, name, content=None):
    samples = np.arange(4800, dtype="<i2").tobytes() if content is None else content
    path = root / f"{name}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(samples)
    return path


def paths(corpus):
    return [name for name in corpus.frame["audio"] if name]


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "dev", "test"),
        ("train_splits", "dev_splits_complete", "output_repeated_splits_test"),
        ("train/train_splits", "dev/dev_splits_complete", "test/output_repeated_splits_test"),
    ],
)
def test_wav_files_beside_the_text(root, folders):
    wanted = [f"{folder}/dia0_utt{turn}.wav" for folder in folders for turn in range(3)]
    for name in wanted:
        write_sound(root / name)
    write_sound(root / folders[0] / "final_dia0_utt1.wav")
    assert paths(read_meld(root)) == wanted


def test_sound_of_videos_is_made_once(root, calls, caplog):
    for split in ("train_splits", "dev_splits_complete", "output_repeated_splits_test"):
        for turn in range(3):
            video(root, f"{split}/dia0_utt{turn}")
    video(root, "train_splits/dia9_utt9")
    first = read_meld(root)
    assert paths(first) == [
        f"{s}/dia0_utt{i}.wav" for s in ("train", "dev", "test") for i in range(3)
    ]
    assert len(calls()) == 9
    wave, rate = soundfile.read(first.audio_path(0), dtype="int16")
    assert (rate, wave.tolist()) == (16_000, list(range(4800)))
    np.testing.assert_allclose(first.frame["seconds"], 0.3)
    assert not caplog.records
    assert read_meld(root).digest() == first.digest()
    assert len(calls()) == 9


def test_another_folder_may_hold_the_sound(root, calls, tmp_path):
    video(root, "train_splits/dia0_utt0")
    before = sorted(root.rglob("*"))
    corpus = read_meld(root, audio=tmp_path / "sound")
    assert corpus.root == tmp_path / "sound"
    assert corpus.audio_path(0).is_file()
    assert sorted(root.rglob("*")) == before


def test_a_broken_or_missing_video_is_named_and_tried_once(root, calls, caplog):
    video(root, "train_splits/dia0_utt0")
    broken = video(root, "train_splits/dia0_utt1", b"broken")
    with caplog.at_level(logging.WARNING):
        corpus = read_meld(root)
    assert paths(corpus) == ["train/dia0_utt0.wav"]
    (record,) = caplog.records
    assert "8 utterance(s) have no audio" in record.getMessage()
    assert "train/dia0_utt1, train/dia0_utt2" in record.getMessage()
    assert "moov atom" in (root / "train" / "dia0_utt1.broken").read_text()
    assert not [path for path in root.rglob("*") if path.name.endswith(".tmp")]
    read_meld(root)
    assert calls().count("dia0_utt1.mp4") == 1
    broken.write_bytes(bytes(3200))
    os.utime(broken, ns=(2**61, 2**61))
    assert len(paths(read_meld(root))) == 2


def test_videos_of_which_none_can_be_read_are_an_error(root, calls):
    for turn in range(3):
        video(root, f"train_splits/dia0_utt{turn}", b"broken")
    with pytest.raises(CorpusError, match=r"none of 3 video.*moov atom not found"):
        read_meld(root)
    assert not list(root.rglob("*.broken"))


def test_without_ffmpeg_videos_alone_are_an_error(root, monkeypatch, tmp_path):
    video(root, "train_splits/dia0_utt0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError, match=r"ffmpeg is not on PATH.* 1 utterance") as caught:
        read_meld(root)
    assert "WAV" in caught.value.hint
    write_sound(root / "train" / "dia0_utt0.wav")
    assert paths(read_meld(root)) == ["train/dia0_utt0.wav"]


def test_a_folder_that_cannot_be_written_is_an_error(root, calls):
    video(root, "train_splits/dia0_utt0")
    (root / "train").write_text("a file")
    with pytest.raises(CorpusError, match="audio of the videos cannot be written") as caught:
        read_meld(root)
    assert "--audio" in caught.value.hint


@pytest.fixture
def real_video(tmp_path):
    """A video of a tone in stereo at 44.1 kHz, made by ffmpeg."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not on PATH")
    path = tmp_path / "tone.mp4"
    tone = "sine=frequency=440:duration=1.5:sample_rate=44100"
    picture = "color=black:size=64x64:duration=1.5:rate=5"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", tone, "-f", "lavfi", "-i", picture]
    subprocess.run([*command, "-ac", "2", "-c:a", "aac", path], check=True)
    return path


def test_ffmpeg_reads_a_video(root, real_video):
    shutil.copy(real_video, video(root, "train_splits/dia0_utt0"))
    for turn, cut in ((1, 0.5), (2, 0.95)):
        content = real_video.read_bytes()
        video(root, f"train_splits/dia0_utt{turn}", content[: int(len(content) * cut)])
    corpus = read_meld(root)
    assert paths(corpus) == ["train/dia0_utt0.wav"]
    wave, rate = soundfile.read(corpus.audio_path(0))
    assert (rate, wave.ndim) == (16_000, 1)
    assert len(wave) / rate == pytest.approx(1.5, abs=0.1)
    assert np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave) == pytest.approx(440, abs=2)
