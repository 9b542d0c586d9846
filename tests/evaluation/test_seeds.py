"""Statistics over seeds: one seed is the plain case exactly, and a planted difference is found."""

import numpy as np
import pytest
from sklearn import metrics
from slow_interval import slow_interval

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.intervals import macro_f1_interval
from medusa_jax.evaluation.metrics import classification_scores
from medusa_jax.evaluation.seeds import seed_scores
from medusa_jax.evaluation.significance import compare

CLASSES = ("angry", "sad", "happy")
SEEDS, SPEAKERS, EACH = 3, 16, 12


def two_systems(
    rng: np.random.Generator, better: float = 0.0, seeds: int = SEEDS
) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    """Labels and two systems `[r, n]`; their seeds err on much the same utterances and speakers.

    `one` is right where it would have guessed with chance `better`.
    """
    n = SPEAKERS * EACH
    labels = rng.integers(0, 3, n)
    systems = {}
    for name, gain in (("one", better), ("other", 0.0)):
        skill_rn = (
            rng.choice([0.2, 0.8], SPEAKERS) + rng.uniform(-0.15, 0.15, (seeds, SPEAKERS))
        ).repeat(EACH, axis=1)
        # one draw an utterance: what is hard is hard for every seed
        known_rn = rng.random(n) < skill_rn
        guess_rn = np.where(known_rn, labels, rng.integers(0, 3, (seeds, n)))
        systems[name] = np.where(rng.random((seeds, n)) < gain, labels, guess_rn)
    return labels, systems, [f"s{k}" for k in np.arange(SPEAKERS).repeat(EACH)]


def test_the_mean_and_the_spread_over_seeds_are_what_scikit_learn_and_numpy_give() -> None:
    labels, systems, speakers = two_systems(np.random.default_rng(0))
    found = seed_scores(labels, systems["one"], CLASSES, speakers, resamples=100)
    f1 = [metrics.f1_score(labels, guess, average="macro") for guess in systems["one"]]
    assert found.by_seed == pytest.approx(f1)
    assert (found.seeds, found.macro_f1) == (3, pytest.approx(np.mean(f1)))
    assert found.seed_sd == pytest.approx(np.std(f1, ddof=1))
    assert found.accuracy == pytest.approx(
        np.mean([metrics.accuracy_score(labels, guess) for guess in systems["one"]])
    )
    assert found.interval.low < found.macro_f1 < found.interval.high


def test_the_interval_is_that_of_the_mean_when_whole_speakers_are_drawn() -> None:
    labels, systems, speakers = two_systems(np.random.default_rng(1))

    def mean_f1(rows: np.ndarray) -> float:
        return float(
            np.mean(
                [
                    metrics.f1_score(labels[rows], guess[rows], labels=range(3), average="macro")
                    for guess in systems["one"]
                ]
            )
        )

    found = seed_scores(labels, systems["one"], CLASSES, speakers, resamples=120, seed=4).interval
    slow = slow_interval(mean_f1, speakers, resamples=120, seed=4)
    assert (found.low, found.high) == pytest.approx(slow, abs=1e-12)


def test_one_seed_is_the_plain_case() -> None:
    labels, systems, speakers = two_systems(np.random.default_rng(2), better=0.2, seeds=1)
    flat = {name: guess[0] for name, guess in systems.items()}
    found = seed_scores(labels, systems["one"], CLASSES, speakers)
    plain = classification_scores(labels, np.eye(3)[flat["one"]], CLASSES)
    assert found.interval == macro_f1_interval(labels, flat["one"], CLASSES, speakers)
    assert (found.macro_f1, found.accuracy) == (
        pytest.approx(plain.macro_f1, abs=1e-15),
        plain.accuracy,
    )
    assert found.seed_sd is None
    pairs = [("one", "other")]
    assert compare(labels, systems, pairs, CLASSES, speakers) == compare(
        labels, flat, pairs, CLASSES, speakers
    )


