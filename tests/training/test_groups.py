"""Who trains with whom: cohorts of members that are equally far, groups that share a stream and fit the memory."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from medusa_jax.training.member import build
from toy_task import toy_examples, toy_group, toy_member

from medusa_jax.config.model import ModelConfig
from medusa_jax.config.training import EngineConfig, TrainingConfig
from medusa_jax.training.groups import grouped
from medusa_jax.training.memory import Need, budget, bytes_of, group_bytes, need_of
from medusa_jax.training.schedule import (
    FINISHED,
    Progress,
    after_epoch,
    begun,
    next_cohort,
    steps_left,
)
from medusa_jax.training.step import new_state

SHORT = TrainingConfig(stage1={"epochs": 2}, stage2={"epochs": 3}, patience=2)


def after(scores, config=SHORT):
    progress = begun(config)
    for score in scores:
        progress = after_epoch(progress, score, config)
    return progress


@pytest.mark.parametrize(
    ("scores", "stage", "epoch", "best_epoch"),
    [
        ([], 1, 0, -1),
        ([0.5], 1, 1, 1),
        ([0.5, 0.4], 2, 0, 1),
        ([0.5, 0.4, 0.6], 2, 1, 3),
        ([0.5, 0.4, 0.3, 0.2], FINISHED, 0, 1),
        ([0.5, 0.4, 0.3, 0.6, 0.7], FINISHED, 0, 5),
    ],
)
def test_progress_through_the_stages(scores, stage, epoch, best_epoch):
    progress = after(scores)
    assert (progress.stage, progress.epoch, progress.best_epoch, progress.epochs) == (
        stage,
        epoch,
        best_epoch,
        len(scores),
    )


def test_a_stage_without_epochs_is_passed_over():
    assert (
        begun(
            SHORT.model_copy(update={"stage1": SHORT.stage1.model_copy(update={"epochs": 0})})
        ).stage
        == 2
    )


def test_those_furthest_behind_train_next():
    members = {
        "a": Progress(2, 1),
        "b": Progress(1, 3),
        "c": Progress(FINISHED),
        "d": Progress(1, 3),
        "e": Progress(1, 3, done=4),
    }
    assert next_cohort(members) == ("b", "d")
    assert next_cohort({name: members[name] for name in "ace"}) == ("e",)
    assert next_cohort({"c": members["c"]}) == ()


def test_steps_left_fall_to_none():
    sizes = {1: 10, 2: 4}
    left = [
        steps_left(after([0.1 * k for k in range(epochs)]), SHORT, sizes) for epochs in range(6)
    ]
    assert left == [32, 22, 12, 8, 4, 0]
    assert steps_left(replace(after([0.1]), done=3), SHORT, sizes) == 19


def test_a_group_shares_its_stream_and_fits_the_memory():
    configs = [toy_member().model_copy(update={"id": name}) for name in "abcd"]
    configs.insert(1, toy_member(no_consensus=True).model_copy(update={"id": "x"}))
    needs = {config.id: Need("same", 1, state=10, step=5, batch=1) for config in configs}

    def ids(limit, side_by_side=False):
        return [
            "".join(config.id for config in group)
            for group in grouped(configs, needs, limit, side_by_side)
        ]

    assert ids(1000) == ["abcd", "x"]
    assert ids(2 * 10 + 5 + 4) == ["ab", "cd", "x"]
    assert ids(2 * 10 + 5 + 4 - 1) == ["a", "b", "c", "d", "x"]
    assert ids(2 * 10 + 5 + 4, side_by_side=True) == ["a", "b", "c", "d", "x"], (
        "in one program their steps need memory at once"
    )
    assert ids(1) == ["a", "b", "c", "d", "x"], "a member that does not fit trains all the same"
    assert (
        group_bytes([needs["a"], replace(needs["b"], structure="other", step=7)], True)
        == 20 + 7 + 4
    )


@pytest.mark.slow
def test_a_members_need_is_its_state_and_grows_with_its_batch(tmp_path):
    examples = toy_examples(tmp_path)
    config = toy_group()[0]
    need, member = need_of(config, examples), build(config, examples, {}, 0)
    assert need.parameters == sum(leaf.size for leaf in jax.tree.leaves(member.params))
    assert need.state == bytes_of(new_state(member.params, True)) > 4 * 4 * need.parameters
    assert need.batch == bytes_of(examples.batch(np.repeat(np.argmax(examples.rungs), 16)))
    training = config.training
    larger, parts = (
        config.model_copy(update={"training": training.model_copy(update=change)})
        for change in (dict(batch_size=32), dict(micro_batches=8))
    )
    assert 1.5 * need.step < need_of(larger, examples).step < 2.5 * need.step
    assert need_of(parts, examples).step < 0.5 * need.step
    quarter = need_of(config, examples, devices=4)
    assert quarter.state == need.state, "every device holds all weights"
    assert quarter.batch == need.batch / 4
    assert (
        quarter.step
        == need_of(
            config.model_copy(update={"training": training.model_copy(update={"batch_size": 4})}),
            examples,
        ).step
    )
    assert need_of(parts, examples, devices=4).step <= need_of(parts, examples).step
    wide = config.model_copy(update={"model": ModelConfig(hidden=64, feedforward=64)})
    assert need_of(wide, examples).step > 3 * need.step
    assert (
        need_of(wide, examples).structure
        != need.structure
        == need_of(toy_group()[1], examples).structure
    )


def test_the_budget_is_what_is_asked_or_most_of_what_there_is():
    assert budget(EngineConfig(memory_gb=1.5)) == 1_500_000_000
    assert budget(EngineConfig()) > 1_000_000
    if len(jax.devices()) > 1:  # devices of one CPU have one memory
        assert budget(EngineConfig(devices="all")) == pytest.approx(
            budget(EngineConfig()) / len(jax.devices()), rel=0.5
        )
