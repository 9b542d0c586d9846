"""An ensemble on disk is whole, opens without this project, and is refused by name if not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from simulated_members import CLASSES, CONFIG, fit, simulated

from medusa_jax.ensemble import meta, meta_training
from medusa_jax.ensemble.ensemble_folder import (
    RECORD,
    WEIGHTS,
    Ensemble,
    EnsembleRecord,
    load_ensemble,
    save_ensemble,
)
from medusa_jax.ensemble.variants import ENSEMBLES, MAJORITY, SINGLE, SOFT, SOUP, WEIGHTED
from medusa_jax.ensemble.votes import majority_vote, soft_vote
from medusa_jax.ensemble.weighted import weighted_vote
from medusa_jax.errors import CheckpointError
from medusa_jax.files import digest_of, sha256_of

IDS = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def members():
    return dict(zip(IDS, simulated()[0], strict=True))


@pytest.fixture(scope="module")
def ensemble(members) -> Ensemble:
    found = fit(meta.inputs_of(list(members.values()), True), simulated()[1])
    record = EnsembleRecord(
        classes=CLASSES,
        attributes=("arousal", "valence", "dominance"),
        members=IDS,
        member_digests=("0a", "0b", None, "0d"),
        vote_weights=(0.25,) * 4,
        inputs=("posteriors", "attributes"),
        fit_on="train",
        select="best",
        seeds=meta_training.seeds_of(CONFIG, 0),
        selection_scores=found.scores,
        epochs=found.epochs,
        configuration="digest",
    )
    return Ensemble(record, found)


@pytest.fixture
def folder(ensemble, tmp_path: Path) -> Path:
    save_ensemble(tmp_path, ensemble)
    return tmp_path


def test_it_comes_back_and_combines_to_the_same_bits(folder, ensemble, members):
    back = load_ensemble(folder, classes=CLASSES, members=IDS)
    assert back.record == ensemble.record
    assert back.meta_classifiers.scores == ensemble.meta_classifiers.scores
    for system in ENSEMBLES:
        ours, theirs = (one.combine(system, members) for one in (ensemble, back))
        np.testing.assert_array_equal(ours.logits, theirs.logits)
        np.testing.assert_array_equal(ours.attributes, theirs.attributes)


def test_each_system_is_the_one_named(ensemble, members):
    given, found = list(members.values()), ensemble.meta_classifiers
    expected = {
        MAJORITY: majority_vote(given),
        SOFT: soft_vote(given),
        SINGLE: meta.predict(found.single(), given),
        SOUP: meta.predict(found.soup(), given),
    }
    for system in ENSEMBLES:
        combined = ensemble.combine(system, dict(reversed(members.items())))
        np.testing.assert_array_equal(combined.logits, expected[system].logits)


@pytest.fixture
def weighted(ensemble) -> Ensemble:
    """A weighted vote of the same members."""
    record = EnsembleRecord(
        classes=CLASSES,
        attributes=ensemble.record.attributes,
        members=IDS,
        member_digests=ensemble.record.member_digests,
        kind="weighted",
        vote_weights=(0.7, 0.1, 0.15, 0.05),
        fit_on="held_out",
        targets="one_hot",
        macro_f1=(0.4, 0.5),
        cross_entropy=(1.2, 1.1),
        configuration="digest",
    )
    return Ensemble(record, None)


def test_a_weighted_vote_is_whole_in_its_record(weighted, members, tmp_path):
    save_ensemble(tmp_path, weighted)
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]
    back = load_ensemble(tmp_path, classes=CLASSES, members=IDS)
    assert back == weighted
    given = list(members.values())
    expected = weighted_vote(given, np.array(weighted.record.vote_weights))
    combined = back.combine(WEIGHTED, dict(reversed(members.items())))
    np.testing.assert_array_equal(combined.logits, expected.logits)
    np.testing.assert_array_equal(combined.attributes, expected.attributes)
    even = back.combine(SOFT, members)
    np.testing.assert_array_equal(even.logits, soft_vote(given).logits)
    with pytest.raises(CheckpointError, match="no 'soup'"):
        back.combine(SOUP, members)
    for expected in (dict(classes=CLASSES[::-1]), dict(members=IDS[::-1])):
        with pytest.raises(CheckpointError, match="differ"):
            load_ensemble(tmp_path, **expected)


def test_a_weighted_vote_is_described_by_member(weighted):
    assert weighted.record.summary == (
        "Weights of the members: a 0.700, b 0.100, c 0.150, d 0.050. On the part that they were "
        "fitted on they change Macro-F1 from 0.400 (even weights) to 0.500, and cross-entropy "
        "from 1.200 to 1.100."
    )


@pytest.mark.parametrize(
    "weights", [(0.7, 0.3), (0.7, 0.1, 0.1, 0.2), (0.7, 0.5, -0.3, 0.1), (np.nan, 0.5, 0.5, 0)]
)
def test_weights_that_are_not_of_the_members_are_refused(weighted, tmp_path, weights):
    save_ensemble(
        tmp_path, replace(weighted, record=replace(weighted.record, vote_weights=weights))
    )
    with pytest.raises(CheckpointError, match=r"not of 4 member\(s\)"):
        load_ensemble(tmp_path)


def test_a_damaged_weighted_vote_is_refused(weighted, tmp_path):
    save_ensemble(tmp_path, weighted)
    path = tmp_path / RECORD
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace("0.7", "0.6").replace("0.15", "0.25"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="its own digest"):
        load_ensemble(tmp_path)
    path.write_text(whole[:-40], encoding="utf-8")
    with pytest.raises(CheckpointError, match="damaged"):
        load_ensemble(tmp_path)


def test_a_record_of_an_earlier_version_is_read(folder, ensemble):
    """Before there were kinds."""
    path = folder / RECORD
    content = json.loads(path.read_text(encoding="utf-8"))
    for key in ("kind", "targets", "macro_f1", "cross_entropy", "sha256"):
        del content[key]
    path.write_text(json.dumps({**content, "sha256": digest_of(content)}), encoding="utf-8")
    assert load_ensemble(folder).record == ensemble.record


def test_the_weights_open_without_this_project(folder, ensemble):
    arrays = load_file(folder / WEIGHTS)
    assert {name: array.shape for name, array in arrays.items()} == {
        "seeds/w": (3, 28, 7),
        "seeds/b": (3, 7),
        "soup/w": (28, 7),
        "soup/b": (7,),
    }
    np.testing.assert_allclose(arrays["soup/w"], arrays["seeds/w"].mean(axis=0), atol=1e-7)
    with safe_open(folder / WEIGHTS, "numpy") as file:
        facts = json.loads(file.metadata()["facts"])
    assert (facts["classes"], facts["members"]) == (list(CLASSES), list(IDS))
    with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.restore((folder / "checkpoints/meta-00000000").absolute())
    np.testing.assert_array_equal(tree["soup"]["w"], arrays["soup/w"])
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    assert record["library"].startswith("medusa-jax ")


@pytest.mark.parametrize("name", [RECORD, WEIGHTS])
def test_a_flipped_byte_anywhere_is_refused(folder, name):
    path = folder / name
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if name == RECORD and _same(whole, path.read_bytes()):
            continue  # white space
        with pytest.raises(CheckpointError, match="damaged") as caught:
            load_ensemble(folder)
        assert Path(str(caught.value.where)).name == name


def _same(one: bytes, other: bytes) -> bool:
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


@pytest.mark.parametrize("name", [RECORD, WEIGHTS])
def test_a_truncated_or_missing_file_is_refused(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-1] if name == WEIGHTS else path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="damaged"):
        load_ensemble(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"missing|no ensemble found"):
        load_ensemble(folder)


def test_weights_of_another_ensemble_are_refused(folder, ensemble, tmp_path):
    other = replace(ensemble.record, epochs=(0, 0, 0))
    found = replace(
        ensemble.meta_classifiers,
        params={"w": np.zeros((3, 28, 7), np.float32)} | {"b": np.zeros((3, 7), np.float32)},
    )
    save_ensemble(tmp_path / "other", Ensemble(other, found))
    (folder / WEIGHTS).write_bytes((tmp_path / "other" / WEIGHTS).read_bytes())
    with pytest.raises(CheckpointError, match="digest"):
        load_ensemble(folder)


@pytest.mark.parametrize(
    ("expected", "named"),
    [
        (dict(classes=CLASSES[::-1]), "classes differ: angry.*not neutral"),
        (dict(classes=(*CLASSES, "fear")), "not .*fear"),
        (dict(members=IDS[:3]), "members differ: a, b, c, d, not a, b, c"),
        (dict(members=("b", "a", "c", "d")), "members differ"),
    ],
)
def test_other_classes_or_members_are_refused(folder, expected, named):
    with pytest.raises(CheckpointError, match=named):
        load_ensemble(folder, **expected)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (dict(members=IDS[:3]), r"28 × 7.*3 member\(s\)"),
        (dict(classes=CLASSES[:3]), "28 × 7.*3 classes"),
        (dict(inputs=("posteriors",)), "another width than inputs posteriors"),
        (dict(seeds=[0, 1]), r"not of 2 seed\(s\)"),
    ],
)
def test_weights_of_other_shapes_are_refused(folder, change, named):
    path = folder / RECORD
    content = json.loads(path.read_text(encoding="utf-8")) | change
    del content["sha256"]
    content["weights"] = sha256_of(folder / WEIGHTS)
    path.write_text(json.dumps({**content, "sha256": digest_of(content)}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=named):
        load_ensemble(folder)


def test_predictions_that_are_missing_or_of_other_classes_are_refused(ensemble, members):
    with pytest.raises(CheckpointError, match="member c"):
        ensemble.combine(SOUP, {name: members[name] for name in "abd"})
    foreign = replace(members["b"], classes=CLASSES[::-1])
    with pytest.raises(CheckpointError, match="classes differ") as caught:
        ensemble.combine(SOFT, {**members, "b": foreign})
    assert caught.value.where == "member b"
    with pytest.raises(CheckpointError, match="'best'"):
        ensemble.combine("best", members)
