"""Stage 3 learns as configured: from which utterances, for how long, and which epoch it keeps."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax, softmax
from simulated_members import CLASSES, CONFIG, LEARN, SELECT, fit, simulated

from medusa_jax.batches.sampling import balanced_subset
from medusa_jax.config.training import TrainingConfig
from medusa_jax.ensemble import meta
from medusa_jax.errors import CheckpointError, TrainingError
from medusa_jax.evaluation.balanced import (
    class_weighted_error,
    class_weighted_macro_f1,
    selection_score,
)
from medusa_jax.models import meta_classifier

PLAIN = TrainingConfig()
SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(scope="module")
def task():
    members, targets = simulated()
    return meta.inputs_of(members, True), targets


@pytest.fixture(scope="module")
def fitted(task):
    return fit(*task)


def predicted(params, x):
    return np.asarray(meta_classifier.forward(params, jnp.asarray(x), 4)[0]).argmax(axis=1)


# The same arguments, the same weights


def test_the_same_seed_gives_the_same_weights_and_another_does_not(task, fitted):
    again, other = (fit(*task, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(again.params["w"], fitted.params["w"])
    assert np.abs(other.params["w"] - fitted.params["w"]).max() > 1e-3


@pytest.mark.slow
def test_a_fit_that_was_killed_is_repeated_to_the_same_bits(fitted, tmp_path: Path):
    """Another process, killed while it fits and run again, saves what this one found."""
    code = f"""
from pathlib import Path
from medusa_jax.ensemble import meta
from simulated_members import fit, simulated
members, targets = simulated()
print("begun", flush=True)
fit(meta.inputs_of(members, True), targets).save(Path({str(tmp_path)!r}), "digest")
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=SUPPORT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.2)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(CheckpointError, match="no meta-classifier found"):
        meta.MetaClassifiers.load(tmp_path)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=SUPPORT)
    back = meta.MetaClassifiers.load(tmp_path)
    for name in ("w", "b"):
        np.testing.assert_array_equal(back.params[name], fitted.params[name])


@pytest.mark.parametrize("seed", [5_000_000, 2**33])
def test_any_seed_of_a_configuration_works(task, seed):
    found = fit(*task, held_out=None, seed=seed)
    assert np.isfinite(found.params["w"]).all()


# The utterances of an epoch


def test_it_learns_from_balanced_subsets(task):
    """Without features only the classes' frequencies are left to learn, and those are equal."""
    nothing = np.zeros_like(task[0])
    found = fit(nothing, task[1], held_out=None, epochs=40, batch_size=16)
    logits, _ = meta_classifier.forward(found.soup(), jnp.asarray(nothing[:1]), 4)
    np.testing.assert_allclose(softmax(np.asarray(logits), axis=1)[0], 0.25, atol=0.06)


def drawn_by(epochs, batch_size, training=PLAIN):
    """Utterances that taught: with a feature for each, those whose weights moved."""
    _, targets = simulated()
    settings = dict(seeds=1, epochs=epochs, batch_size=batch_size, weight_decay=0)
    found = fit(
        np.eye(800, dtype=np.float32), targets, held_out=None, training=training, **settings
    )
    untrained = meta_classifier.initial(np.random.default_rng((0, 5)), 800, 7)
    return np.flatnonzero(np.abs(found.single()["w"] - untrained["w"]).max(axis=1) > 1e-5)


def test_every_epoch_draws_a_new_balanced_subset(task):
    _, targets = task
    drawn = drawn_by(epochs=4, batch_size=16)
    assert set(drawn) <= set(LEARN)
    assert (targets.labels[drawn] >= 0).all()
    smallest = np.bincount(targets.labels[LEARN][targets.labels[LEARN] >= 0]).min()
    frequent = (targets.labels[drawn] == 0).sum()
    assert 2.5 * smallest < frequent <= 4 * smallest


