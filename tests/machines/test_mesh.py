"""Several devices of one host share every batch and train the same members as one device does,
within rounding.
"""

import os
import re
import signal

import jax
import numpy as np
import pytest
from toy_task import (
    COUNT,
    toy_data,
    toy_examples,
    toy_member,
    toy_members,
    toy_metrics,
    toy_parts,
    toy_train,
)

from medusa_jax.batches.device_batch import device_batch
from medusa_jax.config.model import ModelConfig
from medusa_jax.config.training import EngineConfig
from medusa_jax.errors import ConfigError, Interrupted
from medusa_jax.machines.mesh import devices_of
from medusa_jax.progress import silent
from medusa_jax.training.memory import need_of
from medusa_jax.training.step import epoch_of, new_state, program_of, train_step
from medusa_jax.training.weights import new_weights

pytestmark = pytest.mark.skipif(
    len(jax.devices()) < 4,
    reason="XLA_FLAGS was set without --xla_force_host_platform_device_count=4",
)
FIT, HELD_OUT = toy_parts()


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return toy_examples(tmp_path_factory.mktemp("toy") / "stores")


def test_each_device_holds_its_rows_of_the_batch(examples):
    devices, positions = devices_of("all"), np.random.default_rng(0).permutation(16)
    whole = examples.batch(positions)
    for spread, x in zip(
        jax.tree.leaves(device_batch(toy_data(examples, toy_member()), devices, positions)),
        jax.tree.leaves(whole),
        strict=True,
    ):
        assert spread.shape == x.shape
        assert {shard.device for shard in spread.addressable_shards} == set(jax.devices())
        for shard in spread.addressable_shards:
            assert len(shard.data) == 4
            np.testing.assert_array_equal(shard.data, x[shard.index])


def test_what_is_replicated_is_whole_everywhere():
    key, weights = devices_of(2).replicated((jax.random.key(3), np.arange(6.0)))
    assert [shard.device.id for shard in weights.addressable_shards] == [0, 1]
    assert all(len(shard.data) == 6 for shard in weights.addressable_shards)
    assert (jax.random.key_data(key) == jax.random.key_data(jax.random.key(3))).all()


@pytest.mark.parametrize(("wanted", "count"), [(1, 1), (3, 3), ("all", 4)])
def test_so_many_devices_as_wanted(wanted, count):
    assert devices_of(wanted).count == count


def test_more_devices_than_there_are_is_an_error():
    with pytest.raises(ConfigError, match=r"there are 4 device\(s\) here, not 5"):
        devices_of(5)


def train(examples, folder, devices, seed=0, report=silent):
    """Train two members of equal structure, which several devices stack, and one of another."""
    alike = [
        toy_member(seed, stage1=1, stage2=1).model_copy(update={"id": f"both-{seed}"})
        for seed in (0, 1)
    ]
    words = alike[0].model_copy(update={"id": "words", "modalities": ("words",)})
    engine = EngineConfig(devices=devices, side_by_side="loop" if devices == 1 else "vmap")
    return toy_train(
        [*alike, words], examples, FIT, HELD_OUT, folder, seed=seed, engine=engine, report=report
    )


def test_a_batch_that_cannot_be_shared_is_refused_before_training(examples, tmp_path):
    with pytest.raises(
        ConfigError, match="a batch of 16 cannot be shared evenly by 3 devices"
    ) as caught:
        train(examples, tmp_path, 3)
    assert "multiple of 3" in str(caught.value.hint)
    assert not list(tmp_path.rglob("metrics.jsonl"))


def predictions(members, examples):
    """Logits and attributes of every utterance `[member, n, …]`."""
    data, rows = toy_data(examples, toy_member()), np.arange(COUNT)
    found = [member.predict(data, rows) for member in members]
    return np.array([np.concatenate([one["logits"], one["attributes"]], axis=1) for one in found])


@pytest.mark.slow
def test_each_device_does_its_share_of_the_work(examples):
    """XLA may compute anything on every device and still be right; a step's operations, its dropout
    and its memory must be divided.
    """
    config = toy_member().model_copy(
        update={"model": ModelConfig(hidden=64, feedforward=128, layers=1)}
    )
    data = toy_data(examples, config)
    (member,) = toy_members([config], data)
    task, phase, work, needed = member.task, member.task.phases[0], {}, {}
    weights = new_weights(task, member.initial_key)
    places = dict(first=0, start=0, steps=1, rows=1, size=16)
    epoch = epoch_of(task, weights, phase, member.steps_key, **places)
    for devices in (devices_of(1), devices_of(4)):
        given = devices.replicated(
            (new_state(task, phase, weights.params), weights.constants, epoch, np.True_)
        )
        made = program_of(task, weights.graph, phase, False, devices.everywhere)
        batch = task.view(device_batch(data, devices, FIT[:16]))
        program = train_step(made).lower(*given, batch).compile()
        largest = max(
            int(np.prod([*map(int, found.split(","))]))
            for found in re.findall(r"u32\[([\d,]+)\]", program.as_text())
        )
        work[devices.count] = np.array([program.cost_analysis()["flops"], largest])
        needed[devices.count] = (
            program.memory_analysis().temp_size_in_bytes,
            need_of(task, data, devices.count).step,
        )
    assert all(real < planned < 4 * real for real, planned in needed.values()), needed
    np.testing.assert_allclose(work[4] / work[1], 0.25, rtol=0.2)


@pytest.mark.slow
def test_several_devices_train_what_one_trains_also_when_it_goes_on_from_others(examples, tmp_path):
    alone = predictions(train(examples, tmp_path / "alone", 1), examples)

    def stop(done, total, note=""):
        if done == 9:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(examples, tmp_path / "shared", 1, report=stop)
    shared = predictions(train(examples, tmp_path / "shared", 4), examples)
    # Adam turns rounding in a gradient of nothing into whole steps
    np.testing.assert_allclose(alone, shared, atol=1e-3)
    for member in ("both-0", "both-1", "words"):
        for mine, theirs in zip(
            toy_metrics(tmp_path / "alone", member),
            toy_metrics(tmp_path / "shared", member),
            strict=True,
        ):
            assert mine.pop("phase") == theirs.pop("phase")
            assert mine == pytest.approx(theirs, rel=1e-4)
    other = predictions(train(examples, tmp_path / "other", 4, seed=1), examples)
    assert np.abs(other - alone).max() > 0.1, "the negative control"
