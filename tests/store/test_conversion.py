"""Stores in 8 bits, converted stores, .npy folders in and out, and stores that a run did not make itself."""

import shutil

import numpy as np
import pytest
from small_corpus import bytes_of, small_corpus
from small_run import small_config
from typer.testing import CliRunner

from medusa_jax.cli.extract import app
from medusa_jax.config.features import LogMelConfig, StoreConfig
from medusa_jax.config.run import RunConfig
from medusa_jax.errors import FeatureError, RunFolderError, StoreError
from medusa_jax.features.extract import extract
from medusa_jax.runs.inputs import load_stores
from medusa_jax.runs.provenance import keep_provenance
from medusa_jax.runs.run import Run
from medusa_jax.store.conversion import convert
from medusa_jax.store.external import ready_store
from medusa_jax.store.int8 import quantise
from medusa_jax.store.npy import export_folder, import_folder
from medusa_jax.store.reader import FeatureStore

COUNT = 10


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("forms") / "corpus", COUNT)


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    """Log-mel in float32, four shards; one utterance failed."""
    missing = corpus.audio_path(4)
    content = missing.read_bytes()
    missing.unlink()
    store = extract(
        corpus,
        LogMelConfig(dtype="float32"),
        tmp_path_factory.mktemp("forms") / "store",
        shard_rows=3,
        max_failures=0.1,
    )
    missing.write_bytes(content)
    return store


# Eight bits


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 300.0, 6e4])
@pytest.mark.parametrize("frames", [1, 7, 200])
def test_int8_is_within_half_a_step_of_each_feature(size, frames):
    x_td = np.random.default_rng(frames).standard_normal((frames, 16)) * np.geomspace(1e-3, 1, 16)
    x_td = (x_td / np.abs(x_td).max() * size).astype(np.float32)
    coded = quantise(x_td)
    exact = coded.codes_td * coded.scale_d.astype(np.float64)
    half = np.abs(x_td).max(axis=0) / 127 / 2
    assert (np.abs(exact - x_td) <= half * (1 + 1e-5)).all()
    rounding = np.maximum(np.abs(exact) * 2**-11, 2**-25)
    assert (np.abs(coded.decoded() - exact) <= rounding * (1 + 1e-3)).all()
    assert coded.decoded().dtype == np.float16
    if frames == 200 and size == 1:
        assert np.abs(exact - x_td).max() > half.max() / 2, (
            "a bound that is never neared shows nothing"
        )


def test_int8_of_zeros_and_of_the_smallest_numbers_is_finite():
    x_td = np.zeros((3, 4), np.float32)
    x_td[:, 1], x_td[0, 2] = 65504.0, np.finfo(np.float32).smallest_subnormal
    decoded = quantise(x_td).decoded()
    assert np.isfinite(decoded).all()
    assert (decoded[:, 1] == 65504).all()
    assert not decoded[:, [0, 2, 3]].any()


def test_a_store_in_int8_gives_float16_near_the_original(corpus, made, tmp_path):
    store = extract(corpus, LogMelConfig(dtype="int8"), tmp_path / "int8", shard_rows=3)
    assert (store.plan.dtype, store.dtype) == ("int8", "float16")
    for id in made.ids:
        x_td, bound = made[id], np.abs(made[id]).max(axis=0) / 254 + np.abs(made[id]) * 2**-10
        assert store[id].dtype == np.float16
        assert (np.abs(store[id] - x_td) <= bound).all()
    half = extract(corpus, LogMelConfig(dtype="int8"), tmp_path / "other shards", shard_rows=10)
    assert all(np.array_equal(store[id], half[id]) for id in store.ids), (
        "no number depends on its neighbours"
    )


# Converted