def test_twin_seeds_change_nothing() -> None:
    labels, systems, speakers = two_systems(np.random.default_rng(3), better=0.3, seeds=1)
    twins = {name: guess.repeat(4, axis=0) for name, guess in systems.items()}
    once, often = (
        compare(labels, these, [("one", "other")], CLASSES, speakers, resamples=200)[0]
        for these in (systems, twins)
    )
    assert (often.difference, often.p) == (pytest.approx(once.difference), once.p)
    assert (often.interval.low, often.interval.high) == pytest.approx(
        (once.interval.low, once.interval.high)
    )
    assert seed_scores(labels, twins["one"], CLASSES, speakers, resamples=50).seed_sd == 0


def p_of(
    labels: np.ndarray, systems: dict[str, np.ndarray], speakers: list[str] | list[None]
) -> float:
    return compare(labels, systems, [("one", "other")], CLASSES, speakers, resamples=200)[0].p


def test_the_level_holds_for_speakers_and_not_for_utterances() -> None:
    rng = np.random.default_rng(5)
    trials = [two_systems(rng) for _ in range(300)]
    # .05 ± 2.8 standard errors
    assert 0.02 <= np.mean([p_of(*trial) <= 0.05 for trial in trials]) <= 0.085
    naive = np.mean(
        [p_of(labels, systems, [None] * len(labels)) <= 0.05 for labels, systems, _ in trials[:60]]
    )
    seeds_for_speakers = np.mean([p_of(*apart(trial)) <= 0.05 for trial in trials[:60]])
    assert naive > 0.2  # the negative controls: utterances taken for independent,
    assert seeds_for_speakers > 0.2  # and seeds taken for further speakers


def apart(
    trial: tuple[np.ndarray, dict[str, np.ndarray], list[str]],
) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    """The same predictions as if every seed had heard speakers of its own, twice over."""
    labels, systems, speakers = trial
    flat = {name: np.tile(guess.ravel(), 2) for name, guess in systems.items()}
    return (
        np.tile(labels, 2 * SEEDS),
        flat,
        [f"{r} {who}" for r in range(2 * SEEDS) for who in speakers],
    )


def test_a_planted_difference_is_found() -> None:
    rng = np.random.default_rng(6)
    found = [
        compare(labels, systems, [("one", "other")], CLASSES, who, resamples=300)[0]
        for labels, systems, who in planted(rng, 40)
    ]
    assert np.mean([one.p < 0.05 for one in found]) > 0.9
    assert all(one.interval.low < one.difference < one.interval.high for one in found)
    assert np.mean([one.difference for one in found]) > 0.2


def planted(
    rng: np.random.Generator, trials: int
) -> list[tuple[np.ndarray, dict[str, np.ndarray], list[str]]]:
    return [two_systems(rng, better=0.7) for _ in range(trials)]


def test_holm_runs_over_all_pairs() -> None:
    labels, systems, speakers = two_systems(np.random.default_rng(7), better=0.6)
    three = systems | {"third": systems["other"]}
    found = compare(
        labels,
        three,
        [("one", "other"), ("one", "third"), ("other", "third")],
        CLASSES,
        speakers,
        resamples=400,
    )
    assert [one.corrected for one in found] == pytest.approx([3 * found[0].p, 3 * found[0].p, 1])


def test_what_cannot_be_compared_is_refused() -> None:
    labels, systems, speakers = two_systems(np.random.default_rng(8))
    fewer = systems | {"other": systems["other"][:2]}
    with pytest.raises(EvaluationError, match=r"one has 3 seed\(s\) and other has 2"):
        compare(labels, fewer, [("one", "other")], CLASSES, speakers)
    with pytest.raises(EvaluationError, match="at least one seed"):
        seed_scores(labels, systems["one"][:0], CLASSES, speakers)
    with pytest.raises(EvaluationError, match="do not fit predictions"):
        seed_scores(labels, systems["one"][:, :-1], CLASSES, speakers)
    with pytest.raises(EvaluationError, match="at least two speakers"):
        seed_scores(labels, systems["one"], CLASSES, ["one"] * len(labels))
