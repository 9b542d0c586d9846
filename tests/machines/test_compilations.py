"""How often training compiles: once a padded shape and structure, whatever the number of members,
stages and epochs; and it says so.
"""

import pytest
from toy_task import WIDTHS, toy_data, toy_examples, toy_member, toy_metrics, toy_parts, toy_train

from medusa_jax.batches.examples import Examples, gather
from medusa_jax.config.training import EngineConfig, StageConfig, TrainingConfig
from medusa_jax.machines.mesh import devices_of
from medusa_jax.training import step

FIT, HELD_OUT = toy_parts()
SHAPES, EPOCHS = 2, 2
# of the members: single ones compile fast
MODALITIES = {
    "one": "words",
    "two": "words",
    "other": "letters",
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """The toy task in several padded shapes."""
    stores = tmp_path_factory.mktemp("toy") / "stores"
    made = toy_examples(stores)
    return gather(made.corpus, tuple(WIDTHS), dict(zip(WIDTHS, made.stores, strict=True)), SHAPES)


@pytest.mark.slow
@pytest.mark.parametrize("side_by_side", ["loop", "vmap"])
def test_a_step_is_compiled_once_a_shape_and_structure_and_nothing_after_the_first_epoch(
    examples, tmp_path, side_by_side
):
    training = TrainingConfig(
        batch_size=8,
        shapes=SHAPES,
        patience=9,
        stage1=StageConfig(epochs=EPOCHS),
        stage2=StageConfig(epochs=EPOCHS),
    )
    configs = [
        toy_member(seed).model_copy(
            update={"id": name, "modalities": (modality,), "training": training}
        )
        for seed, (name, modality) in enumerate(MODALITIES.items())
    ]
    data = toy_data(examples, configs[0])
    for phase in (0, 1):
        plan = data.plan(phase, 0)
        assert set(examples.rungs[plan].max(axis=1)) == set(range(SHAPES)), (
            "every shape comes in the first epoch of either stage"
        )
    for programs in (step.train_step, step.predict_step):
        programs.cache_clear()  # what other tests compiled does not count
    members = toy_train(
        configs, examples, FIT, HELD_OUT, tmp_path, engine=EngineConfig(side_by_side=side_by_side)
    )
    where, trained, predicts = devices_of(1).everywhere, set(), set()
    for member in members:
        stacked = side_by_side == "vmap" and member.task.reads == ("words",)
        how = (member.weights.graph, member.task.phases[0], stacked, where)
        trained.add(step.train_step(step.program_of(member.task, *how)))
        how = (member.weights.graph, None, stacked, where)
        predicts.add(step.predict_step(step.program_of(member.task, *how)))
    assert len(trained) == len(predicts) == 2, "of three members two are alike"
    assert {program._cache_size() for program in trained} == {SHAPES}
    assert {program._cache_size() for program in predicts} == {1}, "the held-out part is one batch"
    for config in configs:
        told = [line["compilations"] for line in toy_metrics(tmp_path, config.id, measured=True)]
        assert told[0] >= 2 * (SHAPES + 1)
        assert told[1:] == [0] * (2 * EPOCHS - 1)
