"""Every way to combine members, on simulated ones."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import f1_score

from medusa_jax.config.ensemble import EnsembleConfig
from medusa_jax.config.training import TrainingConfig
from medusa_jax.ensemble import meta, meta_training
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.recalibration import learned_prior, rebalanced
from medusa_jax.ensemble.stacking import logistic_stacking
from medusa_jax.ensemble.variants import (
    ALL,
    BEST,
    ENSEMBLES,
    GREEDY,
    HELD_OUT,
    MAJORITY,
    OUT_OF_FOLD,
    SINGLE,
    SOFT,
    SOFT_REBALANCED,
    SOFT_TEMPERED,
    SOUP,
    SOUP_REBALANCED,
    SOUP_TEMPERED,
    STACKING,
    TRAIN,
    WEIGHTED,
    Combined,
    Pool,
    Variant,
    combined,
)
from medusa_jax.ensemble.votes import soft_vote
from medusa_jax.ensemble.weighted import fit_weights, weighted_vote
from medusa_jax.errors import CorpusError, EvaluationError

CLASSES = ("angry", "sad", "happy")
COUNT = 900
FIT, HELD, REST = np.arange(300), np.arange(300, 600), np.arange(600, 900)
CONFIG = EnsembleConfig(seeds=3, epochs=8, learning_rate=1e-2)
TRAINING = TrainingConfig()


def outputs(logits: np.ndarray) -> Predictions:
    n = len(logits)
    return Predictions(
        tuple(map(str, range(n))),
        CLASSES,
        logits.astype(np.float32),
        np.full((n, 3), 4, np.float32),
    )


def pool_of(seed: int = 0) -> Pool:
    """A good member, a middling one, and a first one that is right on its training part alone."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, COUNT, p=[0.6, 0.25, 0.15])
    truth = np.eye(3)[labels]
    new = [
        rng.normal(0, 3, (COUNT, 3)),
        2 * truth + rng.normal(0, 0.7, (COUNT, 3)),
        1.5 * truth + rng.normal(0, 1.2, (COUNT, 3)),
    ]
    final = [logits.copy() for logits in new]
    final[0][FIT] = 8 * truth[FIT]
    targets = meta.Targets(
        (0.8 * truth + 0.2 / 3).astype(np.float32),
        np.full((COUNT, 3), 4, np.float32),
        np.zeros((COUNT, 3), np.float32),
        labels,
    )
    return Pool(
        tuple(map(outputs, final)),
        tuple(map(outputs, new)),
        (1, 2, 0),
        targets,
        FIT,
        HELD,
        lambda rows: np.arange(len(rows)) % 3,
    )


@pytest.fixture(scope="module")
def pool() -> Pool:
    return pool_of()


@pytest.fixture(scope="module")
def found(pool: Pool) -> Combined:
    return combined(pool, [2], CONFIG.model_copy(update={"fit_on": OUT_OF_FOLD}), TRAINING, 0)


def f1(pool: Pool, predictions: Predictions) -> float:
    return float(
        f1_score(
            pool.targets.labels[REST], predictions.logits[REST].argmax(axis=1), average="macro"
        )
    )


def test_every_variant_is_there_once(found):
    sources = (OUT_OF_FOLD, TRAIN)
    table = {Variant(system, members) for system in (MAJORITY, SOFT) for members in (ALL, "top 2")}
    table |= {
        Variant(system, members, source)
        for system in (SINGLE, SOUP)
        for members in (ALL, "top 2")
        for source in sources
    }
    held = {
        Variant(name, ALL, HELD_OUT)
        for name in (WEIGHTED, SOFT_REBALANCED, SOUP_REBALANCED, SOFT_TEMPERED, SOUP_TEMPERED)
    }
    beyond = {
        Variant(BEST, "top 1"),
        Variant(GREEDY, ALL, OUT_OF_FOLD),
        Variant(STACKING, ALL, OUT_OF_FOLD),
    }
    assert set(found.predictions) == table | held | beyond
    assert found.left_out == {}
    assert str(Variant(SOUP, "top 2", TRAIN)) == "soup, top 2, train"


def test_only_out_of_fold_predictions_show_which_member_to_trust(pool, found):
    """In-sample learning trusts the member that is perfect on its own training part alone."""
    learned, fooled = (
        f1(pool, found.predictions[Variant(SOUP, ALL, source)]) for source in (OUT_OF_FOLD, TRAIN)
    )
    assert learned > fooled + 0.2
    assert f1(pool, found.predictions[Variant(STACKING, ALL, OUT_OF_FOLD)]) > fooled + 0.2


