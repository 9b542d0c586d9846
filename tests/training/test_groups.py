"""Who trains with whom: cohorts of members that are equally far, groups that share a stream and fit
the memory.
"""

from dataclasses import replace

import jax
import numpy as np
import pytest
from toy_task import toy_data, toy_examples, toy_group, toy_member, toy_members

from medusa_jax.config.model import ModelConfig
from medusa_jax.config.training import EngineConfig
from medusa_jax.tasks.registry import task_of
from medusa_jax.tasks.task import Phase
from medusa_jax.tasks.utterances import stream_of
from medusa_jax.training.groups import grouped
from medusa_jax.training.memory import Need, budget, bytes_of, group_bytes, need_of
from medusa_jax.training.schedule import (
    Progress,
    after_epoch,
    begun,
    next_cohort,
    steps_left,
)
from medusa_jax.training.step import new_state
from medusa_jax.training.weights import new_weights

SHORT = (Phase("first", 2, 2), Phase("second", 3, 2))
FINISHED = 2


def after(scores, config=SHORT):
    progress = begun(config)
    for score in scores:
        progress = after_epoch(replace(progress, done=10), score, config)
    return progress


@pytest.mark.parametrize(
    ("scores", "phase", "epoch", "best_epoch"),
    [
        ([], 0, 0, -1),
        ([0.5], 0, 1, 1),
        ([0.5, 0.4], 1, 0, 1),
        ([0.5, 0.4, 0.6], 1, 1, 3),
        ([0.5, 0.4, 0.3, 0.2], FINISHED, 0, 1),
        ([0.5, 0.4, 0.3, 0.6, 0.7], FINISHED, 0, 5),
    ],
)
def test_progress_through_the_phases(scores, phase, epoch, best_epoch):
    progress = after(scores)
    found = (progress.phase, progress.epoch, progress.best_epoch, progress.epochs)
    assert found == (phase, epoch, best_epoch, len(scores))
    assert progress.finished == (phase == FINISHED)
    assert progress.steps == 10 * len(scores)


def test_a_phase_without_epochs_is_passed_over():
    assert begun((replace(SHORT[0], epochs=0), SHORT[1])).phase == 1
    assert begun((replace(SHORT[0], epochs=0),)).finished


def test_those_furthest_behind_train_next():
    members = {
        "a": Progress(1, 1),
        "b": Progress(0, 3),
        "c": Progress(FINISHED, finished=True),
        "d": Progress(0, 3),
        "e": Progress(0, 3, done=4),
    }
    assert next_cohort(members) == ("b", "d")
    assert next_cohort({name: members[name] for name in "ace"}) == ("e",)
    assert next_cohort({"c": members["c"]}) == ()


def test_steps_left_fall_to_none():
    sizes = {0: 10, 1: 4}
    left = [
        steps_left(after([0.1 * k for k in range(epochs)]), SHORT, sizes) for epochs in range(6)
    ]
    assert left == [32, 22, 12, 8, 4, 0]
    assert steps_left(replace(after([0.1]), done=3), SHORT, sizes) == 19


def test_a_group_shares_its_stream_and_fits_the_memory():
    configs = [toy_member().model_copy(update={"id": name}) for name in "abcd"]
    configs.insert(1, toy_member(no_consensus=True).model_copy(update={"id": "x"}))
    needs = {config.id: Need("same", "reads", 1, state=10, step=5, batch=1) for config in configs}

    def ids(limit, side_by_side=False):
        streams = {one.id: stream_of(one.training, one.seed) for one in configs}
        return ["".join(group) for group in grouped(streams, needs, limit, side_by_side)]

    assert ids(1000) == ["abcd", "x"]
    assert ids(2 * 10 + 5 + 4) == ["ab", "cd", "x"]
    assert ids(2 * 10 + 5 + 4 - 1) == ["a", "b", "c", "d", "x"]
    assert ids(2 * 10 + 5 + 4, side_by_side=True) == ["a", "b", "c", "d", "x"], (
        "in one program their steps need memory at once"
    )
    assert ids(1) == ["a", "b", "c", "d", "x"], "a member that does not fit trains all the same"
    assert (
        group_bytes([needs["a"], replace(needs["b"], program="other", step=7)], True) == 20 + 7 + 4
    )
    some = [needs["a"], replace(needs["b"], predicting=9)]
    assert group_bytes(some, True) == 20 + 10 + 4, "both step at once, or predict"
    assert group_bytes(some, False) == 20 + 9 + 4


@pytest.mark.slow
def test_a_members_need_is_its_state_and_grows_with_its_batch(tmp_path):
    examples = toy_examples(tmp_path)
    config = toy_group()[0]

    def of(config, devices=1):
        data = toy_data(examples, config)
        return need_of(task_of(config, data, {}, 0), data, devices)

    def changed(**training):
        return config.model_copy(update={"training": config.training.model_copy(update=training)})

    need, data = of(config), toy_data(examples, config)
    (member,) = toy_members([config], data)
    weights = new_weights(member.task, member.initial_key)
    assert need.parameters == sum(leaf.size for leaf in jax.tree.leaves(weights.params))
    state = new_state(member.task, member.task.phases[0], weights.params)
    held = bytes_of((state, weights.constants))
    assert need.state == held > 4 * 4 * need.parameters
    assert need.batch == bytes_of(examples.batch(np.repeat(np.argmax(examples.rungs), 16)))
    parts = changed(micro_batches=8)
    assert 1.5 * need.step < of(changed(batch_size=32)).step < 2.5 * need.step
    assert of(parts).step < 0.5 * need.step
    quarter = of(config, devices=4)
    assert quarter.state == need.state, "every device holds all weights"
    assert quarter.batch == need.batch / 4
    assert quarter.step == of(changed(batch_size=4)).step
    assert of(parts, devices=4).step <= of(parts).step
    wide = config.model_copy(update={"model": ModelConfig(hidden=64, feedforward=64)})
    assert of(wide).step > 3 * need.step
    assert of(wide).structure != need.structure == of(toy_group()[1]).structure


def test_the_budget_is_what_is_asked_or_most_of_what_there_is():
    assert budget(EngineConfig(memory_gb=1.5)) == 1_500_000_000
    assert budget(EngineConfig()) > 1_000_000
    if len(jax.devices()) > 1:  # devices of one CPU have one memory
        assert budget(EngineConfig(devices="all")) == pytest.approx(
            budget(EngineConfig()) / len(jax.devices()), rel=0.5
        )
