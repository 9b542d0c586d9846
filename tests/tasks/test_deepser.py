"""DeepSER as a task: its programs, streams and description."""

from pathlib import Path

import numpy as np
import pytest
from toy_task import toy_data, toy_examples, toy_group, toy_member, toy_members

from medusa_jax.config.yaml_file import load_config
from medusa_jax.tasks.deepser import DeepSERTask
from medusa_jax.tasks.facts import Facts
from medusa_jax.tasks.task import Dataset, Task
from medusa_jax.tasks.utterances import stream_of
from medusa_jax.training.weights import outline

CONFIGS = Path(__file__).parents[2] / "configs"
PUBLISHED = {"wavlm": 1024, "hubert": 1024, "whisper": 1280, "roberta": 1024, "modernbert": 1024}


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return toy_examples(tmp_path_factory.mktemp("toy") / "stores")


def test_the_fourteen_members_are_five_structures():
    config = load_config(CONFIGS / "medusa.yaml", ["corpus.path=nowhere"])
    names = tuple("abcdefgh")
    facts = Facts(names, names, (), PUBLISHED, {}, np.ones(8, np.float32), np.zeros(1, int), 0)
    structures = set()
    for member in config.members:
        task = DeepSERTask(member, facts)
        structures.add((outline(task).graph, *map(task.traced, (*task.phases, None))))
    assert len(config.members) == 14
    assert len(structures) == 5


def test_it_keeps_the_contract(examples):
    (member, *_) = toy_members(toy_group(), toy_data(examples, toy_group()[0]))
    assert isinstance(member.task, Task)
    assert isinstance(toy_data(examples, toy_member()), Dataset)
    facts = member.task.describe()
    assert facts["classes"] == ["angry", "happy", "sad"]
    assert facts["attributes"] == ["arousal", "valence", "dominance"]
    assert list(zip(facts["modalities"], facts["widths"], strict=True)) == [
        ("words", 32),
        ("letters", 16),
    ]


def test_a_stream_is_shared_unless_members_ask_for_their_own(examples):
    shared = [toy_data(examples, toy_member(seed)).plan(0, 0) for seed in (0, 1)]
    np.testing.assert_array_equal(*shared)
    own = [toy_member(seed, stream="own") for seed in (0, 1)]
    plans = [toy_data(examples, one) for one in own]
    assert (plans[0].plan(0, 0) != plans[1].plan(0, 0)).any()
    assert (plans[0].plan(1, 0) != plans[1].plan(1, 0)).any()
    np.testing.assert_array_equal(plans[0].plan(0, 3), toy_data(examples, own[0]).plan(0, 3))
    assert len({stream_of(one.training, one.seed) for one in own}) == 2
    assert len({stream_of(toy_member(seed).training, seed) for seed in (0, 1)}) == 1


def test_the_selection_score_is_the_one_asked_for(examples):
    labels = examples.corpus.labels[toy_data(examples, toy_member()).held_out]
    logits = np.random.default_rng(0).normal(size=(len(labels), 3)).astype(np.float32)
    scores = set()
    for training in ({}, {"selection": "class_weighted"}, {"selection_draws": 50}):
        config = toy_member(**training)
        (member,) = toy_members([config], toy_data(examples, config))
        task = member.task
        scores.add(task.score({"logits": logits}, task.phases[0]))
    assert len(scores) == 3