def test_the_best_members_are_chosen_as_ranked_in_their_own_order(pool, found):
    two = pool.top(2)
    assert two.members == (pool.members[1], pool.members[2])
    assert two.out_of_fold == (pool.out_of_fold[1], pool.out_of_fold[2])
    assert two.ranking == (0, 1)
    assert pool.top(1).members == (pool.members[1],)
    np.testing.assert_allclose(
        found.predictions[Variant(SOFT, "top 2")].logits, soft_vote(two.members).logits
    )
    assert found.predictions[Variant(BEST, "top 1")] is pool.members[1]


def test_the_soup_of_all_is_the_runs_own(pool, found):
    x_nf = meta.inputs_of(pool.members, CONFIG.attributes)
    own = meta_training.fit(x_nf, pool.targets, CLASSES, FIT, HELD, CONFIG, TRAINING, 0)
    for system, params in ((SOUP, own.soup()), (SINGLE, own.single())):
        np.testing.assert_array_equal(
            found.predictions[Variant(system, ALL, TRAIN)].logits,
            meta.predict(params, pool.members).logits,
        )


def test_the_runs_settings_of_training_reach_the_meta_classifiers(pool, found):
    config = CONFIG.model_copy(update={"fit_on": OUT_OF_FOLD})
    again = combined(pool, [], config, TrainingConfig(targets="one_hot"), 0)
    soup, vote = Variant(SOUP, ALL, TRAIN), Variant(SOFT)
    assert np.abs(again.predictions[soup].logits - found.predictions[soup].logits).max() > 1e-3
    np.testing.assert_array_equal(again.predictions[vote].logits, found.predictions[vote].logits)


def test_no_system_learns_from_the_scored_part(pool, found):
    """Other labels of the rest change no output of any system."""
    labels = pool.targets.labels.copy()
    labels[REST] = (labels[REST] + 1) % 3
    soft = pool.targets.soft.copy()
    soft[REST] = soft[REST][:, ::-1]
    other = Pool(
        **{
            **vars(pool),
            "targets": meta.Targets(soft, pool.targets.attributes, pool.targets.rated, labels),
        }
    )
    again = combined(other, [2], CONFIG.model_copy(update={"fit_on": OUT_OF_FOLD}), TRAINING, 0)
    for variant, predictions in found.predictions.items():
        np.testing.assert_array_equal(
            again.predictions[variant].logits, predictions.logits, err_msg=str(variant)
        )


def test_temperature_changes_no_choice_and_calibrates_better(pool, found):
    for plain, warm in (
        (Variant(SOFT), SOFT_TEMPERED),
        (Variant(SOUP, ALL, OUT_OF_FOLD), SOUP_TEMPERED),
    ):
        one, other = found.predictions[plain], found.predictions[Variant(warm, ALL, HELD_OUT)]
        assert (one.logits.argmax(axis=1) == other.logits.argmax(axis=1)).all()
        loss = [
            -log_softmax(o.logits, axis=1)[HELD, pool.targets.labels[HELD]].mean()
            for o in (one, other)
        ]
        assert loss[1] <= loss[0]


@pytest.mark.parametrize(
    ("fit_on", "sources"), [(TRAIN, {TRAIN, HELD_OUT}), (HELD_OUT, {HELD_OUT})]
)
def test_without_out_of_fold_outputs_the_rest_is_there(pool, fit_on, sources):
    without = Pool(**{**vars(pool), "out_of_fold": None})
    found = combined(without, [], CONFIG.model_copy(update={"fit_on": fit_on}), TRAINING, 0)
    assert {variant.learned_from for variant in found.predictions} - {None} == sources
    assert {variant.system for variant in found.predictions} >= {*ENSEMBLES, WEIGHTED, STACKING}
    assert (Variant(GREEDY, ALL, fit_on) in found.left_out) == (fit_on == HELD_OUT), (
        "the part that it learned from cannot choose a soup"
    )
    assert (Variant(GREEDY, ALL, fit_on) in found.predictions) == (fit_on == TRAIN)
    with pytest.raises(EvaluationError, match="no out-of-fold predictions"):
        combined(without, [], CONFIG.model_copy(update={"fit_on": OUT_OF_FOLD}), TRAINING, 0)


