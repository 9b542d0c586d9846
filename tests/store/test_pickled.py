"""Feature pickles imported as a folder: a table, stores, and nothing half-written."""

import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from feature_pickles import FORMS, LAYOUTS, TRUE, contents, conversations
from rich.console import Console

from medusa_jax.config.corpus import CorpusConfig
from medusa_jax.config.features import StoreConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError, StoreError
from medusa_jax.files import sha256_of
from medusa_jax.store.external import ready_store
from medusa_jax.store.pickled import import_pickles
from medusa_jax.store.reader import FeatureStore

IEMOCAP, IEMOCAP_TEXT, _, MELD, MELD_TEXT, _ = LAYOUTS
OTHERS = {IEMOCAP_TEXT: IEMOCAP, MELD_TEXT: MELD}
PYTHON_2, PYTHON_3 = "Python 2, protocol 2", "Python 3, protocol 4, NumPy 2"


def written(folder, layout, form=PYTHON_3, **sizes):
    path = folder / layout
    path.write_bytes(FORMS[form](contents(layout, conversations(layout, **sizes))))
    return path


def test_the_folder_serves_a_run_without_the_pickle(tmp_path):
    path, out = written(tmp_path, MELD), tmp_path / "meld, {shared}: #1"
    digest = sha256_of(path)
    made = import_pickles(path, [], out)
    path.unlink()
    lines = yaml.safe_load(made.yaml())
    config = CorpusConfig(**lines["corpus"])
    assert (config.source, config.speakers, config.epoch_by) == ("table", "shared", "development")
    corpus = Corpus.load(out / "corpus.parquet")
    assert corpus.digest() == made.found.corpus.digest()
    assert list(lines["features"]) == ["text", "audio", "visual"]
    for name, stream in zip(lines["features"], made.found.streams, strict=True):
        store = ready_store(
            corpus,
            StoreConfig(**lines["features"][name]),
            tmp_path / "failures.jsonl",
            max_failures=0,
            verify=True,
        )
        assert store.plan.extractor["sha256"] == digest
        assert store.plan.extractor["layout"] == MELD
        assert store.plan.extractor["field"] == name
        frames = np.stack([store[id] for id in corpus.frame["id"]])
        np.testing.assert_array_equal(frames, stream.x_nd[:, None])


def test_nothing_is_overwritten(tmp_path):
    path = written(tmp_path, IEMOCAP)
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="nothing is overwritten"):
        import_pickles(path, [], out)
    assert [left.name for left in out.iterdir()] == ["notes.txt"]
    (out / "notes.txt").unlink()
    import_pickles(path, [], out)
    with pytest.raises(StoreError, match="nothing is overwritten"):
        import_pickles(path, [], out)
    with pytest.raises(StoreError, match="nothing is overwritten"):
        import_pickles(path, [], path)


def test_a_refused_file_leaves_nothing(tmp_path):
    path = written(tmp_path, IEMOCAP)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorpusError, match="truncated"):
        import_pickles(path, [], tmp_path / "out")
    assert [left.name for left in tmp_path.iterdir()] == [IEMOCAP]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    path = written(tmp_path, IEMOCAP)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medusa_jax.store.pickled.write_shard", full)
    with pytest.raises(StoreError, match="No space left"):
        import_pickles(path, [], tmp_path / "out")
    assert [left.name for left in tmp_path.iterdir()] == [IEMOCAP]


SLOW = """
import sys, time
from pathlib import Path
from medusa_jax.store.pickled import import_pickles
def progress(done, total):
    print(done, flush=True)
    time.sleep(60)
import_pickles(Path(sys.argv[1]), [], Path(sys.argv[2]), progress=progress)
"""


def test_a_killed_import_leaves_no_folder_and_the_next_one_cleans_up(tmp_path):
    path, out = written(tmp_path, IEMOCAP), tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", SLOW, path, out], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"1\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    assert (tmp_path / ".out.importing").exists()
    import_pickles(path, [], out)
    assert sorted(left.name for left in tmp_path.iterdir()) == [IEMOCAP, "out"]
    assert sorted(os.listdir(out)) == ["audio", "corpus.parquet", "text", "visual"]


@pytest.mark.parametrize("layout", [IEMOCAP_TEXT, MELD_TEXT])
def test_the_summary_fits_80_columns(layout, tmp_path):
    files = [written(tmp_path, layout), written(tmp_path, OTHERS[layout])]
    made = import_pickles(files[0], files[1:], tmp_path / "o")
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(made)
    console.file.close()
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for word in ("text5", "visual", "dialogues", "development", "splits:"):
        assert word in text


def test_the_command_prints_the_lines_and_refuses(medusa, tmp_path):
    files = [written(tmp_path, layout) for layout in (IEMOCAP_TEXT, IEMOCAP)]
    out = tmp_path / "out"
    code, printed, _ = medusa("corpus", "import", files[0], "--with", files[1], "--out", out)
    assert code == 0
    assert f"text5: {{extractor: store, path: {out}/text5}}" in printed
    code, printed, _ = medusa("corpus", "check", out / "corpus.parquet")
    assert "37 utterances" in printed
    files[0].write_bytes(b"cos\nsystem\n(S'touch canary'\ntR.")
    code, _, errors = medusa("corpus", "import", files[0], "--out", tmp_path / "again")
    assert code == CorpusError.exit_code
    assert "names os.system" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_of_the_true_size(layout, tmp_path):
    """Python 2's and 3's pickles of a file as large as the real one: equal tables and arrays."""
    corpus = "iemocap" if "iemocap" in layout.lower() else "meld"
    folders = []
    for form in (PYTHON_2, PYTHON_3):
        files = [written(tmp_path, layout, form, sizes=TRUE)]
        if layout in OTHERS:
            files.append(written(tmp_path, OTHERS[layout], form, sizes=TRUE))
        started = time.monotonic()
        made = import_pickles(files[0], files[1:], tmp_path / str(len(folders)))
        print(f"{layout}, {form}: {time.monotonic() - started:.1f} s")
        folders.append(made.folder)
    train, test, utterances = TRUE[corpus]
    frame = made.found.corpus.frame
    assert len(frame) == utterances
    assert frame["dialogue"].nunique() == train + test
    assert frame[frame["split"] == "test1"]["dialogue"].nunique() == test
    tables = [Corpus.load(folder / "corpus.parquet") for folder in folders]
    assert tables[0].digest() == tables[1].digest()
    for stream in made.found.streams:
        stores = [FeatureStore.open(folder / stream.name) for folder in folders]
        shards = [[entry.sha256 for entry in store.entries] for store in stores]
        assert shards[0] == shards[1]
        assert len(stores[0]) == utterances


def test_generated_files_are_ordinary_pickles(tmp_path):
    """As published loaders open them."""
    path = written(tmp_path, IEMOCAP)
    fields = pickle.loads(path.read_bytes(), encoding="latin1")
    assert len(fields) == 9
    assert fields[4]["Ses01F_impro000"][0].shape == (1582,)
