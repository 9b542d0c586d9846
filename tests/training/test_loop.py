"""A group learns, and each of its members ends as it would alone, whatever its company, however it
is stopped or watched.
"""

import json
import os
import re
import signal

import jax
import numpy as np
import pytest
from toy_task import (
    SILENT,
    outcome_of,
    toy_data,
    toy_examples,
    toy_group,
    toy_member,
    toy_metrics,
    toy_parts,
    toy_train,
)

from medusa_jax.config.training import EngineConfig, StageConfig
from medusa_jax.errors import TrainingError
from medusa_jax.machines.mesh import devices_of
from medusa_jax.tasks.deepser import DeepSERTask
from medusa_jax.training import step

FIT, HELD_OUT = toy_parts()
LOOP, VMAP = EngineConfig(side_by_side="loop"), EngineConfig(side_by_side="vmap")
PASSES = [("stage1", 1), ("stage1", 2), ("stage2", 3)]  # stage and epoch that all three train


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return toy_examples(tmp_path_factory.mktemp("toy") / "stores")


def train(examples, folder, configs=None, fit=FIT, held_out=HELD_OUT, **options):
    """Train, by default the toy group."""
    return toy_train(
        configs or toy_group(), examples, fit, held_out, folder, **{"engine": LOOP, **options}
    )


@pytest.fixture(scope="module")
def finished(examples, tmp_path_factory):
    """The toy group trained without interruption, what it reported, and its folder."""
    folder, told = tmp_path_factory.mktemp("finished"), []
    return train(examples, folder, report=lambda *words: told.append(words)), told, folder


def weights(member):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(member.weights.params)])


def test_it_learns_and_says_so(examples, finished):
    (member, *_), _, folder = finished
    found = member.predict(toy_data(examples, toy_group()[0]), HELD_OUT)
    logits, attributes = found["logits"], found["attributes"]
    labels = examples.corpus.labels[HELD_OUT]
    hits = (logits.argmax(axis=1) == labels)[labels >= 0]
    assert hits.mean() > 0.6, "three classes"
    rated = examples.rated[HELD_OUT] > 0
    errors = np.abs(attributes - examples.attributes[HELD_OUT])[rated]
    assert errors.mean() < np.abs(4 - examples.attributes[HELD_OUT])[rated].mean()
    lines = toy_metrics(folder, "first")
    assert [(line["phase"], line["epoch"]) for line in lines] == [
        *PASSES,
        ("stage2", 4),
        ("stage2", 5),
    ]
    assert lines[-1]["loss"] < lines[0]["loss"]
    record = json.loads((folder / "members/first/member.json").read_text())
    assert record["selection_score"] == max(line["selection_score"] for line in lines)
    assert lines[record["best_epoch"] - 1]["selection_score"] == record["best"]


def test_members_stop_at_their_own_epochs_and_leave_no_trace_of_the_group(finished):
    folder = finished[2]
    assert [line["epoch"] for line in toy_metrics(folder, "second")] == [1, 2, 3]
    assert [line["epoch"] for line in toy_metrics(folder, "words")] == [1, 2, 3, 4, 5]
    assert {path.name for path in folder.iterdir()} == {"members"}
    assert {path.name for path in (folder / "members/words").iterdir()} == {
        "metrics.jsonl",
        "member.json",
        "weights.safetensors",
        "checkpoints",
    }


def test_the_report_counts_every_members_steps(finished):
    told = finished[1]
    counts = [done for done, _, _ in told]
    assert counts == sorted(counts)
    assert {total for _, total, _ in told} == {3 * 2 * 4 + (3 + 1 + 3) * 2}, (
        "epochs of both stages, by steps an epoch"
    )
    assert counts[0] == 3
    assert told[-1][:2] == (38, 38)


