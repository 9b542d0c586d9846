"""Several processes make one store, a share each, with the bytes that one process would write."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from held import held_elsewhere
from small_corpus import bytes_of, small_corpus
from small_run import small_yaml

from medusa_jax.config.features import LogMelConfig
from medusa_jax.errors import ConfigError, FeatureError, StoreError
from medusa_jax.features.extract import extract, extract_share
from medusa_jax.features.registry import build_extractor
from medusa_jax.features.store_plan import store_name
from medusa_jax.files import PartLocks
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.share import Share

LOGMEL = LogMelConfig()


@pytest.fixture
def corpus(tmp_path):
    """Ten utterances: four shards of three."""
    return small_corpus(tmp_path / "corpus", 10)


def share_of(corpus, folder, text, **options):
    """Make a share of the store `folder`; the shards still missing."""
    made, missing = extract_share(
        corpus, LOGMEL, folder.parent, Share.parse(text), shard_rows=3, **options
    )
    assert made == folder
    return missing


@pytest.fixture
def folder(corpus, tmp_path):
    return tmp_path / "features" / store_name(corpus, build_extractor(LOGMEL))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [1, 2, 5, 100])
def test_shares_are_disjoint_and_together_all(count, total):
    shares = [set(Share(index, count).shards(total)) for index in range(1, count + 1)]
    assert set().union(*shares) == set(range(total))
    assert sum(map(len, shares)) == total
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    "text",
    ["0/4", "5/4", "1", "1/", "/4", "1/0", "-1/4", "a/b", "1/4/2", "1.5/4", "", " 1/4", "²/4"],
)
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ConfigError, match="no share") as caught:
        Share.parse(text)
    assert "counted from 1" in str(caught.value)


@pytest.mark.parametrize(
    "order",
    [["1/3", "2/3", "3/3"], ["3/3", "1/3", "2/3"], ["1/9", *(f"{i}/9" for i in range(9, 1, -1))]],
)
def test_shares_in_any_order_end_as_one_run_would(corpus, folder, tmp_path, order):
    expected = bytes_of(extract(corpus, LOGMEL, tmp_path / "whole", shard_rows=3).folder)
    for text in order[:-1]:
        share_of(corpus, folder, text)
    if order[-1] != "2/9":
        with pytest.raises(StoreError, match="is missing"):
            FeatureStore.open(folder)
    assert share_of(corpus, folder, order[-1]) == ()
    assert bytes_of(folder) == expected


def test_a_share_reports_missing_shards_and_counts_its_own(corpus, folder):
    seen = []
    assert share_of(corpus, folder, "2/2", progress=lambda *now: seen.append(now)) == (
        0,
        2,
    )
    assert (seen[0], seen[-1]) == ((0, 4), (4, 4))
    (folder / "shard-00003.json").unlink()
    seen.clear()
    share_of(corpus, folder, "2/2", progress=lambda *now: seen.append(now))
    assert seen == [(3, 4), (4, 4)], "the bar starts where the work stopped"


def test_a_share_touches_no_shard_of_another(corpus, folder):
    share_of(corpus, folder, "1/2")
    (folder / "shard-00002.arrow").write_bytes(b"damaged")
    share_of(corpus, folder, "2/2")
    assert (folder / "shard-00002.arrow").read_bytes() == b"damaged"
    assert share_of(corpus, folder, "1/2") == ()
    FeatureStore.open(folder).verify()


def test_a_shard_that_another_process_makes_is_refused_by_name(corpus, folder):
    with held_elsewhere(folder, [2]):
        with pytest.raises(StoreError, match=r"another process is making shard-00002\.arrow"):
            share_of(corpus, folder, "1/2")
        with pytest.raises(StoreError, match=r"shard-00002\.arrow"):
            extract(corpus, LOGMEL, folder.parent, shard_rows=3)
        assert not list(folder.glob("*.arrow")), "it stops before it has made any"
        assert share_of(corpus, folder, "2/2") == (0, 2), "the other share is free"
    assert share_of(corpus, folder, "1/2") == ()


def test_a_killed_process_holds_nothing_and_its_leftovers_go(corpus, folder):
    with held_elsewhere(folder, [0, 2]) as process:
        left, live = folder / ".shard-00000.arrow.x1.tmp", folder / ".shard-00001.arrow.x2.tmp"
        for path in (left, live):
            path.write_bytes(b"half")
        process.kill()
    share_of(corpus, folder, "1/2")
    assert not left.exists()
    assert live.exists(), "another process may be writing it"
    share_of(corpus, folder, "2/2")
    assert not live.exists()


def test_locks_are_of_parts(tmp_path):
    with held_elsewhere(tmp_path, [3]), PartLocks(tmp_path) as locks:
        assert [locks.take(part) for part in (2, 3, 4)] == [True, False, True]
        with locks.whole():
            pass


def test_a_lock_on_the_whole_is_waited_for(tmp_path):
    order = []
    with PartLocks(tmp_path) as locks, locks.whole():
        code = (
            "import sys; from pathlib import Path; from medusa_jax.files import PartLocks\n"
            "with PartLocks(Path(sys.argv[1])).whole(): print('in')"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
        )
        waiting = threading.Thread(target=lambda: order.append(process.communicate()[0]))
        waiting.start()
        waiting.join(1.5)
        assert not order
    waiting.join(30)
    assert order == [b"in\n"]


def test_failures_of_all_shares_are_listed_by_the_last(corpus, folder):
    for row in (1, 9):
        corpus.audio_path(row).unlink()
    for text in ("2/2", "1/2"):
        share_of(corpus, folder, text, max_failures=0.2)
    listed = re.findall(r'"id": "(.*?)"', (folder / "failures.jsonl").read_text())
    assert listed == ["utterance-001.wav", "utterance-009.wav"]


def test_a_share_with_too_many_failures_lists_those_of_the_others_too(corpus, folder):
    for row in (1, 3, 4):
        corpus.audio_path(row).unlink()
    share_of(corpus, folder, "1/2", max_failures=0.1)
    with pytest.raises(
        FeatureError,
        match="3 of 10 utterances failed, more than the 1 allowed; the first is utterance-001",
    ):
        share_of(corpus, folder, "2/2", max_failures=0.1)
    assert (folder / "failures.jsonl").read_text().count("\n") == 3


def test_the_share_that_completes_a_store_counts_the_failures_of_all(corpus, folder):
    good = {row: corpus.audio_path(row).read_bytes() for row in (1, 9)}
    for row in good:
        corpus.audio_path(row).unlink()
    share_of(corpus, folder, "1/2", max_failures=0.1)
    with pytest.raises(FeatureError, match="2 of 10 utterances failed, more than the 1 allowed"):
        share_of(corpus, folder, "2/2", max_failures=0.1)
    for row, content in good.items():
        corpus.audio_path(row).write_bytes(content)
    for text in ("1/2", "2/2"):
        assert share_of(corpus, folder, text, max_failures=0.1) == ()
    assert len(extract(corpus, LOGMEL, folder.parent, max_failures=0)) == 10


@pytest.mark.slow
def test_processes_started_at_once_need_no_merging(tmp_path):
    """The command itself: three shares at once, of a corpus that none has read before."""
    config = small_yaml(tmp_path / "small.yaml")
    script = str(Path(sys.executable).with_name("medusa"))
    commands = [
        [script, "extract", str(config), "--out", str(tmp_path / "runs"), "--shard", f"{i}/3"]
        for i in (1, 2, 3)
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for command in commands
    ]
    shown = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], shown
    assert any("logmel: share 1/3 is done" in out for out, _ in shown)
    stores = sorted((tmp_path / "runs" / "features").iterdir())
    assert len(stores) == 2
    for folder in stores:
        store = FeatureStore.open(folder)
        store.verify()
        assert np.all(store.lengths > 0)
        assert not list(folder.glob(".*.tmp"))
