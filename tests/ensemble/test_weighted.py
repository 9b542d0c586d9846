"""Weights of members: what was planted is found, and no other weights are better."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.votes import soft_vote
from medusa_jax.ensemble.weighted import (
    cross_entropy,
    fit_weights,
    fitted_weights,
    weighted_vote,
)
from medusa_jax.errors import EvaluationError

CLASSES = ("angry", "sad", "happy")
CLOSE = 1e-6
"""Of a cross-entropy to the least one, in nats."""


def outputs(logits: np.ndarray) -> Predictions:
    n = len(logits)
    return Predictions(
        tuple(map(str, range(n))),
        CLASSES,
        logits.astype(np.float32),
        np.full((n, 3), 4, np.float32),
    )


def drawn(
    seed: int, members: int = 4, count: int = 60, *, scale: float = 2, soft: bool = False
) -> tuple[list[Predictions], np.ndarray]:
    """Members of uneven skill, up to very sure ones, and targets."""
    rng = np.random.default_rng(seed)
    truth = np.eye(3)[rng.integers(0, 3, count)]
    skills = rng.uniform(0, 3, members)
    noise = scale * rng.normal(size=(members, count, 3))
    targets = 0.8 * truth + 0.2 / 3 if soft else truth
    return [outputs(s * truth + z) for s, z in zip(skills, noise, strict=True)], targets


def mixture(weights: list[float]) -> tuple[list[Predictions], np.ndarray]:
    """Members of random posteriors, and targets that are exactly their weighted mean."""
    rng = np.random.default_rng(0)
    members = [outputs(2 * rng.normal(size=(3000, 3))) for _ in weights]
    return members, sum(w * m.posteriors for w, m in zip(weights, members, strict=True))


def by_expectation_maximisation(
    members: list[Predictions], targets: np.ndarray, steps: int = 6000
) -> np.ndarray:
    """The same minimum by EM, which knows neither constraints nor step sizes."""
    logits = np.stack([one.logits for one in members], axis=1).astype(np.float64)
    posteriors = softmax(logits, axis=2)
    weights = np.full(len(members), 1 / len(members))
    for _ in range(steps):
        share = posteriors * weights[None, :, None]
        share /= share.sum(axis=1, keepdims=True)
        weights = (targets[:, None] * share).sum(axis=(0, 2)) / targets.sum()
    return weights


def test_planted_weights_are_found() -> None:
    planted = [0.5, 0.3, 0.0, 0.2]
    members, targets = mixture(planted)
    weights = fit_weights(members, targets)
    assert weights == pytest.approx(planted, abs=5e-3)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)


def test_rows_without_target_do_not_count() -> None:
    members, targets = mixture([0.7, 0.3])
    silent = targets.copy()
    silent[::2] = 0
    rows = np.arange(1, len(targets), 2)
    those = [one.where(rows) for one in members]
    np.testing.assert_array_equal(fit_weights(members, silent), fit_weights(those, targets[rows]))


def test_even_weights_are_the_soft_vote() -> None:
    members, _ = mixture([0.5, 0.5])
    assert weighted_vote(members, np.array([0.5, 0.5])).posteriors == pytest.approx(
        soft_vote(members).posteriors, abs=1e-6
    )


def test_attributes_are_combined_with_the_same_weights() -> None:
    members = [
        replace(outputs(np.zeros((2, 3))), attributes=np.full((2, 3), value, np.float32))
        for value in (2, 6)
    ]
    combined = weighted_vote(members, np.array([0.75, 0.25]))
    np.testing.assert_array_equal(combined.attributes, np.full((2, 3), 3))
    assert combined.attributes.dtype == np.float32


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    members=st.integers(1, 7),
    count=st.sampled_from([1, 2, 20, 200]),
    scale=st.sampled_from([0.1, 2, 10, 60]),
    soft=st.booleans(),
)
def test_no_even_vote_member_or_neighbour_is_better(seed, members, count, scale, soft) -> None:
    some, targets = drawn(seed, members, count, scale=scale, soft=soft)
    found = fitted_weights(some, targets, targets.argmax(axis=1))
    weights = np.array(found.weights)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    even, own = found.cross_entropy
    assert own == cross_entropy(some, weights, targets)
    assert even == cross_entropy(some, np.full(members, 1 / members), targets)
    others = np.random.default_rng(seed).dirichlet(np.ones(members), 20)
    near = 0.99 * weights + 0.01 * others
    for other in (*np.eye(members), *others, *near, np.full(members, 1 / members)):
        assert own <= cross_entropy(some, other, targets) + CLOSE


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_an_independent_optimiser_finds_the_same(seed: int, soft: bool) -> None:
    members, targets = drawn(seed, 5, 400, soft=soft)
    ours, theirs = fit_weights(members, targets), by_expectation_maximisation(members, targets)
    assert ours == pytest.approx(theirs, abs=1e-3)
    gap = cross_entropy(members, ours, targets) - cross_entropy(members, theirs, targets)
    assert abs(gap) < CLOSE
    assert np.ptp(theirs) > 0.1, "the minimum is far from even weights"


def test_the_gradient_is_the_losss() -> None:
    """Along a step between two feasible weights, against central differences."""
    from medusa_jax.ensemble.weighted import _labelled, _loss

    labelled = _labelled(*drawn(1))
    weights, step = np.array([0.4, 0.3, 0.2, 0.1]), 1e-6
    _, gradient = _loss(weights, *labelled)
    for m, direction in enumerate(np.eye(4)):
        up, down = (_loss(weights + h * direction, *labelled)[0] for h in (step, -step))
        assert gradient[m] == pytest.approx((up - down) / (2 * step), rel=1e-6)


def test_a_perfect_member_gets_all_the_weight() -> None:
    members, targets = drawn(2)
    weights = fit_weights([members[0], outputs(40 * targets), *members[1:]], targets)
    assert weights[1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [1, 3, 0, 2]])
def test_other_order_of_members_is_other_order_of_weights(order: list[int]) -> None:
    members, targets = drawn(3, count=400)
    weights = fit_weights(members, targets)
    assert np.ptp(weights) > 0.1
    moved = fit_weights([members[m] for m in order], targets)
    assert moved == pytest.approx(weights[order], abs=1e-4)


def test_duplicates_share_their_weight() -> None:
    members, targets = drawn(4, 3, 400)
    alone = fit_weights(members, targets)
    assert alone.min() > 0.01
    twice = fit_weights([*members, members[0], members[0]], targets)
    assert twice[[0, 3, 4]] == pytest.approx(np.full(3, alone[0] / 3), abs=1e-3)
    assert twice[[1, 2]] == pytest.approx(alone[1:], abs=1e-3)


def test_equal_arguments_give_equal_bits() -> None:
    np.testing.assert_array_equal(fit_weights(*drawn(5)), fit_weights(*drawn(5)))


def test_one_member_has_all_the_weight() -> None:
    members, targets = drawn(6, 1)
    found = fitted_weights(members, targets, targets.argmax(axis=1))
    assert found.weights == (1.0,)
    assert found.macro_f1[0] == found.macro_f1[1]
    assert found.cross_entropy[0] == found.cross_entropy[1]


def test_macro_f1_counts_utterances_with_a_label_alone() -> None:
    """The good member is right on the labelled half, and weighs most."""
    members, targets = drawn(7, 1)
    good, labels = outputs(3 * targets), targets.argmax(axis=1)
    labels[::2] = -1
    targets[::2] = 0
    found = fitted_weights([good, members[0]], targets, labels)
    assert found.macro_f1[1] == 1 >= found.macro_f1[0]
    assert found.cross_entropy[1] < found.cross_entropy[0]


def test_what_cannot_be_fitted_is_refused() -> None:
    members, targets = drawn(8, 2)
    with pytest.raises(EvaluationError, match="no utterance has a target to fit weights on"):
        fit_weights(members, np.zeros_like(targets))
    with pytest.raises(EvaluationError, match="no utterance has a target"):
        fit_weights([one.where(np.zeros(0, int)) for one in members], targets[:0])
    with pytest.raises(EvaluationError, match="labelled"):
        fitted_weights(members, targets, np.full(len(targets), -1))
    broken = members[1].logits.copy()
    broken[5, 1] = np.nan
    with pytest.raises(EvaluationError, match=r"logits of member 2 .* NaN") as caught:
        fit_weights([members[0], replace(members[1], logits=broken)], targets)
    assert caught.value.where == "row 5"
    with pytest.raises(EvaluationError, match="different utterances or classes"):
        fit_weights([members[0], replace(members[1], classes=CLASSES[::-1])], targets)
