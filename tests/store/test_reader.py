"""A feature store returns what was stored; any damage is refused by the shard's name."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_corpus import small_corpus
from typer.testing import CliRunner

from medusa_jax.cli.extract import app
from medusa_jax.config.features import HashedTextConfig, LogMelConfig
from medusa_jax.errors import StoreError
from medusa_jax.features.extract import extract
from medusa_jax.features.registry import build_extractor
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.shard import BATCH_ROWS, MappedShard, as_stored, write_batches

TEXT = HashedTextConfig(width=16)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of three shards: 4, 4 and 2 utterances."""
    root = tmp_path_factory.mktemp("store")
    return extract(small_corpus(root / "corpus"), TEXT, root / "store", shard_rows=4).folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy to damage."""
    return shutil.copytree(made, tmp_path / "copy")


def frames_of(text):
    return build_extractor(TEXT)([text])[0].astype(np.float16)


def read_everything(folder):
    store = FeatureStore.open(folder)
    return {id: store.frames(id).copy() for id in store.ids}


def test_gives_back_what_was_extracted(made):
    store = FeatureStore.open(made)
    assert store.ids == tuple(f"utterance-{i:03d}.wav" for i in range(10))
    assert (store.width, store.dtype, len(store), store.failed) == (16, "float16", 10, ())
    assert store.lengths.dtype == np.int32
    for i, (id, length) in enumerate(zip(store.ids, store.lengths, strict=True)):
        expected = frames_of(f"this is number {i}")
        assert length == len(expected)
        assert np.array_equal(store[id], expected)
        assert store[id].dtype == np.float16
    assert "utterance-003.wav" in store
    assert "elsewhere.wav" not in store


def test_frames_are_read_only_views_of_the_file(made):
    store = FeatureStore.open(made)
    first, again = store.frames(store.ids[0]), store.frames(store.ids[0])
    assert np.shares_memory(first, again)
    assert not first.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


def test_nothing_is_copied_when_a_shard_is_read(tmp_path):
    clips = [as_stored(f"{i}", np.full((1000, 64), i, np.float32), "float32") for i in range(100)]
    write_batches(tmp_path / "shard", [clips[:64], clips[64:]], "float32")
    shard = MappedShard(tmp_path / "shard")
    before = pa.total_allocated_bytes()
    rows = shard.rows(64, "float32")
    assert pa.total_allocated_bytes() - before < 100_000  # of 25.6 MB
    assert all((row == i).all() for i, row in enumerate(rows))


def test_an_unknown_utterance_is_named(made):
    with pytest.raises(StoreError, match=r"elsewhere\.wav"):
        FeatureStore.open(made).frames("elsewhere.wav")


def test_plain_datasets_reads_a_shard(made):
    import datasets

    shard = datasets.Dataset.from_file(str(made / "shard-00001.arrow"))
    assert shard["id"][:] == [f"utterance-{i:03d}.wav" for i in range(4, 8)]
    row = shard[1]
    frames = np.frombuffer(row["frames"], np.float16).reshape(row["length"], -1)
    assert np.array_equal(frames, frames_of("this is number 5"))


def test_the_script_in_the_documentation_reads_the_whole_folder(made, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "features.md").read_text()
    script = next(
        block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "load_dataset" in block
    )
    assert len(script.splitlines()) <= 12
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(made)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    store = FeatureStore.open(made)
    assert done.stdout.splitlines() == [f"{id} {store[id].shape} float16" for id in store.ids]


@pytest.mark.parametrize("value", [65504.0, 65519.0, 70000.0, 1e30, -1e30, 1e-9])
def test_float16_saturates_and_counts(value):
    clip = as_stored("a", np.array([[value, 1.0]], np.float32), "float16")
    assert np.isfinite(clip.frames).all()
    assert clip.clipped == (abs(value) > 65504)
    assert clip.frames[0, 0] == np.float16(np.clip(value, -65504, 65504))
    assert as_stored("a", np.array([[value]], np.float32), "float32").clipped == 0


def test_rows_of_every_record_batch_are_found(tmp_path):
    count = 2 * BATCH_ROWS + 3
    store = extract(
        small_corpus(tmp_path / "corpus", count), TEXT, tmp_path / "store", shard_rows=count
    )
    for i, id in enumerate(store.ids):
        assert np.array_equal(store[id], frames_of(f"this is number {i}"))


def test_a_shard_cut_anywhere_is_refused_by_name(folder):
    shard = folder / "shard-00001.arrow"
    whole = shard.read_bytes()
    for cut in range(0, len(whole)):
        shard.write_bytes(whole[:cut])
        with pytest.raises(StoreError, match=r"shard-00001\.arrow is damaged"):
            FeatureStore.open(folder)


def test_a_shard_cut_at_a_record_batch_is_refused_though_arrow_reads_it(tmp_path):
    """The cut that Arrow itself does not notice."""
    count = 2 * BATCH_ROWS
    folder = extract(
        small_corpus(tmp_path / "corpus", count), TEXT, tmp_path / "store", shard_rows=count
    ).folder
    shard = folder / "shard-00000.arrow"
    with pa.OSFile(str(shard)) as file:
        reader = pa.ipc.open_stream(file)
        reader.read_next_batch()
        cut = file.tell()
    shard.write_bytes(shard.read_bytes()[:cut])
    with pa.OSFile(str(shard)) as file:
        assert pa.ipc.open_stream(file).read_all().num_rows == BATCH_ROWS
    with pytest.raises(StoreError, match=r"shard-00000\.arrow"):
        FeatureStore.open(folder)


def test_a_flipped_bit_anywhere_in_a_shard_is_refused_by_name(folder):
    shard = folder / "shard-00001.arrow"
    whole = shard.read_bytes()
    for at in range(0, len(whole), 7):
        shard.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        store = FeatureStore.open(folder)
        assert np.array_equal(store["utterance-000.wav"], frames_of("this is number 0")), (
            "another shard stays readable"
        )
        with pytest.raises(StoreError, match=r"shard-00001\.arrow is damaged"):
            store.frames("utterance-004.wav")
        with pytest.raises(StoreError, match=r"shard-00001\.arrow is damaged"):
            store.verify()


@pytest.mark.parametrize("name", ["store.json", "shard-00001.json"])
def test_a_flipped_bit_anywhere_in_the_ledger_is_refused_by_name(folder, name):
    whole = (folder / name).read_bytes()
    for at in range(len(whole)):
        (folder / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StoreError) as caught:
            FeatureStore.open(folder)
        assert name in caught.value.what


@pytest.mark.parametrize(
    "name",
    [
        "store.json",
        "shard-00000.json",
        "shard-00002.json",
        "shard-00000.arrow",
        "shard-00002.arrow",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "empty", "folder", "json", "list"])
def test_a_store_that_lacks_a_file_is_refused_by_name(folder, name, damage):
    (folder / name).unlink()
    if damage == "folder":
        (folder / name).mkdir()
    elif damage != "missing":
        (folder / name).write_text({"empty": "", "json": "{}", "list": "[1]"}[damage])
    with pytest.raises(StoreError) as caught:
        FeatureStore.open(folder)
    assert name in caught.value.what


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A store of the same shape, of other words of the same length."""
    root = tmp_path_factory.mktemp("other")
    transcripts: list[str | None] = [f"that is number {i}" for i in range(10)]
    return extract(
        small_corpus(root / "corpus", transcripts=transcripts), TEXT, root / "store", shard_rows=4
    ).folder


