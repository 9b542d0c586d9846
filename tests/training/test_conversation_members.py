"""The engine trains SUMMER's teacher and student: stopped, killed, grouped or spread over devices,
to the same end.
"""

import os
import random
import signal
import subprocess
import sys

import dialogue_task
import jax
import numpy as np
import pytest
from dialogue_task import (
    dialogue_data,
    dialogue_group,
    dialogue_member,
    dialogue_members,
    dialogue_stores,
    dialogue_train,
)
from toy_task import outcome_of, toy_metrics

from medusa_jax.config.training import EngineConfig
from medusa_jax.errors import CheckpointError, Interrupted
from medusa_jax.training import checkpoint
from medusa_jax.training.member_folder import MemberFolder

pytestmark = pytest.mark.slow
NAMES = ("first", "second", "causal")
LOOP, VMAP = EngineConfig(side_by_side="loop"), EngineConfig(side_by_side="vmap")
STEPS, EPOCHS = 12, 4


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("talks")


@pytest.fixture(scope="module")
def train(root):
    """Train members of the group by name (all)."""
    given = dialogue_stores(root)

    def run(folder, names=NAMES, engine=LOOP, **options):
        configs = [one for one in dialogue_group() if one.id in names]
        dialogue_train(configs, *given, folder, engine=engine, **options)
        return folder

    return run


@pytest.fixture(scope="module")
def finished(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("finished"))


def outcome(folder, names=NAMES):
    return {name: outcome_of(folder, name) for name in names}


def losses(folder, names=NAMES):
    """Of all epochs, one member behind the other."""
    return np.concatenate([[line["loss"] for line in toy_metrics(folder, one)] for one in names])


def test_the_line_of_an_epoch_tells_the_phase_and_the_test_part(finished):
    for name in NAMES:
        lines = toy_metrics(finished, name)
        assert [line["phase"] for line in lines] == ["teacher"] * 2 + ["student"] * 2
        assert lines[0]["distillation_loss"] == 0 < lines[-1]["distillation_loss"]
        assert all(0 <= line["experts_off"] < 1 for line in lines)
        for line in lines:
            assert 0 <= line["test_weighted_f1"] <= 1
            assert 0 <= line["test_accuracy"] <= 1
        record = MemberFolder(finished / "members" / name).record()
        assert record["best_epoch"] > 2, "the student is the result, whatever the teacher scored"


def test_the_teacher_stays_as_it_was_at_its_best(finished, train, tmp_path, root):
    """Its weights in the finished member are those of a member that is the teacher alone."""
    alone = dialogue_member("first", training={"stage2": {"epochs": 0}})
    dialogue_train([alone], *dialogue_stores(root), tmp_path, engine=LOOP)
    found = []
    for folder in (tmp_path, finished):
        arrays, _ = checkpoint.restore(folder / "members/first/checkpoints", "best")
        found.append(arrays["params"])
    teachers = [jax.tree.leaves(one["teacher"]) for one in found]
    for one, other in zip(*teachers, strict=True):
        np.testing.assert_array_equal(one, other)
    students = [jax.tree.leaves(one["student"]) for one in found]
    assert any((one != other).any() for one, other in zip(*students, strict=True))


def test_stopped_after_every_single_step(train, finished, tmp_path):
    """Each call makes one step or scores one epoch; the last one ends to the bit where the
    uninterrupted group did.
    """
    stops = 0

    def ring(done, total, note=""):
        nonlocal armed
        if armed:
            armed = False
            os.kill(os.getpid(), signal.SIGTERM)

    while True:
        armed = True
        try:
            train(tmp_path, report=ring)
            break
        except Interrupted:
            stops += 1
    assert stops >= STEPS + EPOCHS - 1
    assert outcome(tmp_path) == outcome(finished)


def test_another_seed_ends_elsewhere(train, finished, tmp_path):
    """The negative control of every comparison."""
    train(tmp_path, ["first"], seed=1)
    assert outcome_of(tmp_path, "first") != outcome_of(finished, "first")


@pytest.mark.parametrize("name", NAMES)
def test_a_member_alone_is_the_member_in_the_group(train, finished, tmp_path, name):
    train(tmp_path, [name])
    assert outcome_of(tmp_path, name) == outcome_of(finished, name)


def test_side_by_side_is_one_after_the_other_within_rounding(train, finished, tmp_path):
    train(tmp_path, engine=VMAP)
    np.testing.assert_allclose(losses(tmp_path), losses(finished), rtol=1e-4)


@pytest.mark.skipif(len(jax.devices()) < 4, reason="needs four devices (XLA_FLAGS)")
def test_several_devices_train_what_one_trains(train, finished, tmp_path):
    train(tmp_path, ["first"], EngineConfig(side_by_side="loop", devices=4))
    found, wanted = (losses(folder, ["first"]) for folder in (tmp_path, finished))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_killed_at_five_random_steps(root, finished, tmp_path):
    """SIGKILL, some work lost or none; then the same command once more."""
    seed = int(os.environ.get("MEDUSA_KILL_SEED", "3"))
    rng = random.Random(seed)
    steps = sorted(rng.sample(range(1, STEPS + 1), 5))
    orders = [f"{step}:{rng.choice((0, 0, 10))}" for step in steps]
    command = [sys.executable, dialogue_task.__file__, str(root), str(tmp_path)]
    done = subprocess.run([*command, *orders, "1000:10"], capture_output=True, text=True)
    killed = [str(-signal.SIGKILL)] * 5
    assert done.stdout.split() == [*killed, "0"], done.stderr
    assert outcome_of(tmp_path, "first") == outcome_of(finished, "first"), f"seed {seed}"


def test_predictions_do_not_depend_on_the_batch(finished, root):
    """Alone, or among longer dialogues: the same within rounding."""
    corpus, stores = dialogue_stores(root)
    config = dialogue_group()[0]
    data = dialogue_data(corpus, stores, config)
    task = dialogue_members([config], data)[0].task
    trained = MemberFolder(finished / "members/first").load(task)
    together = trained.predict(data, np.arange(len(data)))["logits"]
    for unit in (0, 7, 12):
        alone = trained.predict(data, np.array([unit]))["logits"][0]
        turns = data.examples.lengths[unit]
        np.testing.assert_allclose(alone[:turns], together[unit, :turns], atol=1e-5)


def test_a_damaged_member_is_refused(finished, root, tmp_path):
    corpus, stores = dialogue_stores(root)
    config = dialogue_group()[0]
    task = dialogue_members([config], dialogue_data(corpus, stores, config))[0].task
    source, place = finished / "members/first", tmp_path / "first"
    place.mkdir()
    for name in ("member.json", "weights.safetensors"):
        (place / name).write_bytes((source / name).read_bytes())
    weights = bytearray((place / "weights.safetensors").read_bytes())
    weights[-5] ^= 1
    (place / "weights.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match="damaged"):
        MemberFolder(place).load(task)