def test_a_finished_group_is_not_trained_again(examples, finished):
    members, _, folder = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = train(examples, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    for one, other in zip(members, again, strict=True):
        np.testing.assert_array_equal(weights(one), weights(other))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_member_alone_is_the_member_in_the_group(examples, finished, tmp_path, which):
    config = toy_group()[which]
    train(examples, tmp_path, [config])
    assert outcome_of(tmp_path, config.id) == outcome_of(finished[2], config.id)


@pytest.mark.slow
def test_side_by_side_in_one_program_is_the_same_within_rounding(examples, finished, tmp_path):
    train(examples, tmp_path, engine=VMAP)
    for name in ("first", "second", "words"):
        one, other = toy_metrics(finished[2], name), toy_metrics(tmp_path, name)
        assert [line["epoch"] for line in one] == [line["epoch"] for line in other]
        for loss in DeepSERTask.losses:
            np.testing.assert_allclose(
                [line[loss] for line in other], [line[loss] for line in one], rtol=1e-4
            )
    apart = toy_metrics(finished[2], "first"), toy_metrics(finished[2], "second")
    assert abs(apart[0][0]["class_loss"] / apart[1][0]["class_loss"] - 1) > 1e-2, (
        "members do differ"
    )


def test_another_seed_ends_elsewhere(examples, finished, tmp_path):
    """The negative control of every comparison."""
    train(examples, tmp_path, [toy_group()[2]], seed=1)
    assert outcome_of(tmp_path, "words") != outcome_of(finished[2], "words")


def test_few_programs_are_compiled(examples, finished, tmp_path):
    """A step and a prediction for each structure and shape; settings, seeds, stages, epochs and
    cohorts bring no more.
    """
    assert len(examples.shapes) == 1
    for cached in (step.train_step, step.predict_step):
        cached.cache_clear()  # what other tests compiled does not count
    where = devices_of(1).everywhere
    programs = {kind: set() for kind in ("step", "prediction")}
    train(examples, tmp_path / "first", toy_group(), seed=3)
    for member in finished[0]:
        task, graph = member.task, member.weights.graph
        made = step.program_of(task, graph, task.phases[0], False, where)
        programs["step"].add(step.train_step(made))
        made = step.program_of(task, graph, None, False, where)
        programs["prediction"].add(step.predict_step(made))
    assert {kind: len(made) for kind, made in programs.items()} == {"step": 2, "prediction": 2}
    for made in programs.values():
        assert {program._cache_size() for program in made} == {1}
    later = toy_metrics(finished[2], "words", measured=True)[1:]
    assert sum(line["compilations"] for line in later) == 0
    configs = toy_group(weight_decay=0.3, mixup_alpha=0.7, class_loss=0.9)[:1]
    train(examples, tmp_path / "second", configs, seed=4)
    for made in programs.values():
        assert {program._cache_size() for program in made} == {1}, "settings and seeds are data"


def test_the_loop_moves_nothing_but_batches_and_late_metrics(examples, tmp_path, monkeypatch):
    """A step that brings a number of the host is refused; on a CPU the way back is no move and
    cannot be seen.
    """
    monkeypatch.setattr(
        "medusa_jax.training.loop.Lanes.step",
        lambda lanes, batch: lanes._state.sums + np.float32(1),
    )
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        train(examples, tmp_path)


def test_a_loss_that_explodes_names_member_step_and_utterances(examples, tmp_path):
    configs = [toy_group()[2], toy_group(stage1=StageConfig(epochs=1, learning_rate=1e30))[1]]
    with pytest.raises(TrainingError, match="the loss is not finite") as caught:
        train(examples, tmp_path, configs)
    where = str(caught.value.where)
    assert "member second, step 1 of its epoch" in where, "the first step is still finite"
    named = re.findall(r"utterance (\S+?)(?:,|$)", where)
    assert len(named) == 16
    assert set(named) <= set(examples.corpus.frame["id"][FIT])
    assert "learning rate" in caught.value.hint
    (line,) = toy_metrics(tmp_path, "second")
    assert (line["epoch"], line["step"], line["stopped"], line["loss"]) == (
        1,
        1,
        "the loss is not finite",
        "nan",
    )
    assert not (tmp_path / "members/second/member.json").exists()


def test_weights_that_explode_in_the_last_step_are_not_kept(examples, tmp_path):
    """The loss of the last step was finite; only the predictions show it."""
    with pytest.raises(TrainingError, match="not finite"):
        train(
            examples,
            tmp_path,
            toy_group(stage1=StageConfig(epochs=1, learning_rate=1e30))[:1],
            fit=FIT[:16],
        )
    assert not list(tmp_path.rglob("best-*"))


def test_patience_ends_a_stage(examples, tmp_path):
    """At a learning rate of nothing no epoch is better than the first: Stage 1 ends `patience`
    epochs later, Stage 2 after `patience`.
    """
    still = StageConfig(epochs=50, learning_rate=1e-30)
    train(examples, tmp_path, toy_group(stage1=still, stage2=still, patience=2)[:1])
    assert [line["phase"] for line in toy_metrics(tmp_path, "first")] == ["stage1"] * 3 + [
        "stage2"
    ] * 2
    assert json.loads((tmp_path / "members/first/member.json").read_text())["best_epoch"] == 1


def test_stage_two_is_balanced_and_new_each_epoch(examples):
    data = toy_data(examples, toy_member())
    plans = [data.plan(1, epoch) for epoch in range(2)]
    whole = examples.corpus.labels[data.plan(0, 0).ravel()]
    none, *classes = np.bincount(whole + 1, minlength=4)
    assert none > 0, "Stage 1 takes utterances without consensus"
    assert max(classes) > 1.3 * min(classes), "Stage 1 is as unbalanced as the corpus"
    for plan in plans:
        none, *classes = np.bincount(examples.corpus.labels[plan.ravel()] + 1, minlength=4)
        assert none == 0
        assert max(classes) <= np.bincount(examples.corpus.labels[FIT] + 1)[1:].min()
    assert set(plans[0].ravel()) != set(plans[1].ravel())


def test_no_consensus_utterances_join_stage_two_if_asked(examples):
    plan = toy_data(examples, toy_member(no_consensus=True)).plan(1, 0)
    assert examples.corpus.labels[plan.ravel()].min() == -1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(held_out=np.array([0, 8])), "no held-out utterance has a consensus"),
        (dict(configs=[toy_member(stage1=0, stage2=0)]), "no epoch was asked for"),
        (
            dict(configs=[toy_member(stage1=0, stage2=1)], fit=np.array([0, 8, 16])),
            "no training utterance has the consensus 'angry'",
        ),
        (dict(fit=FIT[:0]), "no training utterance has votes or ratings"),
    ],
)
def test_what_cannot_be_trained_is_refused(examples, tmp_path, change, message):
    with pytest.raises(TrainingError, match=message):
        train(examples, tmp_path, **change)
    assert not list(tmp_path.rglob("member.json"))


