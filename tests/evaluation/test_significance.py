"""Paired tests over speakers: they hold their level, find differences and agree with counting."""

import itertools

import numpy as np
import pytest
from sklearn import metrics

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.significance import compare, holm

CLASSES = ("angry", "sad", "happy")


def two_systems(
    rng: np.random.Generator, speakers: int, each: int, better: float
) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    """Labels and two systems whose errors depend on the speaker.

    `one` is right where `other` is not with chance `better`.
    """
    n = speakers * each
    labels = rng.integers(0, 3, n)
    # which speakers suit a system is its own
    kinder = rng.choice([0.25, 0.85], (2, speakers)).repeat(each, axis=1)
    one, other = (
        np.where(rng.random(n) < skill, labels, rng.integers(0, 3, n)) for skill in kinder
    )
    one = np.where(rng.random(n) < better, labels, one)
    return labels, {"one": one, "other": other}, [f"s{k}" for k in np.arange(speakers).repeat(each)]


def p_of(
    labels: np.ndarray, systems: dict[str, np.ndarray], speakers: list[str] | list[None]
) -> float:
    return compare(labels, systems, [("one", "other")], CLASSES, speakers, resamples=200)[0].p


def test_the_level_holds_for_speakers_and_not_for_utterances() -> None:
    rng = np.random.default_rng(3)
    trials = [two_systems(rng, 16, 20, 0.0) for _ in range(300)]
    by_speaker = np.mean([p_of(*trial) <= 0.05 for trial in trials])
    naive = np.mean(
        [p_of(labels, systems, [None] * len(labels)) <= 0.05 for labels, systems, _ in trials[:100]]
    )
    assert 0.02 <= by_speaker <= 0.085
    assert naive > 0.3  # the negative control: utterances taken for independent


def test_a_planted_difference_is_found() -> None:
    rng = np.random.default_rng(4)
    found = [compare(*_apart(two_systems(rng, 24, 20, 0.7)), resamples=300)[0] for _ in range(40)]
    assert np.mean([c.p < 0.05 for c in found]) > 0.9
    assert all(c.interval.low < c.difference < c.interval.high for c in found)


def _apart(trial: tuple[np.ndarray, dict[str, np.ndarray], list[str]]) -> tuple[object, ...]:
    labels, systems, speakers = trial
    return labels, systems, [("one", "other")], CLASSES, speakers


def test_the_interval_of_the_difference_covers() -> None:
    rng = np.random.default_rng(5)
    truth = _expected_difference(0.3)
    inside = []
    for _ in range(200):
        found = compare(*_apart(two_systems(rng, 24, 20, 0.3)), resamples=300)[0]
        inside.append(found.interval.low <= truth <= found.interval.high)
    assert 0.89 <= np.mean(inside) <= 0.985


def _expected_difference(better: float) -> float:
    labels, systems, _ = two_systems(np.random.default_rng(6), 20_000, 20, better)
    one, other = (
        metrics.f1_score(labels, systems[name], average="macro") for name in ("one", "other")
    )
    return float(one - other)


def test_p_is_what_every_exchange_by_hand_gives() -> None:
    labels, systems, speakers = two_systems(np.random.default_rng(8), 8, 6, 0.3)

    def difference(swapped: np.ndarray) -> float:
        moved = swapped.repeat(6).astype(bool)
        one = np.where(moved, systems["other"], systems["one"])
        other = np.where(moved, systems["one"], systems["other"])
        f1 = [
            metrics.f1_score(labels, guess, labels=range(3), average="macro", zero_division=0)
            for guess in (one, other)
        ]
        return float(f1[0] - f1[1])

    observed = difference(np.zeros(8))
    exact = np.mean(
        [
            abs(difference(np.array(swap))) >= abs(observed) - 1e-12
            for swap in itertools.product((0, 1), repeat=8)
        ]
    )
    found = compare(labels, systems, [("one", "other")], CLASSES, speakers, resamples=20_000)[0]
    assert found.difference == pytest.approx(observed)
    assert found.p == pytest.approx(exact, abs=0.015)


def test_equal_systems_do_not_differ() -> None:
    labels, systems, speakers = two_systems(np.random.default_rng(1), 6, 5, 0.2)
    found = compare(
        labels,
        {"one": systems["one"], "twin": systems["one"].copy()},
        [("one", "twin")],
        CLASSES,
        speakers,
    )[0]
    assert (found.difference, found.p, found.interval.low, found.interval.high) == (0, 1, 0, 0)


def test_holm_corrects_all_pairs_together() -> None:
    # 3·.01; 2·.03; max(.06, 1·.04)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []
    labels, systems, speakers = two_systems(np.random.default_rng(2), 12, 10, 0.6)
    many = compare(
        labels,
        systems | {"third": systems["other"]},
        [("one", "other"), ("one", "third")],
        CLASSES,
        speakers,
        resamples=400,
    )
    assert [c.corrected for c in many] == pytest.approx([2 * many[0].p] * 2)


def test_unknown_systems_are_named() -> None:
    labels, systems, speakers = two_systems(np.random.default_rng(1), 4, 5, 0.2)
    with pytest.raises(EvaluationError, match="no predictions of soup"):
        compare(labels, systems, [("one", "soup")], CLASSES, speakers)
