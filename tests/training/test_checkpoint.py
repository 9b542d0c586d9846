"""Checkpoints: what was saved comes back bit for bit, plain orbax reads it, and damage of any kind
is refused by name.
"""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx

from medusa_jax.errors import CheckpointError
from medusa_jax.models.encoder import linear
from medusa_jax.training import checkpoint

ABOUT = {"epochs": 3, "best": 0.1 + 0.2}


def tree(seed=0):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(7, 5)).astype(np.float32)
    return {
        "params": {"layers": {"0": {"kernel": kernel, "bias": np.full(5, -0.0, np.float32)}}},
        "step": np.array(7, np.int32),
    }


def save(folder, step=4, kind="last", digest="this config", seed=0):
    checkpoint.save(folder, kind, step, tree(seed), ABOUT, digest)
    return folder / f"{kind}-{step:08d}"


def bits(arrays):
    return {
        jax.tree_util.keystr(path): (leaf.dtype.str, leaf.shape, leaf.tobytes())
        for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with one checkpoint; tests copy it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save(folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def files_of(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_round_trip_to_the_bit(saved):
    arrays, about = checkpoint.restore(saved, "last", "this config")
    assert bits(arrays) == bits(tree())
    assert about == ABOUT


def test_there_may_be_none(tmp_path, saved):
    assert checkpoint.restore(tmp_path, "last") is None
    assert checkpoint.restore(tmp_path / "nowhere", "last") is None
    assert checkpoint.restore(saved, "best") is None


def test_plain_orbax_opens_it_as_nested_dicts(saved):
    with ocp.StandardCheckpointer() as checkpointer:
        arrays = checkpointer.restore((saved / "last-00000004").absolute())
    assert bits(jax.tree.map(np.asarray, arrays)) == bits(tree())


@pytest.mark.parametrize("fraction", [pytest.param(1, marks=pytest.mark.slow), 24])
def test_a_flipped_byte_anywhere_is_refused(copy, fraction):
    """In every file, orbax's own and ours; all bytes, or every 24th and some of each file."""
    for name in files_of(copy):
        path = copy / name
        content = path.read_bytes()
        for at in range(0, len(content), min(fraction, max(1, len(content) // 4))):
            path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
            with pytest.raises(CheckpointError) as caught:
                checkpoint.restore(copy, "last", "this config")
            assert "last-00000004" in str(caught.value.where)
            assert (
                name.suffix == ".json"
                or name.relative_to("last-00000004").as_posix() in caught.value.what
            )
        path.write_bytes(content)
    assert checkpoint.restore(copy, "last", "this config") is not None


def test_a_truncated_or_missing_file_is_refused(copy):
    for name in files_of(copy):
        path = copy / name
        content = path.read_bytes()
        for cut in (0, 1, len(content) // 2, len(content) - 1, None):
            if cut is None:
                path.unlink()
                if name.suffix == ".json":
                    # without its record a checkpoint does not count: below
                    path.write_bytes(content)
                    continue
            else:
                path.write_bytes(content[:cut])
            with pytest.raises(CheckpointError, match="cannot be read"):
                checkpoint.restore(copy, "last", "this config")
        path.write_bytes(content)


def test_a_changed_number_in_the_record_is_refused(copy):
    path = copy / "last-00000004.json"
    record = json.loads(path.read_text())
    record["about"]["epochs"] = 2
    path.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="does not match its own digest") as caught:
        checkpoint.restore(copy, "last")
    assert "remove last-00000004" in caught.value.hint


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"config": "x"}', "{"])
def test_a_record_that_is_none_is_refused(copy, text):
    (copy / "last-00000004.json").write_text(text)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.restore(copy, "last")


def test_another_checkpoints_files_are_refused(copy, tmp_path):
    """Whole in themselves, but not the files that the record lists."""
    other = save(tmp_path / "other", seed=1)
    shutil.rmtree(copy / "last-00000004")
    shutil.copytree(other, copy / "last-00000004")
    with pytest.raises(CheckpointError, match="damaged or missing: "):
        checkpoint.restore(copy, "last")


def test_another_configuration_is_refused(saved):
    with pytest.raises(CheckpointError, match="another configuration"):
        checkpoint.restore(saved, "last", "that config")


def test_without_its_record_a_checkpoint_does_not_count(copy):
    save(copy, step=5, seed=1)
    (copy / "last-00000005.json").unlink()
    assert checkpoint.restore(copy, "last") is None


def test_the_older_one_stays_until_the_newer_is_complete(copy):
    """As a kill leaves it: the newer folder whole, its record not yet there."""
    newer = save(copy.parent / "elsewhere", step=5, seed=1)
    shutil.copytree(newer, copy / "last-00000005")
    assert bits(checkpoint.restore(copy, "last")[0]) == bits(tree(0))
    (copy / "last-00000006.orbax-checkpoint-tmp").mkdir()
    save(copy, step=6, seed=2)
    assert bits(checkpoint.restore(copy, "last")[0]) == bits(tree(2))
    assert {name.parts[0] for name in files_of(copy)} == {"last-00000006", "last-00000006.json"}, (
        "older ones and remains are gone"
    )


def test_kinds_do_not_touch_each_other(copy):
    save(copy, kind="best", step=1, seed=3)
    save(copy, kind="last", step=9, seed=4)
    assert bits(checkpoint.restore(copy, "best")[0]) == bits(tree(3))
    assert bits(checkpoint.restore(copy, "last")[0]) == bits(tree(4))


def test_a_relative_folder_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for step in (1, 2):
        save(Path("here"), step=step, seed=step)
    assert bits(checkpoint.restore(Path("here"), "last")[0]) == bits(tree(2))


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from medusa_jax.errors import CheckpointError
from medusa_jax.training import checkpoint
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
weights = {"w": np.random.default_rng(0).normal(size=20_000).astype(np.float32)}
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    checkpoint.save(folder, "last", 5, weights, {}, "this config")
except CheckpointError as error:
    print("refused", error)
"""


@pytest.mark.parametrize("limit", [0, 100, 20_000])
def test_on_a_full_disk_the_earlier_checkpoint_stays(copy, limit):
    """No file may grow beyond `limit` bytes: the system refuses the write, as a full disk does."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(copy), str(limit)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "could not be written" in done.stdout
    assert "last-00000005" in done.stdout
    assert "free some disk space" in done.stdout
    assert bits(checkpoint.restore(copy, "last", "this config")[0]) == bits(tree())
    save(copy, step=6, seed=6)
    assert bits(checkpoint.restore(copy, "last", "this config")[0]) == bits(tree(6))


def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CheckpointError, match="could not be written") as caught:
        save(tmp_path / "file")
    assert "file" in str(caught.value.where)


def test_a_model_goes_into_dicts_and_comes_back():
    """`fill` refuses arrays of another model instead of bending them."""

    def params(hidden):
        return nnx.split(
            nnx.List([linear(3, hidden, nnx.Rngs(0)), linear(hidden, 4, nnx.Rngs(0))]), nnx.Param
        )[1]

    one, other = params(8), params(16)
    dicts = checkpoint.as_dicts(one)
    assert dicts["0"]["kernel"].shape == (3, 8)
    back = checkpoint.fill(jax.tree.map(np.zeros_like, one), dicts)
    assert bits(jax.tree.map(np.asarray, back)) == bits(jax.tree.map(np.asarray, one))
    with pytest.raises(CheckpointError, match=r"has no array 0/bias of shape \(16,\)"):
        checkpoint.fill(other, dicts)
    del dicts["1"]
    with pytest.raises(CheckpointError, match="has no array 1/"):
        checkpoint.fill(one, dicts)