def test_a_converted_store_holds_the_same_and_says_what_of(made, tmp_path):
    for dtype in ("float16", "int8"):
        other = convert(made, dtype, tmp_path / dtype)
        assert (other.ids, other.failed, other.plan.dtype) == (made.ids, made.failed, dtype)
        assert np.array_equal(other.lengths, made.lengths)
        assert other.plan.made_from == made.digest
        assert other.digest != made.digest
        assert other.entries[0].made_with == made.entries[0].made_with
        assert (other.folder / "failures.jsonl").read_text() == (
            made.folder / "failures.jsonl"
        ).read_text()
        other.verify()
    half = FeatureStore.open(tmp_path / "float16")
    assert all(np.array_equal(half[id], made[id].astype(np.float16)) for id in made.ids)


def test_int8_made_directly_and_by_conversion_is_the_same_and_yet_another_store(corpus, tmp_path):
    full = extract(corpus, LogMelConfig(dtype="float32"), tmp_path / "float32", shard_rows=3)
    direct, converted = (
        extract(corpus, LogMelConfig(dtype="int8"), tmp_path / "int8", shard_rows=3),
        convert(full, "int8", tmp_path / "converted"),
    )
    assert all(np.array_equal(direct[id], converted[id]) for id in full.ids)
    for config in (LogMelConfig(dtype="int8"), LogMelConfig(dtype="float32")):
        with pytest.raises(StoreError, match="another corpus or other settings"):
            extract(corpus, config, converted.folder)


