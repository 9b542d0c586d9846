"""The table of the study of ensembles from posteriors alone: scores, rivals, corrections."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score

from medusa_jax.ensemble.variants import (
    ALL,
    BEST,
    GREEDY,
    HELD_OUT,
    MAJORITY,
    OUT_OF_FOLD,
    SINGLE,
    SOFT,
    SOFT_TEMPERED,
    SOUP,
    TRAIN,
    WEIGHTED,
    Variant,
)
from medusa_jax.evaluation.calibration import calibration
from medusa_jax.evaluation.significance import compare, holm
from medusa_jax.evaluation.tables import Row
from medusa_jax.studies.ensembles_table import (
    Posteriors,
    Utterances,
    ensemble_rows,
    question_rows,
    questions_of,
    rival_of,
)

CLASSES = ("angry", "sad", "happy")
SPEAKERS, EACH, SEEDS = 12, 15, 2
COLUMNS = (
    *(
        "system",
        "members",
        "learned_from",
        "seeds",
        "macro_f1",
        "macro_f1_low",
        "macro_f1_high",
        "seed_sd",
        "accuracy",
        "ece",
    ),
    *("against", "difference", "difference_low", "difference_high", "p", "p_corrected"),
)
SKILLS = {
    Variant(BEST, "top 1"): 0.3,
    Variant(MAJORITY): 0.5,
    Variant(SOFT): 0.5,
    Variant(SOFT, "top 2"): 0.4,
    Variant(SINGLE, ALL, OUT_OF_FOLD): 0.7,
    Variant(SOUP, ALL, OUT_OF_FOLD): 0.75,
    Variant(SOUP, "top 2", OUT_OF_FOLD): 0.5,
    Variant(SOUP, ALL, TRAIN): 0.2,
    Variant(SOFT_TEMPERED, ALL, HELD_OUT): 0.5,
}


@pytest.fixture(scope="module")
def on() -> Utterances:
    labels = np.random.default_rng(0).integers(0, 3, SPEAKERS * EACH)
    labels[::20] = -1
    return Utterances(labels, CLASSES, [f"s{k}" for k in np.arange(SPEAKERS).repeat(EACH)])


@pytest.fixture(scope="module")
def said(on: Utterances) -> Posteriors:
    rng = np.random.default_rng(1)
    return {
        variant: softmax(
            3 * skill * np.eye(3)[on.labels] + rng.normal(size=(SEEDS, len(on.labels), 3)), axis=2
        )
        for variant, skill in SKILLS.items()
    }


@pytest.fixture(scope="module")
def table(on, said) -> dict[Variant, Row]:
    rows = ensemble_rows(on, said, resamples=300)
    return {
        Variant(str(row["system"]), str(row["members"]), row["learned_from"]): row for row in rows
    }  # type: ignore[arg-type]


def test_every_variant_has_its_line_in_order(table):
    assert list(table) == list(SKILLS)
    assert all(tuple(row) == COLUMNS for row in table.values())


def test_the_scores_are_scikit_learns_over_the_seeds(on, said, table):
    scored = on.labels >= 0
    for variant, row in table.items():
        guesses = said[variant].argmax(axis=2)[:, scored]
        f1 = [f1_score(on.labels[scored], guess, average="macro") for guess in guesses]
        assert row["macro_f1"] == pytest.approx(np.mean(f1))
        assert row["seed_sd"] == pytest.approx(np.std(f1, ddof=1))
        assert row["accuracy"] == pytest.approx(
            np.mean([accuracy_score(on.labels[scored], guess) for guess in guesses])
        )
        assert row["ece"] == pytest.approx(
            np.mean([calibration(on.labels, one).ece for one in said[variant]])
        )
        assert row["seeds"] == SEEDS


def test_each_is_compared_with_what_it_should_beat(on, said, table):
    assert rival_of(Variant(SOFT)) is None
    assert rival_of(Variant(SOFT_TEMPERED, ALL, HELD_OUT)) is None, (
        "a temperature changes no first choice"
    )
    assert (
        rival_of(Variant(MAJORITY, "top 2"))
        == rival_of(Variant(SOFT, "top 2"))
        == rival_of(Variant(BEST, "top 1"))
        == Variant(SOFT)
    )
    assert rival_of(Variant(SOUP, "top 2", OUT_OF_FOLD)) == Variant(SOFT, "top 2")
    assert {row["against"] for row in table.values()} == {
        None,
        "soft_vote, all",
        "soft_vote, top 2",
    }
    tested = [variant for variant, row in table.items() if row["against"] is not None]
    assert len(tested) == len(SKILLS) - 2
    for variant in tested:
        rival = rival_of(variant)
        pair = {"one": said[variant].argmax(axis=2), "other": said[rival].argmax(axis=2)}
        (found,) = compare(on.labels, pair, [("one", "other")], CLASSES, on.clusters, resamples=300)
        assert table[variant]["difference"] == pytest.approx(found.difference)
        assert table[variant]["difference"] == pytest.approx(
            table[variant]["macro_f1"] - table[rival]["macro_f1"]
        )
        assert table[variant]["p"] == found.p
    assert [table[variant]["p_corrected"] for variant in tested] == pytest.approx(
        holm([table[variant]["p"] for variant in tested])
    )


def test_a_planted_difference_is_marked_and_none_is_not(table):
    assert table[Variant(SOUP, ALL, OUT_OF_FOLD)]["p_corrected"] < 0.05
    assert table[Variant(SOUP, ALL, OUT_OF_FOLD)]["difference"] > 0
    assert table[Variant(SOUP, ALL, TRAIN)]["difference"] < 0
    assert table[Variant(MAJORITY)]["p_corrected"] > 0.05


def test_the_questions_are_those_that_the_variants_can_answer(said):
    asked = questions_of(list(said), OUT_OF_FOLD)
    soup = Variant(SOUP, ALL, OUT_OF_FOLD)
    assert asked["Does the soup beat one meta-classifier?"] == (
        soup,
        Variant(SINGLE, ALL, OUT_OF_FOLD),
    )
    assert asked["Does the soup of all members beat that of the top 2?"] == (
        soup,
        Variant(SOUP, "top 2", OUT_OF_FOLD),
    )
    assert asked["Does learning out of fold beat learning in-sample (soup)?"] == (
        soup,
        Variant(SOUP, ALL, TRAIN),
    )
    assert not any("greedy" in text or "weights" in text for text in asked)
    more = questions_of(
        [*said, Variant(GREEDY, ALL, OUT_OF_FOLD), Variant(WEIGHTED, ALL, HELD_OUT)], OUT_OF_FOLD
    )
    assert len(more) == len(asked) + 2
    own = Variant(WEIGHTED, ALL, OUT_OF_FOLD)
    assert own in questions_of([*said, own], OUT_OF_FOLD)["Do fitted weights beat the soft vote?"]
    in_sample = questions_of(
        [
            Variant(SOFT),
            Variant(SINGLE, ALL, TRAIN),
            Variant(SOUP, ALL, TRAIN),
            Variant(BEST, "top 1"),
        ],
        TRAIN,
    )
    assert not any("out of fold" in text for text in in_sample)
    assert len(in_sample) == 4


def test_a_question_is_answered_by_its_difference_corrected_over_the_questions(on, said):
    rows = question_rows(on, said, OUT_OF_FOLD, resamples=300)
    assert [row["question"] for row in rows] == list(questions_of(list(said), OUT_OF_FOLD))
    assert [row["p_corrected"] for row in rows] == pytest.approx(holm([row["p"] for row in rows]))
    (learning,) = [row for row in rows if "in-sample" in row["question"]]
    assert (learning["one"], learning["other"]) == ("soup, all, out_of_fold", "soup, all, train")
    assert learning["difference"] > 0.1
    assert learning["p_corrected"] < 0.05
