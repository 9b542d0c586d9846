"""Extraction in windows: bounded, equal after a kill, and one bad utterance fails alone."""

import time

import numpy as np
import pytest
import soundfile
from small_corpus import RATE, bytes_of, small_corpus, waves

from medusa_jax.audio.decode import Sound, load_audio, read_audio
from medusa_jax.config.features import HuggingFaceConfig, LogMelConfig
from medusa_jax.features import extract as module
from medusa_jax.features import windows as sizes
from medusa_jax.features.extract import extract
from medusa_jax.features.registry import build_extractor
from medusa_jax.features.windows import FRAME_BYTES, ROWS, SECONDS, windows

LOGMEL = LogMelConfig()


@pytest.fixture
def corpus(tmp_path):
    return small_corpus(tmp_path / "corpus", 10)


@pytest.fixture(scope="module")
def hubert(tmp_path_factory):
    pytest.importorskip("torch")
    from small_models import save_model

    return HuggingFaceConfig(
        model=str(save_model("hubert-large", tmp_path_factory.mktemp("models") / "hubert-large")),
        batch_seconds=1.0,
    )


def test_windows_are_bounded_by_rows_by_seconds_and_by_what_the_frames_weigh():
    seconds = np.full(1000, 4.0)
    assert windows(range(3, 1000), seconds, 1024) == [
        range(start, min(start + ROWS, 1000)) for start in range(3, 1000, ROWS)
    ]
    seconds[500:510] = 3600.0
    seconds[600:900] = np.nan
    for width in (64, 1024, 25 * 1024):
        made = windows(range(1000), seconds, width)
        assert [row for window in made for row in window] == list(range(1000))
        sums = [
            (len(window), np.nan_to_num(seconds[list(window)], nan=10.0).sum()) for window in made
        ]
        assert all(
            rows == 1 or (rows <= ROWS and total <= min(SECONDS, FRAME_BYTES / (200 * width)))
            for rows, total in sums
        )


def test_frames_in_a_store_are_those_of_each_utterance_alone(corpus, tmp_path, hubert, monkeypatch):
    monkeypatch.setattr(sizes, "ROWS", 4)
    store, extractor = (
        extract(corpus, hubert, tmp_path / "store", shard_rows=6),
        build_extractor(hubert),
    )
    for row, id in enumerate(store.ids):
        (expected,) = extractor([load_audio(corpus.audio_path(row))])
        np.testing.assert_allclose(store[id], expected, atol=2e-3 * np.abs(expected).max())


def test_a_shard_made_again_has_the_same_bytes(corpus, tmp_path, hubert, monkeypatch):
    monkeypatch.setattr(sizes, "ROWS", 4)
    folder = extract(corpus, hubert, tmp_path / "store", shard_rows=6).folder
    before = bytes_of(folder)
    (folder / "shard-00000.json").unlink()
    (folder / "shard-00001.arrow").write_bytes(b"damaged")
    assert bytes_of(extract(corpus, hubert, folder, shard_rows=6, workers=3).folder) == before


def test_one_too_short_is_a_row_and_its_batch_goes_on(corpus, tmp_path, hubert):
    whole = extract(corpus, hubert, tmp_path / "whole")
    soundfile.write(corpus.audio_path(4), np.full(399, 0.1, np.float32), RATE, subtype="FLOAT")
    corpus.audio_path(7).write_text("hello")
    store = extract(corpus, hubert, tmp_path / "store", max_failures=0.2)
    assert [(failure.id, failure.error) for failure in store.failed] == [
        ("utterance-004.wav", "AudioError"),
        ("utterance-007.wav", "AudioError"),
    ]
    assert "too short" in store.failed[0].message
    for id in store.ids:
        np.testing.assert_allclose(store[id], whole[id], atol=2e-3 * np.abs(whole[id]).max())


def test_audio_that_someone_should_listen_to_is_in_the_ledger(corpus, tmp_path):
    soundfile.write(corpus.audio_path(2), np.zeros(RATE, np.float32), RATE, subtype="FLOAT")
    expected = {
        id: read_audio(corpus.audio_path(row)).warnings for row, id in enumerate(corpus.frame["id"])
    }
    store = extract(corpus, LOGMEL, tmp_path / "store", shard_rows=4)
    assert {one.id: one.warnings for entry in store.entries for one in entry.warned} == {
        id: some for id, some in expected.items() if some
    }
    assert "silent" in expected["utterance-002.wav"]
    assert len(store) == 10


class _Slow:
    """Takes whole windows, notes how many inputs there were before each call."""

    parallel, name, width, packages, reads = False, "slow", 1, (), "audio"

    def __init__(self, read):
        self._read, self.ahead = read, []

    def identity(self):
        return {}

    def prepare(self):
        pass

    def __call__(self, inputs):
        wanted, deadline = min(20, 4 * (len(self.ahead) + 2)), time.monotonic() + 10
        while len(self._read) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)  # for more than is wanted to show
        self.ahead.append(len(self._read))
        return [np.ones((1, 1), np.float32) for _ in inputs]


def test_the_next_window_is_read_while_the_extractor_works_and_no_more(tmp_path, monkeypatch):
    """Two windows in memory at most, however long the corpus."""
    from medusa_jax.features import shards as maker

    corpus, read = small_corpus(tmp_path / "corpus", 20), []
    monkeypatch.setattr(sizes, "ROWS", 4)
    monkeypatch.setattr(
        maker, "read_audio", lambda path: read.append(path) or Sound(waves(1)[0], ())
    )
    slow = _Slow(read)
    monkeypatch.setattr(module, "build_extractor", lambda config: slow)
    extract(corpus, LOGMEL, tmp_path / "store", shard_rows=20)
    assert slow.ahead == [8, 12, 16, 20, 20]


class _Forgetful(_Slow):
    """Loses the last input of a window, and breaks on one that is loud."""

    def __call__(self, inputs):
        if any(np.abs(wave).max() > 0.9 for wave in inputs):
            raise RuntimeError("too loud")
        return [
            np.full((1, 1), len(wave), np.float32) for wave in inputs[: max(1, len(inputs) - 1)]
        ]


def test_where_a_window_breaks_the_extractor_each_has_another_chance_alone(
    corpus, tmp_path, monkeypatch, caplog
):
    soundfile.write(corpus.audio_path(5), np.ones(RATE, np.float32), RATE, subtype="FLOAT")
    monkeypatch.setattr(module, "build_extractor", lambda config: _Forgetful([]))
    store = extract(corpus, LOGMEL, tmp_path / "store", max_failures=0.1)
    assert [failure.message for failure in store.failed] == ["too loud"]
    for row in (0, 9):
        assert store[f"utterance-{row:03d}.wav"][0, 0] == np.float16(
            len(load_audio(corpus.audio_path(row)))
        )
    assert "failed on 10 inputs at once" in caplog.text
