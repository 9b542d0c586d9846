"""One bad file is one row of `failures.jsonl`, and too many of them fail the run (house
promise 5).
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_corpus import RATE, bytes_of, small_corpus

from medusa_jax.config.features import HashedTextConfig, LogMelConfig
from medusa_jax.errors import FeatureError, StoreError
from medusa_jax.features import extract as module
from medusa_jax.features.extract import extract
from medusa_jax.features.registry import build_extractor
from medusa_jax.store.reader import FeatureStore

LOGMEL, TEXT = LogMelConfig(), HashedTextConfig()


def failures_of(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]


@pytest.fixture
def corpus(tmp_path):
    return small_corpus(tmp_path / "corpus", 10)


BAD = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "not audio": lambda path: path.write_text("hello"),
    "no samples": lambda path: soundfile.write(path, np.zeros(0, np.float32), RATE),
    "NaN": lambda path: soundfile.write(
        path, np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT"
    ),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", BAD)
def test_one_bad_file_is_a_row_and_the_others_go_on(corpus, tmp_path, damage):
    good = extract(corpus, LOGMEL, tmp_path / "good", shard_rows=4)
    BAD[damage](corpus.audio_path(5))
    store = extract(corpus, LOGMEL, tmp_path / "store", shard_rows=4, max_failures=0.1)
    assert store.ids == tuple(id for id in good.ids if id != "utterance-005.wav")
    for id in store.ids:
        assert np.array_equal(store[id], good[id])
    (row,) = failures_of(store.folder)
    assert (row["id"], row["audio"], row["error"]) == (
        "utterance-005.wav",
        "utterance-005.wav",
        "AudioError",
    )
    assert row["message"]
    assert [failure.id for failure in store.failed] == ["utterance-005.wav"]
    with pytest.raises(StoreError, match=r"utterance-005\.wav"):
        store.frames("utterance-005.wav")
    assert bytes_of(
        extract(corpus, LOGMEL, tmp_path / "store", max_failures=0.1).folder
    ) == bytes_of(store.folder)


def test_too_many_bad_files_fail_the_run_which_says_how_many(corpus, tmp_path):
    for row in (1, 2, 9):
        corpus.audio_path(row).write_text("hello")
    with pytest.raises(
        FeatureError,
        match=r"2 of 10 utterances failed.* the first is utterance-001\.wav",
    ):
        extract(corpus, LOGMEL, tmp_path / "store", shard_rows=4, max_failures=0.1)
    (folder,) = (tmp_path / "store").iterdir()
    assert [row["id"] for row in failures_of(folder)] == [
        "utterance-001.wav",
        "utterance-002.wav",
    ]
    with pytest.raises(StoreError):
        FeatureStore.open(folder)
    assert len(extract(corpus, LOGMEL, tmp_path / "store", shard_rows=4, max_failures=0.3)) == 7


def test_repaired_files_are_tried_again(corpus, tmp_path):
    whole = extract(corpus, LOGMEL, tmp_path / "whole", shard_rows=4)
    good = {row: corpus.audio_path(row).read_bytes() for row in (1, 6)}
    for row in good:
        corpus.audio_path(row).write_text("hello")
    with pytest.raises(FeatureError, match="2 of 10"):
        extract(corpus, LOGMEL, tmp_path / "store", shard_rows=4, max_failures=0.1)
    for row, content in good.items():
        corpus.audio_path(row).write_bytes(content)
    store = extract(corpus, LOGMEL, tmp_path / "store", shard_rows=4, max_failures=0.1)
    assert len(store.failed) == 1, (
        "a failure within the allowance is settled once its shard is written"
    )
    assert bytes_of(extract(corpus, LOGMEL, tmp_path / "store", max_failures=0).folder) == bytes_of(
        whole.folder
    )


def test_a_shard_of_nothing_but_failures_is_a_shard(corpus, tmp_path):
    for row in range(3, 6):
        corpus.audio_path(row).unlink()
    store = extract(corpus, LOGMEL, tmp_path / "store", shard_rows=3, max_failures=0.3)
    assert len(store) == 7
    store.verify()
    assert store[store.ids[3]].shape == (store.lengths[3], 64)


class _Wrong:
    """Log-mel whose frames for loud audio are not fit to be stored."""

    def __init__(self, spoil):
        self._right, self._spoil = build_extractor(LOGMEL), spoil

    def __getattr__(self, name):
        return getattr(self._right, name)

    def __call__(self, inputs):
        return [
            self._spoil(frames) if np.abs(wave).max() > 0.9 else frames
            for wave, frames in zip(inputs, self._right(inputs), strict=True)
        ]


def _no_frames(frames):
    raise RuntimeError("the model broke")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda frames: np.where(np.arange(len(frames))[:, None] == 2, np.nan, frames),
            "NaN or infinity in 1 of",
        ),
        (lambda frames: frames + np.inf, "NaN or infinity"),
        (lambda frames: frames[:0], "shape"),
        (lambda frames: frames[0], "shape"),
        (lambda frames: frames[:, :-1], "shape"),
        (_no_frames, "the model broke"),
    ],
    ids=["NaN", "infinite", "no frames", "flat", "narrow", "raises"],
)
def test_frames_that_are_no_frames_are_a_row(corpus, tmp_path, monkeypatch, spoil, message):
    soundfile.write(corpus.audio_path(5), np.ones(RATE // 5, np.float32), RATE, subtype="FLOAT")
    monkeypatch.setattr(module, "build_extractor", lambda config: _Wrong(spoil))
    store = extract(corpus, LOGMEL, tmp_path / "store", max_failures=0.1)
    assert [failure.id for failure in store.failed] == ["utterance-005.wav"]
    assert message in store.failed[0].message


def test_values_beyond_float16_are_cut_and_counted(corpus, tmp_path, monkeypatch):
    soundfile.write(corpus.audio_path(5), np.ones(RATE // 5, np.float32), RATE, subtype="FLOAT")
    monkeypatch.setattr(
        module,
        "build_extractor",
        lambda config: _Wrong(lambda frames: np.where(frames == frames.max(), 1e6, frames)),
    )
    store = extract(corpus, LOGMEL, tmp_path / "store")
    assert sum(entry.clipped for entry in store.entries) >= 1
    assert store["utterance-005.wav"].max() == 65504


def test_a_missing_transcript_is_a_row_and_an_empty_one_a_zero_frame(tmp_path):
    corpus = small_corpus(tmp_path / "corpus", 4, transcripts=["good morning", "", None, "yes"])
    store = extract(corpus, TEXT, tmp_path / "store", max_failures=0.25)
    assert [failure.id for failure in store.failed] == ["utterance-002.wav"]
    assert store["utterance-001.wav"].shape == (1, 128)
    assert not store["utterance-001.wav"].any()


def test_text_features_of_a_corpus_without_transcripts_are_refused_at_once(tmp_path):
    corpus = small_corpus(tmp_path / "corpus", 2, transcripts=[None, None])
    with pytest.raises(FeatureError, match="no utterance has a transcript"):
        extract(corpus, TEXT, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def without_audio(corpus, *rows):
    """The corpus with no audio at these positions."""
    audio = corpus.frame["audio"].where(~corpus.frame.index.isin(rows), "")
    return replace(corpus, frame=corpus.frame.assign(audio=audio))


def test_text_features_need_no_audio(corpus, tmp_path):
    heard = extract(corpus, TEXT, tmp_path / "heard")
    text = replace(without_audio(corpus, *range(10)), root=tmp_path / "nowhere")
    store = extract(text, TEXT, tmp_path / "text")
    assert not store.failed
    assert store.folder.name == heard.folder.name
    assert bytes_of(store.folder) == bytes_of(heard.folder)


def test_an_utterance_without_audio_is_a_row_and_a_corpus_without_is_refused(corpus, tmp_path):
    store = extract(without_audio(corpus, 5), LOGMEL, tmp_path / "store", max_failures=0.1)
    (row,) = failures_of(store.folder)
    assert (row["id"], row["audio"], row["message"]) == (
        "utterance-005.wav",
        "",
        "the utterance has no audio",
    )
    with pytest.raises(FeatureError, match="logmel reads audio, and no utterance") as caught:
        extract(without_audio(corpus, *range(10)), LOGMEL, tmp_path / "none")
    assert "extractors of text" in caught.value.hint
    assert not (tmp_path / "none").exists()


def test_a_corpus_without_utterances_is_refused(corpus, tmp_path):
    with pytest.raises(FeatureError, match="no utterances"):
        extract(corpus.where(np.zeros(10, bool)), LOGMEL, tmp_path / "store")
