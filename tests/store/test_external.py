"""Stores made elsewhere, used in a run."""

import shutil

import numpy as np
import pytest
from small_corpus import small_corpus
from small_run import small_config

from medusa_jax.config.features import StoreConfig
from medusa_jax.config.run import RunConfig
from medusa_jax.errors import FeatureError, RunFolderError, StoreError
from medusa_jax.runs.inputs import load_stores
from medusa_jax.runs.provenance import keep_provenance
from medusa_jax.runs.run import Run
from medusa_jax.store.external import ready_store
from medusa_jax.store.npy import import_folder
from medusa_jax.store.reader import FeatureStore

COUNT = 10


def test_a_ready_store_is_held_against_the_corpus(corpus, made, tmp_path):
    config, listed = StoreConfig(path=str(made.folder)), tmp_path / "failures.jsonl"
    store = ready_store(corpus, config, listed, max_failures=0.1)
    (row,) = store.failed
    assert row.id == "utterance-004.wav"
    assert row.error == "AudioError", "the reason that the store gives"
    assert listed.read_text().count("\n") == 1
    with pytest.raises(
        FeatureError, match="1 of 10 utterances have no features, more than the 0 allowed"
    ):
        ready_store(corpus, config, listed, max_failures=0.0)
    assert not ready_store(
        corpus.where(np.arange(COUNT) < 3), config, listed, max_failures=0.0
    ).failed, "it may hold more"


def test_a_ready_store_is_a_view_and_changes_no_other_store(corpus, made, tmp_path, monkeypatch):
    monkeypatch.setattr(FeatureStore, "open", lambda folder: made)
    before, file = made.failed, made.failures_file
    fewer = corpus.where(np.arange(COUNT) < 3)
    view = ready_store(fewer, StoreConfig(path="x"), tmp_path / "list", max_failures=0)
    assert (view.failed, view.failures_file) == ((), tmp_path / "list")
    assert (made.failed, made.failures_file) == (before, file)
    assert view.frames(made.ids[0]) is made.frames(made.ids[0]), "the frames are shared"


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
    assert "not in the store" in store.failed[-1].message


def test_a_ready_store_that_is_another_or_damaged_is_refused(corpus, made, tmp_path):
    listed = tmp_path / "list"
    assert ready_store(
        corpus, StoreConfig(path=str(made.folder), digest=made.digest[:12]), listed, max_failures=1
    )
    with pytest.raises(StoreError, match="another feature store"):
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
