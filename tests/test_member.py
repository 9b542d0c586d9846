"""A member learns, stops and goes on: however it is interrupted, it ends as one that never was; what is damaged or foreign is refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_task
from toy_task import SILENT, toy_examples, toy_member, toy_parts

from medusa_jax.errors import CheckpointError, Interrupted, TrainingError
from medusa_jax.features.store import FeatureStore
from medusa_jax.training import checkpoint
from medusa_jax.training.member import train_member
from medusa_jax.training.step import State, optimiser_of, train_step

FIT, HELD_OUT = toy_parts()


class WatchedStore(FeatureStore):
    """A store that notes what it is asked for, and sends this process a SIGTERM at one of the questions."""

    def __init__(self, *args):
        super().__init__(*args)
        self.watch()

    def watch(self, ring_at=None):
        self.asked, self.ring_at = [], ring_at

    def frames(self, id):
        if len(self.asked) == self.ring_at:
            os.kill(os.getpid(), signal.SIGTERM)
        self.asked.append(id)
        return super().frames(id)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return tmp_path_factory.mktemp("toy") / "stores"


@pytest.fixture(scope="module")
def examples(stores):
    plain = toy_examples(stores)
    return replace(plain, stores=tuple(WatchedStore.open(stores / name) for name in plain.modalities))


@pytest.fixture(scope="module")
def finished(examples, tmp_path_factory):
    """A member trained without interruption, and its folder."""
    folder = tmp_path_factory.mktemp("finished")
    return train(examples, folder), folder


def train(examples, folder, config=None, fit=FIT, held_out=HELD_OUT, ring_at=None, **options):
    """Train, by default as `finished`; with `ring_at` a SIGTERM comes when that many frames were read since the start."""
    examples.stores[0].watch(ring_at)
    return train_member(config or toy_member(stage1=2, stage2=2), examples, fit, held_out, folder, **options)


def known(examples, positions):
    """How many of these have features."""
    return int((examples.lengths[positions, 0] > 0).sum())


def metrics(folder):
    """Lines of metrics.jsonl without what a clock measured."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def outcome(folder):
    """All that a training leaves behind, to the bit."""
    kept = {}
    for kind in ("best", "last"):
        arrays, about = checkpoint.restore(folder / "checkpoints", kind)
        kept[kind] = about, {jax.tree_util.keystr(path): leaf.tobytes() for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)}
    return metrics(folder), (folder / "member.json").read_text(), kept


def test_it_learns_and_says_so(examples, finished):
    member, folder = finished
    logits, attributes = member.predict(examples, HELD_OUT)
    labels = examples.corpus.labels[HELD_OUT]
    hits = (logits.argmax(axis=1) == labels)[labels >= 0]
    assert hits.mean() > 0.6, "three classes"
    rated = examples.rated[HELD_OUT] > 0
    errors = np.abs(attributes - examples.attributes[HELD_OUT])[rated]
    assert errors.mean() < np.abs(4 - examples.attributes[HELD_OUT])[rated].mean()
    lines = metrics(folder)
    assert [(line["stage"], line["epoch"]) for line in lines] == [(1, 1), (1, 2), (2, 3), (2, 4)]
    assert lines[-1]["loss"] < lines[0]["loss"]
    record = json.loads((folder / "member.json").read_text())
    assert record["held_out_macro_f1"] == max(line["held_out_macro_f1"] for line in lines)
    assert lines[record["best_epoch"] - 1]["held_out_macro_f1"] == record["best"]