def test_a_conversion_goes_on_and_redoes_only_what_is_damaged(made, tmp_path):
    folder = convert(made, "int8", tmp_path / "int8").folder
    before, times = (
        bytes_of(folder),
        {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")},
    )
    (folder / "shard-00001.arrow").write_bytes(b"damaged")
    (folder / "shard-00003.json").unlink()
    seen = []
    convert(made, "int8", folder, progress=lambda *now: seen.append(now))
    assert bytes_of(folder) == before
    assert seen[0] == (6, 10)
    assert {name for name, then in times.items() if (folder / name).stat().st_mtime_ns != then} == {
        f"shard-0000{shard}.{kind}" for shard in (1, 3) for kind in ("arrow", "json")
    }


def test_a_conversion_of_something_else_or_of_damage_is_refused(corpus, made, tmp_path):
    with pytest.raises(StoreError, match="float32 already"):
        convert(made, "float32", tmp_path / "same")
    with pytest.raises(StoreError, match="another corpus or other settings"):
        convert(made, "int8", shutil.copytree(made.folder, tmp_path / "original"))
    damaged = shutil.copytree(made.folder, tmp_path / "damaged")
    whole = (damaged / "shard-00002.arrow").read_bytes()
    (damaged / "shard-00002.arrow").write_bytes(
        whole[:-500] + bytes([whole[-500] ^ 1]) + whole[-499:]
    )
    with pytest.raises(StoreError, match=r"shard-00002\.arrow is damaged"):
        convert(FeatureStore.open(damaged), "int8", tmp_path / "int8")
    assert {path.name for path in (tmp_path / "int8").glob("shard-*")} == {
        f"shard-0000{i}.{kind}" for i in (0, 1) for kind in ("arrow", "json")
    }


# .npy


@pytest.fixture
def files(corpus, tmp_path):
    """What the published code leaves: one array an utterance, some with an axis too many."""
    folder = tmp_path / "npy"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for row, id in enumerate(corpus.frame["id"]):
        x_td = rng.standard_normal((3 + row, 8)).astype(("float32", "float16", "float64")[row % 3])
        np.save(folder / id.replace(".wav", ".npy"), x_td[None] if row % 2 else x_td)
    return folder


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
    "empty": (lambda path: path.write_bytes(b""), "not an array"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-3]), "not an array"),
    "text": (lambda path: path.write_text("hello"), "not an array"),
    "pickle": (lambda path: np.save(path, np.array([{"a": 1}]), allow_pickle=True), "not an array"),
    "two": (lambda path: np.save(path, np.zeros((2, 3, 8))), r"shape \(2, 3, 8\)"),
    "flat": (lambda path: np.save(path, np.zeros(8)), r"shape \(8,\)"),
    "no frames": (lambda path: np.save(path, np.zeros((0, 8))), r"shape \(0, 8\)"),
    "wide": (
        lambda path: np.save(path, np.zeros((4, 9))),
        "9 features, where the first file has 8",
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
    with pytest.raises(FeatureError, match="1 of 10 utterances failed, 0 may"):
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


# In a run


def test_a_ready_store_is_held_against_the_corpus(corpus, made, tmp_path):
    config, listed = StoreConfig(path=str(made.folder)), tmp_path / "failures.jsonl"
    store = ready_store(corpus, config, listed, max_failures=0.1)
    (row,) = store.failed
    assert row.id == "utterance-004.wav"
    assert row.error == "AudioError", "the reason that the store gives"
    assert listed.read_text().count("\n") == 1
    with pytest.raises(FeatureError, match="1 of 10 utterances have no features, 0 may"):
        ready_store(corpus, config, listed, max_failures=0.0)
    assert not ready_store(
        corpus.where(np.arange(COUNT) < 3), config, listed, max_failures=0.0
    ).failed, "it may hold more"


def test_utterances_that_a_ready_store_does_not_know_are_rows(corpus, made, tmp_path):
    bigger = small_corpus(tmp_path / "bigger", COUNT + 2)
    store = ready_store(
        bigger, StoreConfig(path=str(made.folder)), tmp_path / "list", max_failures=0.5
    )
    assert [row.id for row in store.failed] == [
        "utterance-004.wav",
        "utterance-010.wav",
        "utterance-011.wav",
    ]
    assert "does not hold it" in store.failed[-1].message


def test_a_ready_store_that_is_another_or_damaged_is_refused(corpus, made, tmp_path):
    listed = tmp_path / "list"
    assert ready_store(
        corpus, StoreConfig(path=str(made.folder), digest=made.digest[:12]), listed, max_failures=1
    )
    with pytest.raises(StoreError, match="not the feature store that is meant"):
        ready_store(
            corpus, StoreConfig(path=str(made.folder), digest="0" * 12), listed, max_failures=1
        )
    damaged = shutil.copytree(made.folder, tmp_path / "damaged")
    whole = (damaged / "shard-00002.arrow").read_bytes()
    (damaged / "shard-00002.arrow").write_bytes(
        whole[:-500] + bytes([whole[-500] ^ 1]) + whole[-499:]
    )
    config = StoreConfig(path=str(damaged))
    lazily = ready_store(corpus, config, listed, max_failures=1)
    with pytest.raises(StoreError, match=r"shard-00002\.arrow is damaged"):
        lazily.frames("utterance-007.wav")
    with pytest.raises(StoreError, match=r"shard-00002\.arrow is damaged"):
        ready_store(corpus, config, listed, max_failures=1, verify=True)


def test_a_run_reads_a_ready_store_and_refuses_another_in_its_place(corpus, files, made, tmp_path):
    place = tmp_path / "place"
    import_folder(files, corpus, place)
    raw = small_config(
        features={"speech": {"extractor": "store", "path": str(place)}},
        members=[{"id": "one", "modalities": ["speech"]}],
    )
    run = Run(RunConfig.model_validate(raw), tmp_path / "runs")
    store = load_stores(run, corpus)["speech"]
    assert (store.width, len(store)) == (8, COUNT)
    assert (run.folder / "failures-speech.jsonl").read_text() == ""
    keep_provenance(run, stores={"speech": store.digest})
    assert load_stores(run, corpus, verify=True)["speech"].digest == store.digest
    shutil.rmtree(place)
    import_folder(files, corpus, place, dtype="int8")
    with pytest.raises(RunFolderError, match="began with other speech features"):
        load_stores(run, corpus)


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
    assert "read as:     float16, of whole numbers" in shown
    assert FeatureStore.open(tmp_path / "store").digest in shown
    assert "10 files" in run("export", tmp_path / "int8", tmp_path / "out")
    assert np.load(tmp_path / "out" / "utterance-001.npy").dtype == np.float16
