"""Folders of .npy files imported and exported."""

import numpy as np
import pytest
from typer.testing import CliRunner

from medusa_jax.cli.extract import app
from medusa_jax.errors import FeatureError, StoreError
from medusa_jax.store.npy import export_folder, import_folder
from medusa_jax.store.reader import FeatureStore

COUNT = 10


def test_a_folder_of_npy_comes_in_and_goes_out(corpus, files, tmp_path):
    store = import_folder(files, corpus, tmp_path / "store", dtype="float32", shard_rows=4)
    assert (len(store), store.width, store.failed) == (COUNT, 8, ())
    for id in store.ids:
        given = np.load(files / id.replace(".wav", ".npy"))
        assert np.array_equal(store[id], given.reshape(-1, 8).astype(np.float32))
    assert export_folder(store, tmp_path / "out") == COUNT
    again = import_folder(
        tmp_path / "out", corpus, tmp_path / "again", dtype="float32", shard_rows=4
    )
    assert all(np.array_equal(again[id], store[id]) for id in store.ids)


def _zip(path):
    with path.open("wb") as file:
        np.savez(file, a=np.zeros((4, 8)))


BAD = {
    "missing": (lambda path: path.unlink(), "there is no"),
    "empty": (lambda path: path.write_bytes(b""), "cannot read .* as an array"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-3]), "cannot read .* as an array"),
    "text": (lambda path: path.write_text("hello"), "cannot read .* as an array"),
    "pickle": (
        lambda path: np.save(path, np.array([{"a": 1}]), allow_pickle=True),
        "cannot read .* as an array",
    ),
    "two": (lambda path: np.save(path, np.zeros((2, 3, 8))), r"shape \(2, 3, 8\)"),
    "flat": (lambda path: np.save(path, np.zeros(8)), r"shape \(8,\)"),
    "no frames": (lambda path: np.save(path, np.zeros((0, 8))), r"shape \(0, 8\)"),
    "wide": (
        lambda path: np.save(path, np.zeros((4, 9))),
        "9 features, those of the first file 8",
    ),
    "whole numbers": (lambda path: np.save(path, np.zeros((4, 8), int)), "no floating-point"),
    "NaN": (lambda path: np.save(path, np.full((4, 8), np.nan)), "NaN"),
    "zip": (lambda path: _zip(path), "no floating-point"),
}


@pytest.mark.parametrize("damage", BAD)
def test_a_bad_file_is_a_row(corpus, files, tmp_path, damage):
    spoil, message = BAD[damage]
    spoil(files / "utterance-005.npy")
    store = import_folder(files, corpus, tmp_path / "store", max_failures=0.1)
    assert [failure.id for failure in store.failed] == ["utterance-005.wav"]
    with pytest.raises(StoreError, match=message):
        store.frames("utterance-005.wav")
    with pytest.raises(FeatureError, match="1 of 10 utterances failed, more than the 0 allowed"):
        import_folder(files, corpus, tmp_path / "strict", max_failures=0)


def test_an_import_that_cannot_be_is_refused(corpus, files, tmp_path):
    with pytest.raises(FeatureError, match="no such folder"):
        import_folder(tmp_path / "nothing", corpus, tmp_path / "store")
    (tmp_path / "bare").mkdir()
    with pytest.raises(FeatureError, match="none of the 10 utterances"):
        import_folder(tmp_path / "bare", corpus, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    import_folder(files, corpus, tmp_path / "store")
    np.save(files / "utterance-003.npy", np.zeros((77, 8)))
    with pytest.raises(StoreError, match="another corpus or other settings"):
        import_folder(files, corpus, tmp_path / "store")


def test_an_export_never_mixes_two_stores(corpus, files, made, tmp_path):
    store = import_folder(files, corpus, tmp_path / "store")
    out = tmp_path / "out"
    export_folder(store, out)
    (out / "utterance-002.npy").unlink()
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("utterance-*")}
    export_folder(store, out)
    assert {
        path.name: path.stat().st_mtime_ns for path in out.glob("utterance-*") if path.name in times
    } == times
    assert (out / "utterance-002.npy").exists()
    with pytest.raises(StoreError, match="another store"):
        export_folder(made, out)
    with pytest.raises(StoreError, match="not empty"):
        export_folder(made, files)


def test_the_commands(corpus, files, tmp_path):
    corpus.save(tmp_path / "corpus.parquet")

    def run(*arguments):
        done = CliRunner().invoke(app, list(map(str, arguments)))
        assert done.exit_code == 0, done.output
        return done.output

    assert "10 utterances" in run(
        "import", files, "--corpus", tmp_path / "corpus.parquet", "--out", tmp_path / "store"
    )
    assert "extractor: store" in run(
        "convert", tmp_path / "store", "--dtype", "int8", "--out", tmp_path / "int8"
    )
    shown = run("inspect", tmp_path / "int8")
    assert "8 x int8" in shown
    assert "read as:     float16, stored as integers" in shown
    assert FeatureStore.open(tmp_path / "store").digest in shown
    assert "10 files" in run("export", tmp_path / "int8", tmp_path / "out")
    assert np.load(tmp_path / "out" / "utterance-001.npy").dtype == np.float16