def test_a_second_signal_is_not_waited_for(examples, tmp_path):
    """The first asks for a stop after the step; the loop has not ended it yet when the second
    comes.
    """
    calls = []

    def report(*words):
        calls.append(words)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(examples, tmp_path, toy_group()[:1], report=report)
    assert len(calls) == 1


def test_predictions_depend_on_neither_order_nor_company(examples, finished):
    member, everyone = finished[0][0], np.arange(len(examples))
    data = toy_data(examples, toy_group()[0])
    whole = member.predict(data, everyone)
    rng = np.random.default_rng(0)
    for size in (len(everyone), 40):
        rows = rng.permutation(everyone)[:size]
        for name, values in member.predict(data, rows).items():
            np.testing.assert_allclose(values, whole[name][rows], atol=1e-5)
    one = member.predict(data, np.array([17]))
    np.testing.assert_allclose(one["logits"][0], whole["logits"][17], atol=1e-5)
    assert np.ptp(whole["logits"], axis=0).min() > 0.1, "they do differ"


def test_an_utterance_without_features_is_predicted_too(examples, finished):
    assert (examples.lengths[SILENT] == 0).all()
    data = toy_data(examples, toy_group()[0])
    found = finished[0][0].predict(data, np.array([3, SILENT, 4]))
    assert all(np.isfinite(values).all() for values in found.values())
