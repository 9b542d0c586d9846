"""Class weights, cross-entropy and the attributes' error against numbers worked out by hand; who
has no target drops out of that term only.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from medusa_jax.tasks.objective import attribute_loss, class_weights, classification_loss

UNIFORM = jnp.ones(3)


def f32(rows):
    return jnp.asarray(rows, jnp.float32)


def test_class_weights_by_hand():
    # Sums of the soft labels: f = (4, 1, 0.25, 0) of N = 5.25 over |C| = 4 classes.
    # α = √(5.25 / (4 · f)) = √0.328125, √1.3125, √5.25 = 0.572822, 1.145644, 2.291288; the absent
    # class weighs 0.
    soft = np.array(
        [[1, 0, 0, 0]] * 3 + [[0.75, 0, 0.25, 0], [0.25, 0.75, 0, 0], [0, 0.25, 0, 0]], np.float32
    )
    np.testing.assert_allclose(class_weights(soft), [0.572822, 1.145644, 2.291288, 0], atol=1e-6)


def test_balanced_classes_weigh_one_and_rows_without_votes_do_not_count():
    np.testing.assert_allclose(
        class_weights(np.concatenate([np.eye(3), np.zeros((50, 3))])), 1, atol=1e-7
    )


def test_no_votes_at_all_give_weights_of_zero():
    np.testing.assert_array_equal(class_weights(np.zeros((4, 3))), np.zeros(3))


def test_cross_entropy_of_one_soft_label_by_hand():
    # Logits (ln 2, 0, 0): p = (1/2, 1/4, 1/4), −ln p = (0.693147, 1.386294, 1.386294).
    # Soft label (0.5, 0.5, 0), weights (2, 3, 5): 2 · 0.5 · 0.693147 + 3 · 0.5 · 1.386294 =
    # 0.693147 + 2.079442 = 2.772589.
    loss = classification_loss(f32([[np.log(2), 0, 0]]), f32([[0.5, 0.5, 0]]), f32([2, 3, 5]))
    assert float(loss) == pytest.approx(2.772589, abs=1e-5)


def test_cross_entropy_is_the_plain_mean_and_not_divided_by_the_weights():
    # Uniform posteriors: −ln(1/3) = 1.098612 for both; weights 1 and 4: (1.098612 + 4 · 1.098612) /
    # 2 = 2.746531 (divided by weights: 1.098612).
    loss = classification_loss(jnp.zeros((2, 3)), f32([[1, 0, 0], [0, 1, 0]]), f32([1, 4, 1]))
    assert float(loss) == pytest.approx(2.746531, abs=1e-5)


def test_an_utterance_counts_the_same_beside_one_without_votes():
    logits, soft = f32([[1, 2, 3], [9, -9, 0]]), f32([[0.2, 0.3, 0.5], [0, 0, 0]])
    both = classification_loss(logits, soft, UNIFORM)
    other = classification_loss(logits, soft.at[1].set(f32([0, 1, 0])), UNIFORM)
    alone = classification_loss(logits[:1], soft[:1], UNIFORM)
    second = classification_loss(logits[1:], f32([[0, 1, 0]]), UNIFORM)
    assert float(both) == pytest.approx(float(alone) / 2, abs=1e-6)
    assert float(other) == pytest.approx((float(alone) + float(second)) / 2, rel=1e-6)
    gradient = jax.grad(classification_loss)(logits, soft, UNIFORM)
    assert np.abs(gradient[0]).max() > 0.05
    np.testing.assert_array_equal(gradient[1], 0)


def test_a_class_of_weight_zero_teaches_nothing():
    gradient = jax.grad(classification_loss)(f32([[1, 2, 3]]), f32([[0, 0, 1]]), f32([1, 1, 0]))
    np.testing.assert_array_equal(gradient, 0)


def test_attribute_loss_by_hand():
    # Rated: row 1 all three with errors 1, −2, 0; row 2 the first only, error 3: (1 + 4 + 0 + 9) /
    # 4 = 3.5.
    predicted, truth = (
        f32([[3, 3, 3], [6, 1, 1], [7, 7, 7]]),
        f32([[2, 5, 3], [3, 0, 0], [0, 0, 0]]),
    )
    rated = f32([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
    assert float(attribute_loss(predicted, truth, rated)) == pytest.approx(3.5)
    gradient = np.asarray(jax.grad(attribute_loss)(predicted, truth, rated))
    np.testing.assert_array_equal(gradient == 0, np.array([[0, 0, 1], [0, 1, 1], [1, 1, 1]], bool))


@pytest.mark.parametrize("loss", ["classes", "attributes"])
def test_a_batch_without_any_target_loses_nothing(loss):
    zeros = jnp.zeros((4, 3))
    function = classification_loss if loss == "classes" else attribute_loss
    third = UNIFORM if loss == "classes" else zeros
    value, gradient = jax.value_and_grad(function)(zeros + 2, zeros, third)
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


def test_against_scipy_on_random_batches():
    rng = np.random.default_rng(0)
    logits, soft = rng.normal(0, 3, (20, 8)), rng.dirichlet(np.ones(8), 20)
    weights = rng.uniform(0.2, 3, 8)
    wanted = -(weights * soft * log_softmax(logits, axis=1)).sum(axis=1).mean()
    assert float(classification_loss(f32(logits), f32(soft), f32(weights))) == pytest.approx(
        wanted, rel=1e-5
    )
