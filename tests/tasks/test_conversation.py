"""SUMMER's task: its losses, masks, scores by phase, and the speakers that it sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dialogue_task import dialogue_data, dialogue_member, dialogue_members, dialogue_stores
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, f1_score

from medusa_jax.tasks.conversation import turns_of
from medusa_jax.tasks.distillation import cross_entropy, distillation_loss, feature_loss
from medusa_jax.tasks.task import Task


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return dialogue_stores(tmp_path_factory.mktemp("stores"))


def task_and_data(given, **changes):
    config = dialogue_member(**changes)
    data = dialogue_data(*given, config)
    return dialogue_members([config], data)[0].task, data


def losses_of(task, batch, number, key=0):
    """Names and values of a phase's losses on a batch, with the weights of seed 0."""
    model, phase = task.build(jax.random.key(0)), task.phases[number]
    viewed = jax.tree.map(jnp.asarray, task.view(batch))
    _, values = task.loss(model, viewed, task.knobs(phase), (), jax.random.key(key))
    return dict(zip(task.losses, values.tolist(), strict=True))


def test_the_losses_are_their_formulas():
    rng = np.random.default_rng(0)
    logits, other = rng.normal(size=(2, 2, 3, 4))
    target = rng.dirichlet(np.ones(4), (2, 3))
    target[0, 2] = 0
    mask = np.array([[1.0, 1, 0], [1, 1, 1]])
    known = target.sum(axis=-1) > 0
    ours = [jnp.asarray(one, jnp.float32) for one in (logits, other, mask)]
    entropy = -(target * log_softmax(logits, axis=-1)).sum(axis=-1)[known].mean()
    wanted = pytest.approx(entropy, rel=1e-6)
    assert cross_entropy(ours[0], jnp.asarray(target, jnp.float32)) == wanted
    p, q = (log_softmax(one / 2.0, axis=-1) for one in (logits, other))
    divergence = (np.exp(p) * (p - q)).sum(axis=-1)[mask > 0].mean() * 4
    assert distillation_loss(*ours, 2.0) == pytest.approx(divergence, rel=1e-5)
    assert distillation_loss(ours[0], ours[0], ours[2], 2.0) == pytest.approx(0, abs=1e-7)
    squares = ((logits - other) ** 2).mean(axis=-1)[mask > 0].mean()
    assert feature_loss(*ours) == pytest.approx(squares, rel=1e-6)