@pytest.mark.parametrize(
    "mixed",
    [
        ["shard-00001.arrow"],
        ["shard-00001.arrow", "shard-00001.json"],
        ["shard-00001.json"],
        ["store.json"],
    ],
)
def test_two_versions_mixed_are_refused(folder, other, mixed):
    for name in mixed:
        assert (folder / name).stat().st_size == (other / name).stat().st_size, (
            "the size alone must not give it away"
        )
        shutil.copy(other / name, folder / name)
    with pytest.raises(StoreError, match="shard-0000"):
        FeatureStore.open(folder).verify()


def test_a_shard_of_another_place_is_refused(folder):
    for suffix in ("arrow", "json"):
        shutil.copy(folder / f"shard-00000.{suffix}", folder / f"shard-00001.{suffix}")
    with pytest.raises(StoreError, match="shard-00001"):
        FeatureStore.open(folder)


@pytest.mark.parametrize("name", ["shard-00003.arrow", "shard-00003.json", "old.arrow"])
def test_a_foreign_shard_is_refused_by_name(folder, name):
    shutil.copy(folder / "shard-00000.arrow", folder / name)
    with pytest.raises(StoreError) as caught:
        FeatureStore.open(folder)
    assert name in caught.value.what


def test_no_store_at_all_is_an_error_that_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="no feature store") as caught:
        FeatureStore.open(tmp_path / "nothing")
    assert "medusa extract" in str(caught.value)


def test_a_shard_that_vanishes_after_opening_is_named(folder):
    store = FeatureStore.open(folder)
    (folder / "shard-00001.arrow").unlink()
    with pytest.raises(StoreError, match=r"shard-00001\.arrow"):
        store.frames("utterance-004.wav")


def test_the_digest_is_of_the_content(made, folder, other):
    assert FeatureStore.open(made).digest == FeatureStore.open(folder).digest
    assert FeatureStore.open(made).digest != FeatureStore.open(other).digest


def test_opening_reads_no_shard(tmp_path, monkeypatch):
    folder = extract(small_corpus(tmp_path / "corpus"), LogMelConfig(), tmp_path / "store").folder
    monkeypatch.setattr(MappedShard, "sha256", lambda self: pytest.fail("read"))
    assert FeatureStore.open(folder).lengths.sum() > 0


def test_inspect_and_check_from_the_command_line(folder):
    shown = CliRunner().invoke(app, ["inspect", str(folder)])
    assert shown.exit_code == 0, shown.output
    assert "10 of 10; 0 failed" in shown.output
    assert "hashed_text" in shown.output
    assert FeatureStore.open(folder).digest in shown.output
    assert CliRunner().invoke(app, ["check", str(folder)]).exit_code == 0
    shard = folder / "shard-00002.arrow"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    failed = CliRunner().invoke(app, ["check", str(folder)])
    assert isinstance(failed.exception, StoreError)


def test_the_ledger_says_where_the_features_come_from(made):
    plan = json.loads((made / "store.json").read_text())
    assert plan["extractor"]["extractor"] == "hashed_text"
    assert plan["corpus"] == "small"
    entry = json.loads((made / "shard-00000.json").read_text())
    assert "medusa-jax" in entry["made_with"]
    assert (
        str(made.parent)
        not in (made / "store.json").read_text() + (made / "shard-00000.json").read_text()
    )