@pytest.mark.parametrize("batch_size", [32, 64, 1000])
def test_an_epoch_has_every_utterance_of_its_subset(task, batch_size):
    labels = task[1].labels[LEARN]
    subset = LEARN[balanced_subset(labels, CLASSES, 0, 0)]
    assert len(subset) % 32, "every batch is full: the test is blind"
    np.testing.assert_array_equal(drawn_by(epochs=1, batch_size=batch_size), subset)


def test_utterances_without_consensus_join_as_in_stage_2(task):
    training = TrainingConfig(no_consensus=True)
    drawn = drawn_by(epochs=1, batch_size=32, training=training)
    without = drawn[task[1].labels[drawn] < 0]
    counts = np.bincount(task[1].labels[drawn][task[1].labels[drawn] >= 0])
    assert set(counts) == {counts[0]}
    assert 0 < len(without) <= counts[0]


def test_the_last_batch_is_the_mean_of_its_own_utterances(task):
    """One epoch equals optax by hand, whose last batch is simply shorter."""
    x, targets = task
    found = fit(x, targets, held_out=None, seeds=1, epochs=1)
    chosen = LEARN[balanced_subset(targets.labels[LEARN], CLASSES, 0, 0)]
    order = np.random.default_rng((0, 4, 0)).permutation(chosen)
    params = meta_classifier.initial(np.random.default_rng((0, 5)), x.shape[1], 7)
    optimiser = optax.adamw(CONFIG.learning_rate, weight_decay=CONFIG.weight_decay)
    state = optimiser.init(params)
    features, soft, ratings = map(jnp.asarray, (x, targets.soft, targets.attributes))

    def loss(params, rows):
        logits, attributes = meta_classifier.forward(params, features[rows], 4)
        classes = optax.softmax_cross_entropy(logits, soft[rows]).mean()
        return 1.5 * classes + 0.4 * ((attributes - ratings[rows]) ** 2).mean()

    @jax.jit
    def step(params, state, rows):
        updates, state = optimiser.update(jax.grad(loss)(params, rows), state, params)
        return optax.apply_updates(params, updates), state

    for start in range(0, len(order), CONFIG.batch_size):
        params, state = step(params, state, order[start : start + CONFIG.batch_size])
    np.testing.assert_allclose(found.single()["w"], params["w"], atol=1e-5)


def test_only_the_given_part_teaches(task, fitted):
    x, targets = task
    taught = np.isin(np.arange(len(x)), LEARN)[:, None]
    changed = np.where(taught, targets.soft, targets.soft[:, ::-1]).astype(np.float32)
    other = fit(x, meta.Targets(changed, targets.attributes, targets.rated, targets.labels))
    np.testing.assert_array_equal(other.params["w"], fitted.params["w"])


def test_a_class_that_is_missing_is_named(task):
    x, targets = task
    with pytest.raises(TrainingError, match="'neutral'"):
        fit(x, targets, LEARN[targets.labels[LEARN] != 3], None)


# The run's settings


@pytest.mark.parametrize(
    "settings",
    [
        dict(class_loss=0.0),
        dict(attribute_loss=0.0),
        dict(targets="one_hot"),
        dict(no_consensus=True),
    ],
)
def test_the_runs_settings_of_training_change_what_is_learned(task, settings):
    plain, other = (
        fit(*task, held_out=None, seeds=1, training=TrainingConfig(**some))
        for some in ({}, settings)
    )
    assert np.abs(plain.params["w"] - other.params["w"]).max() > 1e-3


@pytest.mark.parametrize("settings", [dict(selection_draws=50), dict(selection="class_weighted")])
def test_the_runs_settings_of_selection_change_the_scores(task, fitted, settings):
    assert fit(*task, training=TrainingConfig(**settings)).scores != fitted.scores


def test_without_attribute_loss_the_attributes_stay_untrained(task):
    settings = dict(held_out=None, seeds=1, weight_decay=0.0)
    found = fit(*task, training=TrainingConfig(attribute_loss=0), **settings)
    untrained = meta_classifier.initial(np.random.default_rng((0, 5)), task[0].shape[1], 7)
    np.testing.assert_allclose(found.single()["w"][:, 4:], untrained["w"][:, 4:], atol=1e-6)