def test_the_total_is_the_weighted_sum_of_its_parts(given):
    own = {"distillation": 0.7, "class_loss": 1.3, "smoothed_loss": 0.2, "feature_loss": 0.4}
    task, data = task_and_data(given, conversation=own, training={"attribute_loss": 0.3})
    assert isinstance(task, Task)
    batch = data.batch(data.plan(0, 0)[0])
    for number, weights in enumerate(({"distillation": 0, "feature_loss": 0}, {})):
        found, used = losses_of(task, batch, number), own | weights
        total = 0.3 * found["attribute_loss"] + used["class_loss"] * found["class_loss"]
        total += used["smoothed_loss"] * found["smoothed_loss"]
        total += used["distillation"] * found["distillation_loss"]
        total += used["feature_loss"] * found["feature_loss"]
        assert found["loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("number", [0, 1])
def test_padding_and_unlabelled_turns_add_nothing(given, number):
    """Longer padding, and other targets where there are none, leave the losses as they are."""
    task, data = task_and_data(given, conversation={"dropout": 0.0, "gumbel": 0.0})
    batch = data.batch(data.plan(0, 0)[0])
    found = losses_of(task, batch, number)

    def longer(x):
        return np.pad(x, ((0, 0), (0, 5)) + ((0, 0),) * (x.ndim - 2))

    padded = jax.tree.map(longer, batch)
    for name, value in losses_of(task, padded, number).items():
        assert value == pytest.approx(found[name], rel=1e-4, abs=1e-6), name
    empty = batch._replace(soft=np.zeros_like(batch.soft), rated=np.zeros_like(batch.rated))
    none = losses_of(task, empty, number)
    assert none["class_loss"] == none["smoothed_loss"] == none["attribute_loss"] == 0
    assert found["class_loss"] > 0 < found["attribute_loss"]


def test_targets_are_soft_or_one_hot(given):
    soft, data = task_and_data(given)
    hard, _ = task_and_data(given, training={"targets": "one_hot"})
    batch = data.batch(data.plan(0, 0)[0])
    same = batch._replace(soft=batch.one_hot)
    assert losses_of(hard, batch, 0) == losses_of(soft, same, 0) != losses_of(soft, batch, 0)


def test_a_phase_is_scored_on_its_own_model(given):
    task, data = task_and_data(given)
    rng = np.random.default_rng(0)
    shape = len(data.held_out), data.examples.longest, 3
    predicted = {"teacher": rng.normal(size=shape), "logits": rng.normal(size=shape)}
    labels = task.facts.labels
    for phase, name in zip(task.phases, ("teacher", "logits"), strict=True):
        truth, guesses = labels[labels >= 0], predicted[name].argmax(axis=-1)[labels >= 0]
        wanted = f1_score(truth, guesses, average="weighted")
        assert task.score(predicted, phase) == pytest.approx(wanted)
    shape = len(data.watched), data.examples.longest, 3
    predicted = {"teacher": rng.normal(size=shape), "logits": rng.normal(size=shape)}
    labels = task.facts.tested
    truth, guesses = labels[labels >= 0], predicted["logits"].argmax(axis=-1)[labels >= 0]
    found = task.watch(predicted, task.phases[1])
    assert found["test_weighted_f1"] == pytest.approx(f1_score(truth, guesses, average="weighted"))
    assert found["test_accuracy"] == pytest.approx(accuracy_score(truth, guesses))


def test_without_a_student_the_teacher_is_the_result(given):
    alone, data = task_and_data(given, training={"stage2": {"epochs": 0}})
    both, _ = task_and_data(given)
    batch = jax.tree.map(jnp.asarray, alone.view(data.batch(np.array([0, 1]))))
    model = alone.build(jax.random.key(0))
    found = alone.predict(model, batch)
    assert found["logits"].shape == (2, data.examples.longest, 3)
    np.testing.assert_array_equal(found["logits"], found["teacher"])
    assert (both.predict(model, batch)["logits"] != found["logits"]).any()


def test_speakers_come_by_order_or_by_name_within_the_slots(given):
    task, data = task_and_data(given, conversation={"speaker_slots": 2})
    batch = data.batch(np.arange(6))
    assert batch.order.max() > 1 < batch.rank.max()
    for speakers, wanted in (("order", batch.order), ("names", batch.rank)):
        own = task.own.model_copy(update={"speakers": speakers})
        found = turns_of(own, task.view(batch)).speaker_bu
        np.testing.assert_array_equal(found, np.minimum(wanted, 1))


def test_features_are_standardised_by_the_training_part(given):
    task, data = task_and_data(given)
    model = task.build(jax.random.key(0))
    rows = np.concatenate([data.examples.turns[g] for g in data.fit])
    for k, (vector_nd, there_n) in enumerate(data.examples.vectors):
        own_nd = vector_nd[rows][there_n[rows] > 0]
        scaled_nd = (own_nd - model.means[k][...]) * model.scales[k][...]
        np.testing.assert_allclose(scaled_nd.mean(axis=0), 0, atol=1e-5)
        deviation_d = scaled_nd.std(axis=0)
        assert np.allclose(deviation_d[deviation_d > 1e-3], 1, atol=1e-4)
    plain, _ = task_and_data(given, conversation={"standardise": False})
    assert (plain.build(jax.random.key(0)).scales[0][...] == 1).all()