@pytest.mark.parametrize(("fit_on", "rows"), [(OUT_OF_FOLD, FIT), (HELD_OUT, HELD)])
def test_the_study_has_the_runs_own_weighted_vote(pool, fit_on, rows):
    config = CONFIG.model_copy(update={"kind": "weighted", "fit_on": fit_on})
    found = combined(pool, [], config, TRAINING, 0)
    (variant,) = (one for one in found.predictions if one.system == WEIGHTED)
    assert variant == Variant(WEIGHTED, ALL, fit_on)
    taught = pool.taught(fit_on)
    one_hot = pool.targets.learned("one_hot")[rows]
    weights = fit_weights([one.where(rows) for one in taught], one_hot)
    expected = weighted_vote(pool.members, weights)
    np.testing.assert_array_equal(found.predictions[variant].logits, expected.logits)


def test_a_system_that_cannot_be_made_is_left_out_and_named(pool):
    def none(rows: np.ndarray) -> np.ndarray:
        raise CorpusError("1 speaker(s) cannot make 3 inner folds")

    rare = pool.targets.labels.copy()
    rare[HELD] = np.where(rare[HELD] == 2, -1, rare[HELD])
    targets = meta.Targets(pool.targets.soft, pool.targets.attributes, pool.targets.rated, rare)
    found = combined(
        Pool(**{**vars(pool), "folds_of": none, "targets": targets}), [], CONFIG, TRAINING, 0
    )
    assert (
        found.left_out[Variant(STACKING, ALL, HELD_OUT)] == "1 speaker(s) cannot make 3 inner folds"
    )
    assert "happy" in found.left_out[Variant(SOFT_REBALANCED, ALL, HELD_OUT)]
    assert not found.left_out.keys() & found.predictions.keys()


# Stacking


def test_stacking_learns_which_member_to_trust(pool):
    taught, labels = pool.out_of_fold, pool.targets.labels
    predictions = logistic_stacking(taught, labels, FIT, np.arange(len(FIT)) % 3, pool.members)
    assert f1(pool, predictions) > f1(pool, soft_vote(pool.members)) + 0.1
    assert softmax(predictions.logits, axis=1).sum(axis=1) == pytest.approx(np.ones(COUNT))


def test_stacking_never_predicts_a_class_that_it_did_not_learn(pool):
    labels = np.where(pool.targets.labels == 2, -1, pool.targets.labels)
    predictions = logistic_stacking(
        pool.members, labels, FIT, np.arange(len(FIT)) % 3, pool.members
    )
    assert set(predictions.logits.argmax(axis=1)) == {0, 1}
    assert np.isfinite(predictions.logits).all()


def test_stacking_ignores_the_frequency_of_classes():
    """Members without information leave it no class to prefer, though six in ten are angry."""
    pool = pool_of(3)
    nothing = tuple(outputs(np.zeros((COUNT, 3))) for _ in range(2))
    predictions = logistic_stacking(
        nothing, pool.targets.labels, FIT, np.arange(len(FIT)) % 3, nothing
    )
    assert predictions.posteriors[0] == pytest.approx([1 / 3] * 3, abs=1e-3)


# The prior


@pytest.mark.parametrize("planted", [[1 / 3, 1 / 3, 1 / 3], [0.7, 0.2, 0.1]])
def test_the_prior_of_posteriors_is_found_whatever_the_frequencies(planted):
    """Posteriors of a known likelihood and prior, on utterances of other frequencies."""
    rng = np.random.default_rng(1)
    labels = rng.choice(3, 30_000, p=[0.2, 0.2, 0.6])
    means = np.array([[0.0, 0], [1.5, 0], [0, 1.5]])
    x = means[labels] + rng.normal(size=(len(labels), 2))
    likelihood = -0.5 * ((x[:, None] - means) ** 2).sum(axis=2)
    predictions = outputs(likelihood + np.log(planted))
    prior = learned_prior(predictions, labels)
    assert prior == pytest.approx(planted, abs=0.02)
    np.testing.assert_allclose(
        rebalanced(predictions, prior).posteriors, softmax(likelihood, axis=1), atol=0.03
    )


def test_a_class_without_an_utterance_is_named():
    with pytest.raises(EvaluationError, match="sad"):
        learned_prior(outputs(np.zeros((4, 3))), np.array([0, 2, 0, -1]))