def test_updates_set_the_number_of_epochs(task):
    """About 45 utterances a class and batches of 32 make 6 steps an epoch."""
    smallest = np.bincount(task[1].labels[LEARN][task[1].labels[LEARN] >= 0]).min()
    steps = -(-4 * smallest // 32)
    for updates, epochs in ((1, 1), (steps, 1), (steps + 1, 2), (10 * steps, 10)):
        assert fit(*task, held_out=None, updates=updates).epochs == (epochs - 1,) * 3
    long, same = fit(*task, updates=15 * steps), fit(*task)
    np.testing.assert_array_equal(long.params["w"], same.params["w"])


# The epoch that is kept


EPOCHS = 6


@pytest.fixture(scope="module")
def noisy():
    """A task on which the four rules keep four different epochs."""
    members, targets = simulated()
    rng = np.random.default_rng(5)
    x = meta.inputs_of(members, True) + rng.normal(0, 0.6, (800, 28)).astype(np.float32)
    return x, targets


@pytest.fixture(scope="module")
def epochs(noisy):
    """Weights after 1, 2, … epochs: an epoch's do not depend on those that follow."""
    counts = range(1, EPOCHS + 1)
    return [fit(*noisy, held_out=None, seeds=1, epochs=count).single() for count in counts]


@pytest.mark.parametrize("how", ["balanced_draws", "class_weighted"])
def test_best_is_the_highest_score_and_the_score_is_kept(noisy, epochs, how):
    x, targets = noisy
    labels = targets.labels[SELECT]
    scores = [
        selection_score(labels, predicted(params, x[SELECT]), 4, how, 5, 0) for params in epochs
    ]
    found = fit(*noisy, seeds=1, epochs=EPOCHS, training=TrainingConfig(selection=how))
    assert found.epochs == (int(np.argmax(scores)),)
    assert found.scores[0] == pytest.approx(max(scores), abs=1e-6)
    np.testing.assert_allclose(found.single()["w"], epochs[found.epochs[0]]["w"], atol=1e-6)


def test_one_se_is_the_first_within_one_standard_error_of_the_best(noisy, epochs):
    x, targets = noisy
    labels = targets.labels[SELECT]
    guesses = [predicted(params, x[SELECT]) for params in epochs]
    scores = np.array([class_weighted_macro_f1(labels, guess, 4) for guess in guesses])
    error = class_weighted_error(labels, guesses[scores.argmax()], 4)
    first = int(np.flatnonzero(scores >= scores.max() - error)[0])
    found = fit(
        *noisy,
        seeds=1,
        epochs=EPOCHS,
        select="one_se",
        training=TrainingConfig(selection="class_weighted"),
    )
    assert found.epochs == (first,)
    assert found.scores[0] == pytest.approx(scores[first], abs=1e-6)


def test_log_loss_is_the_least_cross_entropy_with_classes_alike(noisy, epochs):
    x, targets = noisy
    labels, soft = targets.labels[SELECT], targets.soft[SELECT]
    losses = []
    for params in epochs:
        logits = np.asarray(meta_classifier.forward(params, jnp.asarray(x[SELECT]), 4)[0])
        each = -(soft * log_softmax(logits, axis=1)).sum(axis=1)
        losses.append(np.mean([each[labels == c].mean() for c in range(4)]))
    assert fit(*noisy, seeds=1, epochs=EPOCHS, select="log_loss").epochs == (
        int(np.argmin(losses)),
    )


def test_the_rules_keep_different_epochs(noisy):
    rules = ("best", "last", "one_se", "log_loss")
    found = {rule: fit(*noisy, seeds=1, epochs=EPOCHS, select=rule).epochs[0] for rule in rules}
    assert found["last"] == EPOCHS - 1
    assert len(set(found.values())) == 4, found


def test_without_a_held_out_part_the_last_epoch_is_kept(task):
    found = fit(*task, held_out=None)
    assert found.epochs == (CONFIG.epochs - 1,) * 3
    assert np.isnan(found.scores).all()
