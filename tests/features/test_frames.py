"""Frames from the corpus folder: read as they are, refused by name, never from elsewhere."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from small_corpus import small_corpus

from medusa_jax.config.features import FramesConfig
from medusa_jax.errors import FeatureError
from medusa_jax.features.extract import extract
from medusa_jax.features.frames import frames_path
from medusa_jax.features.registry import build_extractor

WIDTH = 5


@pytest.fixture
def corpus(tmp_path):
    """Ten utterances, each with a file of frames; float64, int and float16 among them."""
    corpus = small_corpus(tmp_path / "corpus", 10)
    folder = corpus.root / "Faces"
    folder.mkdir()
    rng = np.random.default_rng(0)
    kinds = (np.float64, np.int16, np.float16)
    for place, name in enumerate(corpus.frame["id"]):
        frames_td = rng.normal(0, 9, (place + 1, WIDTH)).astype(kinds[place % 3])
        np.save(folder / f"{Path(name).stem}.npy", frames_td)
    return corpus


def made(corpus, tmp_path, **options):
    config = FramesConfig(folder="Faces", width=WIDTH, dtype="float32")
    return extract(corpus, config, tmp_path / "stores", **options)


def file_of(corpus, row):
    return corpus.root / "Faces" / f"{Path(corpus.frame['id'].iat[row]).stem}.npy"


def test_frames_are_stored_as_they_are(corpus, tmp_path):
    store = made(corpus, tmp_path)
    assert not store.failed
    for row, name in enumerate(corpus.frame["id"]):
        assert np.array_equal(store[name], np.load(file_of(corpus, row)).astype(np.float32))


def test_another_folder_or_other_ids_are_another_store(corpus, tmp_path):
    first = made(corpus, tmp_path).folder
    assert made(corpus, tmp_path).folder == first
    other = FramesConfig(folder="Faces/.", width=WIDTH, dtype="float32")
    assert extract(corpus, other, tmp_path / "stores").folder != first
    part = corpus.where(np.arange(len(corpus)) < 5)
    assert made(part, tmp_path).folder != first


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(b""), "not a readable"),
        (lambda path: path.write_bytes(path.read_bytes()[:-3]), "not a readable"),
        (lambda path: np.save(path, np.zeros((3, WIDTH + 1))), "shape (3, 6)"),
        (lambda path: np.save(path, np.zeros(WIDTH)), "shape (5,)"),
        (lambda path: np.save(path, np.zeros((0, WIDTH))), "shape (0, 5)"),
        (lambda path: np.save(path, np.full((2, WIDTH), np.nan)), "NaN"),
        (lambda path: np.save(path, np.full((2, WIDTH), "a")), "no array of numbers"),
        (
            lambda path: np.save(path, np.full((2, WIDTH), None, object), allow_pickle=True),
            "not a readable",
        ),
    ],
)
def test_a_bad_file_is_a_row_of_failures(corpus, tmp_path, damage, words):
    path = file_of(corpus, 4)
    damage(path)
    store = made(corpus, tmp_path, max_failures=0.2)
    assert len(store) == len(corpus) - 1
    (failure,) = store.failed
    assert failure.id == corpus.frame["id"].iat[4]
    assert failure.error == "FeatureError"
    assert words in failure.message
    with pytest.raises(FeatureError):
        made(corpus, tmp_path / "strict", max_failures=0.0)


@pytest.mark.parametrize("folder", ["/etc", "../faces", "a/../../b", "a\\b", ""])
def test_a_folder_elsewhere_is_refused(folder):
    with pytest.raises(ValidationError):
        FramesConfig(folder=folder, width=3)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "a\\b", "a\0b"])
def test_an_id_never_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(FeatureError, match="leads out"):
        frames_path(tmp_path, "Visual", name)


def test_files_are_named_after_ids():
    root = Path("corpus")
    assert frames_path(root, "Visual", "a.b.wav") == root / "Visual" / "a.b.npy"
    assert frames_path(root, "Visual", "dia1_utt.2") == root / "Visual" / "dia1_utt.2.npy"


def test_files_are_read_by_one_thread(corpus, tmp_path, monkeypatch):
    """Python 3.11's `ast`, which parses their headers, fails at random in several."""
    threads = set()
    load = np.load

    def watched(path, **options):
        threads.add(threading.get_ident())
        time.sleep(0.01)
        return load(path, **options)

    monkeypatch.setattr(np, "load", watched)
    assert len(made(corpus, tmp_path, workers=4)) == len(corpus)
    assert len(threads) == 1


def test_the_extractor_reads_no_audio(corpus, tmp_path):
    silent = replace(corpus, frame=corpus.frame.assign(audio=""))
    assert not made(silent, tmp_path).failed
    assert build_extractor(FramesConfig(width=2)).reads == "frames"
