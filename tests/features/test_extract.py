"""Extraction resumes where it stopped, and a store's bytes depend on its input only."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from held import held_elsewhere
from small_corpus import RATE, bytes_of, small_corpus

from medusa_jax.audio.decode import load_audio
from medusa_jax.config.features import HashedTextConfig, LogMelConfig, OpenSmileConfig
from medusa_jax.errors import StoreError
from medusa_jax.features.extract import extract, open_extracted
from medusa_jax.features.registry import build_extractor
from medusa_jax.features.store_plan import store_name
from medusa_jax.store.reader import FeatureStore

LOGMEL, TEXT = LogMelConfig(), HashedTextConfig()


@pytest.fixture
def corpus(tmp_path):
    return small_corpus(tmp_path / "corpus", 10)


@pytest.fixture
def made(corpus, tmp_path):
    return extract(corpus, LOGMEL, tmp_path / "made", shard_rows=3).folder


def test_frames_are_those_of_each_utterance_alone(corpus, tmp_path):
    store = extract(corpus, LOGMEL, tmp_path / "store", shard_rows=3)
    extractor = build_extractor(LOGMEL)
    for row, id in enumerate(store.ids):
        expected = extractor([load_audio(corpus.audio_path(row))])[0]
        assert np.array_equal(store[id], expected.astype(np.float16))
    assert (store.folder / "failures.jsonl").read_text() == ""


@pytest.mark.parametrize("config", [LOGMEL, OpenSmileConfig(), TEXT], ids=lambda c: c.extractor)
def test_the_bytes_do_not_depend_on_the_number_of_workers(corpus, tmp_path, config):
    one, four = (
        extract(corpus, config, tmp_path / f"{n}", shard_rows=4, workers=n).folder for n in (1, 4)
    )
    assert bytes_of(one) == bytes_of(four)


def test_the_frames_do_not_depend_on_the_neighbours_or_the_shard_size(corpus, tmp_path):
    all_of_it = extract(corpus, LOGMEL, tmp_path / "all", shard_rows=10)
    half = extract(corpus.where(np.arange(10) % 2 == 1), LOGMEL, tmp_path / "half", shard_rows=2)
    assert len(half) == 5
    for id in half.ids:
        assert np.array_equal(half[id], all_of_it[id])


# Going on


def test_a_finished_store_is_not_touched_and_takes_no_lock(corpus, made):
    seen = []
    with held_elsewhere(made, range(4)):
        before = {path.name: path.stat().st_mtime_ns for path in made.iterdir()}
        extract(
            corpus,
            LOGMEL,
            made.parent,
            shard_rows=3,
            progress=lambda done, total: seen.append((done, total)),
        )
    assert {path.name: path.stat().st_mtime_ns for path in made.iterdir()} == before
    assert seen == [(10, 10)]


@pytest.mark.parametrize("stale", [None, '{"id": "another"}\n'])
@pytest.mark.parametrize("name", ["failures.jsonl", "warnings.jsonl"])
def test_a_run_killed_just_before_its_end_still_writes_its_lists(corpus, made, name, stale):
    before = bytes_of(made)
    (made / name).unlink() if stale is None else (made / name).write_text(stale)
    extract(corpus, LOGMEL, made.parent, shard_rows=3)
    assert bytes_of(made) == before


def test_progress_starts_where_the_work_stopped(corpus, made):
    (made / "shard-00002.json").unlink()
    seen = []
    extract(
        corpus,
        LOGMEL,
        made.parent,
        shard_rows=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(7, 10), (10, 10)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "shard-00001.arrow").write_bytes(
            (folder / "shard-00001.arrow").read_bytes()[:-9]
        ),
        lambda folder: (folder / "shard-00001.arrow").write_bytes(
            (folder / "shard-00001.arrow").read_bytes()[:-1] + b"x"
        ),
        lambda folder: (folder / "shard-00001.arrow").unlink(),
        lambda folder: (folder / "shard-00001.json").write_text("{}"),
        lambda folder: shutil.copy(folder / "shard-00000.json", folder / "shard-00001.json"),
        lambda folder: [
            shutil.copy(folder / f"shard-00000.{kind}", folder / f"shard-00001.{kind}")
            for kind in ("json", "arrow")
        ],
    ],
    ids=["cut", "flipped", "missing", "entry", "other entry", "other shard"],
)
def test_only_the_damaged_shard_is_redone_and_it_is_named(corpus, made, caplog, damage):
    before = bytes_of(made)
    times = {path.name: path.stat().st_mtime_ns for path in made.glob("shard-*")}
    damage(made)
    extract(corpus, LOGMEL, made.parent, shard_rows=3)
    assert bytes_of(made) == before
    redone = {name for name, then in times.items() if (made / name).stat().st_mtime_ns != then}
    assert redone <= {"shard-00001.arrow", "shard-00001.json"}
    assert "shard-00001" in caplog.text


@pytest.mark.parametrize("damage", ["", "{}", None])
def test_a_damaged_plan_is_written_again_and_the_shards_are_kept(corpus, made, damage):
    before = bytes_of(made)
    times = {path.name: path.stat().st_mtime_ns for path in made.glob("shard-*")}
    (made / "store.json").unlink() if damage is None else (made / "store.json").write_text(damage)
    extract(corpus, LOGMEL, made.parent, shard_rows=3)
    assert bytes_of(made) == before
    assert {path.name: path.stat().st_mtime_ns for path in made.glob("shard-*")} == times


def test_a_begun_store_keeps_its_shard_size(corpus, made):
    before = bytes_of(made)
    (made / "shard-00002.json").unlink()
    extract(corpus, LOGMEL, made.parent, shard_rows=5)
    assert bytes_of(made) == before


def test_other_settings_never_go_into_a_store(corpus, made):
    before = bytes_of(made)
    fewer = corpus.where(np.arange(10) < 9)
    for utterances, config in ((corpus, LogMelConfig(bands=40)), (corpus, TEXT), (fewer, LOGMEL)):
        taken = made.parent / store_name(utterances, build_extractor(config))
        shutil.copytree(made, taken)
        with pytest.raises(StoreError, match="another corpus or other settings"):
            extract(utterances, config, made.parent)
        assert bytes_of(taken) == before


def test_each_configuration_has_a_folder_of_its_own(corpus, made):
    others = [extract(corpus, LogMelConfig(bands=bands), made.parent).folder for bands in (40, 80)]
    assert len({made, *others}) == 3
    assert all(folder.parent == made.parent for folder in others)
    assert open_extracted(corpus, LOGMEL, made.parent).folder == made
    with pytest.raises(StoreError, match="no feature store"):
        open_extracted(corpus, LogMelConfig(bands=41), made.parent)


def test_a_foreign_shard_stops_the_work(corpus, made):
    shutil.copy(made / "shard-00000.arrow", made / "shard-00009.arrow")
    with pytest.raises(StoreError, match=r"shard-00009\.arrow"):
        extract(corpus, LOGMEL, made.parent)


_RUN = """
import sys
from pathlib import Path
from small_corpus import small_corpus
from medusa_jax.config.features import LogMelConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.features.extract import extract
print("ready", flush=True)
extract(Corpus.load(Path(sys.argv[1])), LogMelConfig(), Path(sys.argv[2]), shard_rows=2)
"""


def _start(table: Path, folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "support")}
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(table), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again_gives_the_same_bytes(tmp_path):
    corpus = small_corpus(tmp_path / "corpus", 120)
    corpus.save(tmp_path / "corpus.parquet")
    expected = bytes_of(extract(corpus, LOGMEL, tmp_path / "whole", shard_rows=2).folder)
    rng, killed_within = np.random.default_rng(0), 0
    for attempt in range(5):
        folder = tmp_path / f"killed-{attempt}" / store_name(corpus, build_extractor(LOGMEL))
        for _ in range(2):
            process = _start(tmp_path / "corpus.parquet", folder.parent)
            shards = rng.integers(1, 25) + len(list(folder.glob("shard-*.json")))
            while process.poll() is None and len(list(folder.glob("shard-*"))) < shards:
                time.sleep(0.0005)
            time.sleep(rng.uniform(0, 0.005))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            with pytest.raises(StoreError, match="shard-"):
                FeatureStore.open(folder)
            killed_within += 1
        extract(corpus, LOGMEL, folder.parent, shard_rows=2)
        assert bytes_of(folder) == expected
    assert killed_within == 10


# The disk


def test_a_folder_that_cannot_be_made_is_a_typed_error(corpus, tmp_path):
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        extract(corpus, LOGMEL, tmp_path / "store")


def test_a_disk_that_takes_no_more_is_a_typed_error_and_finished_shards_stay(corpus, tmp_path):
    """The kernel itself refuses: a limit on the size of files stands for a full disk."""
    folder = tmp_path / "store" / store_name(corpus, build_extractor(LOGMEL))
    long = np.random.default_rng(0).standard_normal(60 * RATE).astype(np.float32) * 0.1
    soundfile.write(corpus.audio_path(5), long, RATE, subtype="FLOAT")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(StoreError, match="cannot be written") as caught:
            extract(corpus, LOGMEL, folder.parent, shard_rows=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.strerror(errno.EFBIG) in caught.value.what
    kept = {f"shard-0000{shard}.{kind}" for shard in (0, 1) for kind in ("arrow", "json")}
    assert {path.name for path in folder.iterdir()} == {".parts", "store.json", *kept}
    expected = bytes_of(extract(corpus, LOGMEL, tmp_path / "other", shard_rows=2).folder)
    assert bytes_of(extract(corpus, LOGMEL, folder.parent, shard_rows=2).folder) == expected


# Names


def test_the_name_follows_what_the_features_are_made_from_and_nothing_else(corpus, tmp_path):
    logmel, text = build_extractor(LOGMEL), build_extractor(TEXT)
    name = store_name(corpus, logmel)
    assert name.startswith("logmel-")
    assert name == store_name(replace(corpus, root=tmp_path), logmel)
    relabelled = replace(corpus, frame=corpus.frame.assign(split="test1", transcript="other words"))
    assert store_name(relabelled, logmel) == name
    assert store_name(relabelled, text) != store_name(corpus, text)
    assert store_name(corpus, build_extractor(LogMelConfig(hop_ms=20))) != name
    assert store_name(corpus.where(np.arange(10) < 9), logmel) != name
    assert store_name(replace(corpus, name="big"), logmel) != name


def test_the_name_does_not_depend_on_how_pandas_writes_a_missing_transcript(corpus):
    """None in an object column (pandas 2) and NaN in a str column (pandas 3) are the same."""
    text = build_extractor(TEXT)
    values = ["a", None, *["b"] * 8]
    frames = [
        corpus.frame.assign(transcript=pd.Series(values, dtype=kind))
        for kind in ("object", "string", None)
    ]
    assert len({store_name(replace(corpus, frame=frame), text) for frame in frames}) == 1
