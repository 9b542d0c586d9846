"""A trained member's folder is whole; a damaged one or another task's is refused by name."""

import json
from dataclasses import replace

import numpy as np
import orbax.checkpoint as ocp
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from toy_task import toy_data, toy_examples, toy_group, toy_members, toy_train

from medusa_jax.errors import CheckpointError
from medusa_jax.training.member_folder import MemberFolder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The member over words alone, its folder and what it was trained on."""
    folder = tmp_path_factory.mktemp("toy")
    examples, config = toy_examples(folder / "stores"), toy_group()[2]
    data = toy_data(examples, config)
    (loaded,) = toy_train([config], examples, data.fit, data.held_out, folder)
    (member,) = toy_members([config], data)
    return member, MemberFolder(folder / "members" / config.id), data, loaded


@pytest.fixture
def kept(trained):
    """The same, with every file put back after the test."""
    before = {p: p.read_bytes() for p in trained[1].path.rglob("*") if p.is_file()}
    yield trained
    for path, content in before.items():
        path.write_bytes(content)


def test_the_record_names_all_that_the_weights_need(trained):
    member, folder, _, _ = trained
    record = folder.record()
    assert (record["task"], record["sampling_rate"]) == ("deepser", 16000)
    with safe_open(folder.path / "weights.safetensors", "np") as file:
        assert json.loads(file.metadata()["facts"])["classes"] == record["classes"]
    assert record["classes"] == ["angry", "happy", "sad"]
    assert record["attributes"] == ["arousal", "valence", "dominance"]
    assert (record["modalities"], record["widths"]) == (["words"], [32])
    assert record["member"]["id"] == "words"
    assert record["training"] == member.digest
    assert record["library"].startswith("medusa-jax ")
    assert record["selection_score"] == record["best"]


def test_the_weights_are_the_same_in_both_forms(trained):
    _, folder, data, loaded = trained
    flat = load_file(folder.path / "weights.safetensors")
    (best,) = (path for path in folder.path.glob("checkpoints/best-*") if path.is_dir())
    arrays = ocp.StandardCheckpointer().restore(best)  # plain orbax, as a script would
    for name, array in flat.items():
        node = arrays
        for part in name.split("/"):
            node = node[part]
        np.testing.assert_array_equal(node, array)
    again = folder.load(loaded.task).predict(data, data.held_out)
    for name, values in loaded.predict(data, data.held_out).items():
        np.testing.assert_array_equal(again[name], values)


def test_every_flipped_byte_of_the_weights_is_seen(kept):
    member, folder, _, _ = kept
    path = folder.path / "weights.safetensors"
    content = path.read_bytes()
    for place in (0, 9, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(CheckpointError, match="weights are damaged") as caught:
            folder.load(member.task)
        assert caught.value.where == path
    path.unlink()
    with pytest.raises(CheckpointError, match="weights are damaged"):
        folder.verified(member.digest)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ("angry", "sad", "happy")},
        {"classes": ("angry", "happy", "calm")},
        {"widths": {"words": 16, "letters": 16}},
        {"attributes": ("valence", "arousal", "dominance")},
    ],
)
def test_another_task_is_refused_by_the_fact_that_differs(trained, change):
    member, folder, _, _ = trained
    other = replace(member.task, facts=replace(member.task.facts, **change))
    with pytest.raises(CheckpointError, match=next(iter(change))):
        folder.load(other)


def test_records_of_earlier_versions_and_other_trainings_are_refused(kept):
    member, folder, _, _ = kept
    with pytest.raises(CheckpointError, match="another configuration"):
        folder.load(member.task, "0" * 64)
    path = folder.path / "member.json"
    record = json.loads(path.read_text())
    old = {"member": record["member"], "held_out_macro_f1": 0.5, "stage": 3}
    path.write_text(json.dumps(old))
    with pytest.raises(CheckpointError, match="earlier version"):
        folder.load(member.task)
    path.write_text(json.dumps(record)[:-20])
    with pytest.raises(CheckpointError, match="cannot be read"):
        folder.load(member.task)
    path.unlink()
    with pytest.raises(CheckpointError, match="no trained member"):
        folder.load(member.task)
