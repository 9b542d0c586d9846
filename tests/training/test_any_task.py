"""The engine trains a task unlike DeepSER (`melody_task`) through the same kills, resumption,
grouping and meshes.
"""

import os
import random
import signal
import subprocess
import sys

import jax
import melody_task
import numpy as np
import pytest
from melody_task import Melodies, MelodyTask, melody_members, melody_train
from toy_task import outcome_of, toy_metrics

from medusa_jax.config.training import EngineConfig
from medusa_jax.errors import CheckpointError, Interrupted
from medusa_jax.machines.mesh import devices_of
from medusa_jax.tasks.task import Dataset, Task
from medusa_jax.training import checkpoint
from medusa_jax.training.groups import grouped
from medusa_jax.training.member_folder import MemberFolder
from medusa_jax.training.memory import bytes_of, group_bytes, need_of
from medusa_jax.training.weights import new_weights

LOOP, VMAP = EngineConfig(side_by_side="loop"), EngineConfig(side_by_side="vmap")
NAMES = ("low", "high", "wide")


@pytest.fixture(scope="module", params=["loop", "vmap"])
def engine(request):
    return EngineConfig(side_by_side=request.param)


@pytest.fixture(scope="module")
def finished(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return melody_train(folder, engine=engine), folder


def outcome(folder):
    return {name: outcome_of(folder, name) for name in NAMES}


def test_it_is_a_task_and_learns(finished):
    trained, folder = finished
    assert isinstance(MelodyTask(), Task)
    assert isinstance(Melodies(), Dataset)
    lines = toy_metrics(folder, "low")
    assert [line["phase"] for line in lines] == ["all"] * 4 + ["head"] * 2
    assert lines[-1]["selection_score"] > lines[0]["selection_score"]
    assert set(lines[0]) >= {"loss", "entropy", "notes", "steps", "selection_score"}
    data = Melodies()
    found = trained["low"].predict(data, data.held_out)
    task = trained["low"].task
    best = task.score(found, task.phases[-1])
    assert best == max(line["selection_score"] for line in lines)
    assert "watched_all" in lines[0]
    assert "watched_head" in lines[-1]


def test_the_second_phase_starts_from_the_best_and_trains_the_head_alone(finished, tmp_path):
    trained, folder = finished
    arrays, _ = checkpoint.restore(folder / "members/low/checkpoints", "best")
    assert set(arrays["params"]) == {"lower", "head"}, "the embedding is frozen"
    record = MemberFolder(folder / "members/low").record()
    assert record["frozen"] == trained["low"].weights.frozen_digest() is not None
    best = np.argmax([line["selection_score"] for line in toy_metrics(folder, "low")])
    assert record["best_epoch"] == best + 1


def test_other_pretrained_weights_are_refused(finished, monkeypatch):
    place = MemberFolder(finished[1] / "members/low")
    build = MelodyTask.build

    def other(task, key):
        model = build(task, key)
        model.embed.embedding[...] = model.embed.embedding[...] + 1
        return model

    monkeypatch.setattr(MelodyTask, "build", other)
    with pytest.raises(CheckpointError, match="pretrained weights are not those"):
        place.load(MelodyTask())


def test_stopped_after_every_single_step(engine, finished, tmp_path):
    """Each call makes one step or scores one epoch; the last one ends to the bit where the
    uninterrupted group did.
    """
    stops = 0

    def ring(done, total, note=""):
        if ring.armed:
            ring.armed = False
            os.kill(os.getpid(), signal.SIGTERM)

    while True:
        ring.armed = True
        try:
            melody_train(tmp_path, engine=engine, report=ring)
            break
        except Interrupted:
            stops += 1
    assert stops >= 4 * 4 + 4 + 3 * 2 + 3, "after every step and every epoch"
    assert outcome(tmp_path) == outcome(finished[1])


def test_another_seed_ends_elsewhere(engine, finished, tmp_path):
    """The negative control of every comparison."""
    melody_train(tmp_path, ["low"], seed=1, engine=engine)
    assert outcome_of(tmp_path, "low") != outcome_of(finished[1], "low")


@pytest.mark.parametrize("name", NAMES)
def test_a_member_alone_is_the_member_in_the_group(name, tmp_path):
    melody_train(tmp_path / "all", engine=LOOP)
    melody_train(tmp_path / "alone", [name], engine=LOOP)
    assert outcome_of(tmp_path / "alone", name) == outcome_of(tmp_path / "all", name)


def test_side_by_side_is_one_after_the_other_within_rounding(tmp_path):
    melody_train(tmp_path / "loop", engine=LOOP)
    melody_train(tmp_path / "vmap", engine=VMAP)
    for name in NAMES:
        one, other = toy_metrics(tmp_path / "loop", name), toy_metrics(tmp_path / "vmap", name)
        losses = [[line["loss"] for line in lines] for lines in (one, other)]
        np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.skipif(len(jax.devices()) < 4, reason="needs four devices (XLA_FLAGS)")
def test_several_devices_train_what_one_trains(tmp_path):
    melody_train(tmp_path / "one", engine=LOOP)
    spread = EngineConfig(side_by_side="vmap", devices=4)
    melody_train(tmp_path / "four", engine=spread)
    for name in NAMES:
        one, four = toy_metrics(tmp_path / "one", name), toy_metrics(tmp_path / "four", name)
        losses = [[line["loss"] for line in lines] for lines in (one, four)]
        np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.slow
def test_killed_at_random_steps(tmp_path):
    """SIGKILL at four random steps, then the same command once more."""
    melody_train(tmp_path / "whole", engine=EngineConfig())
    rng = random.Random(int(os.environ.get("MEDUSA_KILL_SEED", "2")))
    command = [sys.executable, melody_task.__file__, str(tmp_path / "killed")]
    for step in sorted(rng.sample(range(2, 40), 4)):
        minutes = rng.choice(("0", "10"))
        environment = os.environ | {"TOY_KILL_AT": str(step)}
        done = subprocess.run([*command, minutes], env=environment, capture_output=True, text=True)
        assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    done = subprocess.run([*command, "10"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_needs_and_groups_come_from_shapes_alone():
    members, data = melody_members(), Melodies()
    needs = {one.id: need_of(one.task, data) for one in members}
    assert needs["low"].structure == needs["high"].structure != needs["wide"].structure
    weights = new_weights(members[0].task, members[0].initial_key)
    assert needs["low"].parameters == sum(x.size for x in jax.tree.leaves(weights.params))
    assert needs["low"].state > 3 * bytes_of(weights.params), "weights and Adam's moments"
    assert needs["low"].batch == bytes_of(data.shapes(data.size))
    limit = group_bytes([needs["low"], needs["high"]], False)
    groups = grouped(dict.fromkeys(NAMES, "one stream"), needs, limit, False)
    assert groups == [["low", "high"], ["wide"]]
    assert devices_of(1).count == 1