def test_a_finished_member_is_not_trained_again(examples, finished):
    member, folder = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = train(examples, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    for one, other in zip(member.predict(examples, HELD_OUT), again.predict(examples, HELD_OUT), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_ends_elsewhere(examples, finished, tmp_path):
    """The negative control of every comparison below."""
    train(examples, tmp_path, seed=1)
    assert metrics(tmp_path) != metrics(finished[1])
    assert outcome(tmp_path)[2]["best"] != outcome(finished[1])[2]["best"]


def test_stopped_after_every_single_step(examples, finished, tmp_path):
    """Each call makes one step or scores one epoch and is stopped; the last one ends to the bit where the uninterrupted one did."""
    stops = 0
    started = known(examples, FIT)  # frames read for the standardisation, before the first batch
    while not (tmp_path / "member.json").exists():
        try:
            train(examples, tmp_path, ring_at=started + 3)
        except Interrupted:
            stops += 1
    lines = metrics(finished[1])
    assert stops == sum(line["steps"] for line in lines) + len(lines), "after every step, and after every epoch was scored"
    assert outcome(tmp_path) == outcome(finished[1])


def test_stopped_while_an_epoch_is_scored(examples, finished, tmp_path):
    first_epoch = known(examples, FIT) + 4 * 16 + 5
    with pytest.raises(Interrupted, match="the state is saved") as stop:
        train(examples, tmp_path, ring_at=first_epoch)
    assert stop.value.exit_code == 75
    assert len(metrics(tmp_path)) == 1
    train(examples, tmp_path)
    assert outcome(tmp_path) == outcome(finished[1])


def test_stopped_while_the_last_epoch_is_scored(examples, finished, tmp_path):
    """The request must not be lost because the loop was about to end: the caller has more members to train."""
    train(examples, tmp_path / "whole")
    last = len(examples.stores[0].asked) - 5
    with pytest.raises(Interrupted):
        train(examples, tmp_path / "stopped", ring_at=last)
    train(examples, tmp_path / "stopped")
    assert outcome(tmp_path / "stopped") == outcome(finished[1])


@pytest.mark.slow
def test_killed_at_random_moments(stores, examples, tmp_path):
    """SIGKILL, again and again, in imports, steps, scoring and saves; then the same command once more."""
    assert examples

    def start(folder):
        # After the stores were made in this process nothing is extracted in the other one.
        command = [sys.executable, toy_task.__file__, str(stores), str(folder), "0"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    whole = start(tmp_path / "whole")
    _, errors = whole.communicate(timeout=300)
    assert whole.returncode == 0, errors
    assert len(metrics(tmp_path / "whole")) == 12
    seed = int(os.environ.get("MEDUSA_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    rng, folder, kills = random.Random(seed), tmp_path / "killed", 0
    for _ in range(8):
        process = start(folder)
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            process.stdout.readline()  # an epoch went by
        try:
            process.wait(timeout=rng.uniform(0, 0.4))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.communicate()
    assert kills > 4
    end = start(folder)
    _, errors = end.communicate(timeout=300)
    assert end.returncode == 0, errors
    assert outcome(folder) == outcome(tmp_path / "whole"), f"MEDUSA_KILL_SEED={seed}"


@pytest.fixture
def stopped(examples, tmp_path):
    """A folder whose training was stopped in its second epoch."""
    with pytest.raises(Interrupted):
        train(examples, tmp_path, ring_at=known(examples, FIT) + 4 * 16 + known(examples, HELD_OUT) + 20)
    assert checkpoint.restore(tmp_path / "checkpoints", "last")[1]["done"] > 0
    return tmp_path


def test_a_damaged_checkpoint_is_refused_by_name_and_can_be_mended_as_told(examples, finished, stopped):
    damaged = max((path for path in (stopped / "checkpoints").glob("last-*/**/d/*")), key=lambda path: path.stat().st_size)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    with pytest.raises(CheckpointError, match=damaged.name) as caught:
        train(examples, stopped)
    name = Path(caught.value.where).name
    assert caught.value.mend == f"remove {name} and {name}.json to go on without it"
    shutil.rmtree(stopped / "checkpoints" / name)
    (stopped / "checkpoints" / f"{name}.json").unlink()
    train(examples, stopped)
    assert outcome(stopped) == outcome(finished[1])


OTHERS = {
    "learning rate": dict(config=toy_member(stage1=2, stage2=2, learning_rate=2e-2)),
    "member's seed": dict(config=toy_member(seed=1, stage1=2, stage2=2)),
    "run's seed": dict(seed=1),
    "training part": dict(fit=FIT[1:]),
    "held-out part": dict(held_out=HELD_OUT[1:]),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("state", ["stopped", "finished"])
def test_a_folder_of_another_training_is_refused(examples, request, other, state):
    folder = request.getfixturevalue(state)
    with pytest.raises(CheckpointError, match="another configuration"):
        train(examples, folder if state == "stopped" else folder[1], **OTHERS[other])


def test_a_loss_that_explodes_names_step_and_utterances(examples, tmp_path):
    with pytest.raises(TrainingError, match="the loss is not finite") as caught:
        train(examples, tmp_path, toy_member(learning_rate=1e30))
    where = str(caught.value.where)
    assert "member toy, step 1 of its epoch" in where, "the first step is still finite"
    named = where.split("utterances ")[1].split(", ")
    assert len(named) == 16
    assert set(named) <= set(examples.corpus.frame["id"][FIT])
    assert not (tmp_path / "member.json").exists()
    assert "learning rate" in caught.value.mend


def test_weights_that_explode_in_the_last_step_are_not_kept(examples, tmp_path):
    """The loss of the last step was finite; only the predictions show it."""
    with pytest.raises(TrainingError, match="not finite"):
        train(examples, tmp_path, toy_member(stage1=1, stage2=0, learning_rate=1e30), fit=FIT[:16])
    assert not list((tmp_path / "checkpoints").glob("best-*"))


def test_patience_ends_a_stage(examples, tmp_path):
    """At a learning rate of nothing no epoch is better than the first: Stage 1 ends `patience` epochs later, Stage 2 after `patience`."""
    train(examples, tmp_path, toy_member(stage1=50, stage2=50, learning_rate=1e-30, patience=2))
    assert [line["stage"] for line in metrics(tmp_path)] == [1, 1, 1, 2, 2]
    assert json.loads((tmp_path / "member.json").read_text())["best_epoch"] == 1


def test_stage_two_is_balanced_and_new_each_epoch(examples, tmp_path):
    train(examples, tmp_path)
    ids, labels = examples.corpus.frame["id"].to_numpy(), examples.corpus.labels
    position, scored = {identity: i for i, identity in enumerate(ids)}, set(ids[HELD_OUT])
    asked = groupby(examples.stores[0].asked[known(examples, FIT) :], key=scored.__contains__)
    epochs = [[position[identity] for identity in group] for scoring, group in asked if not scoring]
    assert len(epochs) == 4
    none, *classes = np.bincount(labels[epochs[0]] + 1, minlength=4)
    assert none > 0, "Stage 1 takes utterances without consensus"
    assert max(classes) > 1.3 * min(classes), "Stage 1 is as unbalanced as the corpus"
    for epoch in epochs[2:]:
        none, *classes = np.bincount(labels[epoch] + 1, minlength=4)
        assert none == 0
        assert max(classes) <= np.bincount(labels[FIT][labels[FIT] >= 0]).min(), "no class has more than the smallest has"
    assert set(epochs[2]) != set(epochs[3])


def test_no_consensus_utterances_join_stage_two_if_asked(examples, tmp_path):
    train(examples, tmp_path, toy_member(stage1=0, stage2=1, no_consensus=True))
    labels = dict(zip(examples.corpus.frame["id"], examples.corpus.labels, strict=True))
    trained = examples.stores[0].asked[known(examples, FIT) : -known(examples, HELD_OUT)]
    assert min(labels[i] for i in trained) == -1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(held_out=np.array([0, 8])), "no held-out utterance has a consensus"),
        (dict(config=toy_member(stage1=0, stage2=0)), "no epoch was trained"),
        (dict(config=toy_member(stage1=0, stage2=1), fit=np.array([0, 8, 16])), "no training utterance has the consensus 'angry'"),
        (dict(fit=FIT[:0]), "no training utterance has votes or ratings"),
    ],
)
def test_what_cannot_be_trained_is_refused(examples, tmp_path, change, message):
    with pytest.raises(TrainingError, match=message):
        train(examples, tmp_path, **change)
    assert not (tmp_path / "member.json").exists()


def test_predictions_depend_on_neither_order_nor_company(examples, finished):
    member, everyone = finished[0], np.arange(len(examples))
    logits, attributes = member.predict(examples, everyone)
    rng = np.random.default_rng(0)
    for size in (len(everyone), 40):
        rows = rng.permutation(everyone)[:size]
        some_logits, some_attributes = member.predict(examples, rows)
        np.testing.assert_allclose(some_logits, logits[rows], atol=1e-5)
        np.testing.assert_allclose(some_attributes, attributes[rows], atol=1e-5)
    one, _ = member.predict(examples, np.array([17]))
    np.testing.assert_allclose(one[0], logits[17], atol=1e-5)
    assert np.ptp(logits, axis=0).min() > 0.1, "they do differ"


def test_an_utterance_without_features_is_predicted_too(examples, finished):
    assert (examples.lengths[SILENT] == 0).all()
    logits, attributes = finished[0].predict(examples, np.array([3, SILENT, 4]))
    assert np.isfinite(logits).all()
    assert np.isfinite(attributes).all()


def test_a_mixed_rating_exists_only_where_both_were_rated(examples, finished):
    """One rated utterance: in a mixed batch (three in ten) its partner has no rating to mix with, so no error is left."""
    member, config = finished[0], toy_member().training
    batch = examples.batch(FIT[:16])
    alone, everyone = np.zeros((16, 3), np.float32), np.ones((16, 3), np.float32)
    alone[4] = 1

    def attribute_loss(rated, seed):
        params = jax.tree.map(jnp.array, member.params)  # the step consumes its state
        state = State(params, optimiser_of(config).init(params), jnp.zeros((), jnp.int32), jnp.zeros(3))
        changed = jax.device_put(batch._replace(attributes=7 * rated, rated=rated))
        return float(train_step(member.graph, config)(state, member.statistics, changed, jax.random.key(seed), jnp.float32(0), jnp.ones(3))[1][2])

    lonely = [attribute_loss(alone, seed) for seed in range(20)]
    assert 1 <= lonely.count(0.0) <= 14
    assert min(attribute_loss(everyone, seed) for seed in range(20)) > 0
