"""Extraction in a child process gives the same store, errors, warnings and interruptions."""

import logging
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from small_corpus import bytes_of, small_corpus

from medusa_jax.config.features import HashedTextConfig, HuggingFaceConfig, LogMelConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.errors import FeatureError, Interrupted
from medusa_jax.features import own_process
from medusa_jax.features.extract import extract, extract_share
from medusa_jax.features.own_process import wants_own_process
from medusa_jax.store.share import Share

LOGMEL = LogMelConfig(bands=8)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("own") / "corpus", 10)


def test_the_store_is_the_same(corpus, tmp_path):
    seen = []
    here = extract(corpus, LOGMEL, tmp_path / "here", shard_rows=4)
    child = extract(
        corpus,
        LOGMEL,
        tmp_path / "child",
        shard_rows=4,
        own_process=True,
        progress=lambda *now: seen.append(now),
    )
    assert bytes_of(child.folder) == bytes_of(here.folder)
    assert (seen[0], seen[-1]) == ((0, 10), (10, 10))


def test_a_share_returns_the_missing_shards(corpus, tmp_path):
    config = HashedTextConfig(width=16, ngrams=(2, 4))
    options = {"shard_rows": 4, "own_process": True}
    folder, missing = extract_share(corpus, config, tmp_path, Share(1, 2), **options)
    assert missing == (1,)
    assert (folder / "shard-00002.arrow").is_file()


def test_errors_are_those_of_the_extraction(tmp_path):
    bad = small_corpus(tmp_path / "corpus", 10)
    for row in (2, 3):
        bad.audio_path(row).write_text("hello")
    with pytest.raises(FeatureError, match=r"2 of 10 .* utterance-002\.wav") as caught:
        extract(bad, LOGMEL, tmp_path / "store", max_failures=0.1, own_process=True)
    assert "max_failures" in str(caught.value.hint)
    assert str(caught.value.where).endswith("failures.jsonl")
    store = extract(bad, LOGMEL, tmp_path / "store", max_failures=0.2, own_process=True)
    assert len(store.failed) == 2


def test_warnings_reach_the_log(corpus, tmp_path, caplog):
    folder = extract(corpus, LOGMEL, tmp_path, shard_rows=4).folder
    (folder / "shard-00001.arrow").write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        extract(corpus, LOGMEL, tmp_path, shard_rows=4, own_process=True)
    assert "shard-00001" in caplog.text


def _children():
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    return [
        int(line.split()[0]) for line in listed.stdout.splitlines() if own_process.CHILD in line
    ]


def test_an_interruption_stops_the_child_and_keeps_its_shards(corpus, tmp_path):
    def stop(done, total):
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(corpus, LOGMEL, tmp_path, shard_rows=2, own_process=True, progress=stop)
    assert not _children()
    (folder,) = tmp_path.iterdir()
    assert (folder / "shard-00000.json").is_file()
    assert not list(folder.glob("*.tmp"))
    assert len(extract(corpus, LOGMEL, tmp_path, shard_rows=2)) == 10


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [(signal.SIGTERM, Interrupted, "stopped"), (signal.SIGKILL, FeatureError, "signal 9")],
)
def test_a_signal_to_the_child_is_a_typed_error(tmp_path, number, error, message):
    many = small_corpus(tmp_path / "corpus", 300)

    def send(done, total):
        for child in _children():
            os.kill(child, number)

    with pytest.raises(error, match=message):
        extract(many, LOGMEL, tmp_path / "store", shard_rows=2, own_process=True, progress=send)


_PARENT = """
import sys
from pathlib import Path
from medusa_jax.config.features import LogMelConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.features.extract import extract
tell = lambda done, total: print(done, flush=True)
corpus = Corpus.load(Path(sys.argv[1]))
extract(corpus, LogMelConfig(), Path(sys.argv[2]), shard_rows=2, own_process=True, progress=tell)
"""


@pytest.mark.slow
def test_a_child_ends_with_a_killed_parent(tmp_path):
    many = small_corpus(tmp_path / "corpus", 400)
    many.save(tmp_path / "corpus.parquet")
    command = [sys.executable, "-c", _PARENT, str(tmp_path / "corpus.parquet"), str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        parent.kill()
    time.sleep(1)
    (folder,) = (tmp_path / "s").iterdir()
    before = len(list(folder.iterdir()))
    time.sleep(1)
    assert len(list(folder.iterdir())) == before < 800


MODELS = [HuggingFaceConfig(model="m"), TranscriptionConfig(model="m")]


def run_by(*packages):
    return SimpleNamespace(packages=packages)


def test_only_pytorchs_models_on_cuda_want_one(monkeypatch):
    torch = pytest.importorskip("torch")
    pytorchs = run_by("transformers", "torch")
    for available in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert [wants_own_process(config, pytorchs) for config in MODELS] == [available] * 2
        assert not wants_own_process(LOGMEL, run_by())
    for device, wanted in (("cpu", False), ("cuda:1", True)):
        for config in MODELS:
            placed = config.model_copy(update={"device": device})
            assert wants_own_process(placed, pytorchs) == wanted
            assert wants_own_process(placed, run_by("ctranslate2")) == wanted
            assert not wants_own_process(placed, run_by("jax", "flax"))


def test_for_jax_pytorch_is_not_imported():
    script = """
import sys
from types import SimpleNamespace
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.features.own_process import wants_own_process
jax = SimpleNamespace(packages=("transformers", "jax", "flax"))
print(wants_own_process(HuggingFaceConfig(model="m"), jax), "torch" in sys.modules)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]


_STORES = """
import sys
from pathlib import Path
from small_run import small_config
from medusa_jax.config.run import RunConfig
from medusa_jax.runs.folder import opened
from medusa_jax.runs.inputs import load_corpus, load_stores
from medusa_jax.runs.run import Run
run = Run(RunConfig.model_validate(small_config()), Path(sys.argv[1]))
with opened(run):
    print(sorted(load_stores(run, load_corpus(run))))
"""


def test_jax_has_not_started_when_features_are_extracted(tmp_path):
    """It would take most of a GPU: here a platform that does not exist stops it."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    environment = {**os.environ, "PYTHONPATH": paths, "JAX_PLATFORMS": "nonexistent"}
    command = [sys.executable, "-c", _STORES, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "['logmel', 'text']\n", done.stderr
