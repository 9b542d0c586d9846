"""Meta-classifiers learn whom to trust; the soup is their mean."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import f1_score

from medusa_jax.config.ensemble import EnsembleConfig
from medusa_jax.ensemble import meta
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.votes import majority_vote, soft_vote
from medusa_jax.errors import CheckpointError, TrainingError
from medusa_jax.evaluation.balanced import balanced_macro_f1
from medusa_jax.models import meta_classifier

CLASSES = ("angry", "sad", "happy", "neutral")
CONFIG = EnsembleConfig(seeds=3, epochs=15, batch_size=32, learning_rate=2e-2)


# The meta-classifier's input and its one layer


def test_features_go_member_by_member_posteriors_then_attributes():
    logits = np.log([[[0.1, 0.9], [0.6, 0.4]]])
    attributes = jnp.array([[[1.0, 4, 7], [2.5, 4, 5.5]]])
    x = meta_classifier.features_of(jnp.asarray(logits, jnp.float32), attributes)
    np.testing.assert_allclose(x, [[0.1, 0.9, -1, 0, 1, 0.6, 0.4, -0.5, 0, 0.5]], atol=1e-6)


def test_fourteen_members_give_154_features_or_112():
    logits, attributes = jnp.zeros((2, 14, 8)), jnp.full((2, 14, 3), 4.0)
    assert meta_classifier.features_of(logits, attributes).shape == (2, 154)
    assert meta_classifier.features_of(logits, None).shape == (2, 112)


def test_the_layer_by_hand_and_without_activation():
    params = {
        "w": jnp.array([[1.0, -1, 0, 0.5, -2], [0, 2, 1, 0, 0]]),
        "b": jnp.array([0.0, -3, 0, 0, 1]),
    }
    logits, attributes = meta_classifier.forward(params, jnp.array([[2.0, 1]]))
    # 2·(1, −1) + 1·(0, 2) + (0, −3) = (2, −3): a ReLU would cut the second. 4 + 3·(1, 1, −3) = (7, 7, −5).
    np.testing.assert_allclose(logits, [[2, -3]])
    np.testing.assert_allclose(attributes, [[7, 7, -5]])


# Stages 3 and 4


def simulated(reliable=2, members=4, count=800, seed=0):
    """Logits `[n, m, c]`, attributes and targets of an uneven corpus on which one member is right and the others are loudly wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, count, p=[0.6, 0.2, 0.1, 0.1])
    logits = rng.normal(0, 3, (count, members, 4)).astype(np.float32)
    logits[:, reliable] = 1.5 * np.eye(4)[labels] + rng.normal(0, 0.5, (count, 4))
    ratings = rng.uniform(1, 7, (count, 3)).astype(np.float32)
    attributes = rng.uniform(1, 7, (count, members, 3)).astype(np.float32)
    attributes[:, reliable] = np.clip(ratings + rng.normal(0, 0.3, ratings.shape), 1, 7)
    soft = (0.8 * np.eye(4)[labels] + 0.05).astype(np.float32)
    labels[::10] = -1
    soft[::20] = 0
    return logits, attributes, meta.Targets(soft, ratings, np.ones_like(ratings), labels)


def simulated_task():
    """The features and targets of `simulated`, who is learned from, and who chooses the epoch."""
    logits, attributes, targets = simulated()
    x = np.asarray(meta_classifier.features_of(jnp.asarray(logits), jnp.asarray(attributes)))
    return x, targets, np.arange(0, 500), np.arange(500, 800)


@pytest.fixture(scope="module")
def task():
    return simulated_task()


@pytest.fixture(scope="module")
def fitted(task):
    x, targets, learn, select = task
    return meta.fit(x, targets, CLASSES, learn, select, CONFIG, 0)


def test_it_learns_whom_to_trust(task, fitted):
    x, targets, _, rest = task
    logits, attributes, _ = simulated()
    labelled = rest[targets.labels[rest] >= 0]
    ids = tuple(map(str, range(len(logits))))
    members = [Predictions(ids, CLASSES, logits[:, m], attributes[:, m]) for m in range(4)]

    def f1(guess):
        return f1_score(targets.labels[labelled], guess[labelled].argmax(axis=1), average="macro")

    learned, predicted = (
        np.asarray(a) for a in meta_classifier.forward(fitted.soup(), jnp.asarray(x))
    )
    assert f1(learned) > f1(soft_vote(members).logits) + 0.2
    assert f1(learned) > f1(majority_vote(members).logits) + 0.2
    weight_of_member = (
        np.abs(np.asarray(fitted.soup()["w"])).reshape(4, 7, 7)[:, :4, :4].sum(axis=(1, 2))
    )
    assert weight_of_member.argmax() == 2
    assert weight_of_member[2] > 2 * np.delete(weight_of_member, 2).max()
    errors = [
        np.abs(a - targets.attributes)[rest].mean()
        for a in (predicted, soft_vote(members).attributes)
    ]
    assert errors[0] < 0.6 * errors[1]


def test_the_soup_is_the_mean_of_its_members_and_so_are_its_logits(task, fitted):
    seeds = [fitted.single(s) for s in range(3)]
    for name in ("w", "b"):
        np.testing.assert_allclose(
            fitted.soup()[name], np.mean([one[name] for one in seeds], axis=0), atol=1e-7
        )
    x = jnp.asarray(task[0][:50])
    for part in (0, 1):
        mean = np.mean([meta_classifier.forward(one, x)[part] for one in seeds], axis=0)
        np.testing.assert_allclose(meta_classifier.forward(fitted.soup(), x)[part], mean, atol=1e-4)
    assert min(np.abs(seeds[0]["w"] - one["w"]).max() for one in seeds[1:]) > 1e-3, (
        "the seeds are all the same"
    )


def test_each_seed_keeps_its_best_epoch(task, fitted):
    x, targets, _, select = task
    for seed in range(3):
        logits, _ = meta_classifier.forward(fitted.single(seed), jnp.asarray(x[select]))
        assert fitted.scores[seed] == pytest.approx(
            balanced_macro_f1(targets.labels[select], np.asarray(logits).argmax(axis=1), 4, 5, 0),
            abs=1e-5,
        )
        assert 0 <= fitted.epochs[seed] < CONFIG.epochs


def test_the_same_seed_gives_the_same_weights_and_another_does_not(task, fitted):
    x, targets, learn, select = task
    again, other = (meta.fit(x, targets, CLASSES, learn, select, CONFIG, seed) for seed in (0, 1))
    np.testing.assert_array_equal(again.params["w"], fitted.params["w"])
    assert np.abs(other.params["w"] - fitted.params["w"]).max() > 1e-3


@pytest.mark.slow
def test_a_fit_that_was_killed_is_repeated_to_the_same_bits(task, fitted, tmp_path: Path):
    """Another process, killed while it fits and run again, saves what this one found."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_meta as t; x, targets, learn, select = t.simulated_task(); "
        f"print('begun', flush=True); t.meta.fit(x, targets, t.CLASSES, learn, select, t.CONFIG, 0).save(t.Path({str(tmp_path)!r}), 'digest')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.2)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(CheckpointError, match="there is no meta-classifier here"):
        meta.MetaClassifiers.load(tmp_path)
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    back = meta.MetaClassifiers.load(tmp_path)
    for name in ("w", "b"):
        np.testing.assert_array_equal(back.params[name], fitted.params[name])


@pytest.mark.parametrize("seed", [5_000_000, 2**33])
def test_any_seed_that_a_configuration_may_hold_will_do(task, seed):
    x, targets, learn, _ = task
    found = meta.fit(x, targets, CLASSES, learn, None, CONFIG, seed)
    assert np.isfinite(found.params["w"]).all()
    assert found.epochs == (CONFIG.epochs - 1,) * 3, (
        "with nothing to select on the last epoch counts"
    )
    assert np.isnan(found.scores).all()


def test_it_learns_from_balanced_subsets(task):
    """Features that say nothing leave the classes' frequencies to learn: equal ones, though six in ten utterances are angry."""
    _, targets, learn, _ = task
    nothing = np.zeros_like(task[0])
    found = meta.fit(
        nothing,
        targets,
        CLASSES,
        learn,
        None,
        CONFIG.model_copy(update={"epochs": 40, "batch_size": 16}),
        0,
    )
    logits, _ = meta_classifier.forward(found.soup(), jnp.asarray(nothing[:1]))
    np.testing.assert_allclose(softmax(np.asarray(logits), axis=1)[0], 0.25, atol=0.06)


def test_every_epoch_draws_a_new_balanced_subset(task):
    """With a feature for each utterance, the weights that moved tell which utterances were drawn."""
    _, targets, learn, _ = task
    config = EnsembleConfig(seeds=1, epochs=4, batch_size=16, weight_decay=0)
    found = meta.fit(np.eye(800, dtype=np.float32), targets, CLASSES, learn, None, config, 0)
    untrained = meta_classifier.initial(np.random.default_rng((0, 5)), 800, 4)
    drawn = np.flatnonzero(np.abs(found.single()["w"] - untrained["w"]).max(axis=1) > 1e-5)
    assert set(drawn) <= set(learn)
    assert (targets.labels[drawn] >= 0).all()
    smallest = np.bincount(targets.labels[learn][targets.labels[learn] >= 0]).min()
    frequent = (targets.labels[drawn] == 0).sum()
    assert 2.5 * smallest < frequent <= 4 * smallest


def test_only_the_given_part_teaches(task, fitted):
    x, targets, learn, select = task
    changed = np.where(
        np.isin(np.arange(len(x)), learn)[:, None], targets.soft, targets.soft[:, ::-1]
    ).astype(np.float32)
    other = meta.fit(
        x,
        meta.Targets(changed, targets.attributes, targets.rated, targets.labels),
        CLASSES,
        learn,
        select,
        CONFIG,
        0,
    )
    np.testing.assert_array_equal(other.params["w"], fitted.params["w"])


def test_a_class_that_is_missing_is_named(task):
    x, targets, learn, _ = task
    with pytest.raises(TrainingError, match="'neutral'"):
        meta.fit(x, targets, CLASSES, learn[targets.labels[learn] != 3], None, CONFIG, 0)


def test_meta_classifiers_come_back_as_they_were(fitted, tmp_path: Path):
    fitted.save(tmp_path, "digest")
    back = meta.MetaClassifiers.load(tmp_path)
    np.testing.assert_array_equal(back.params["w"], fitted.params["w"])
    np.testing.assert_array_equal(back.soup()["b"], fitted.soup()["b"])
    assert (back.scores, back.epochs) == (fitted.scores, fitted.epochs)
    damaged = next(path for path in tmp_path.rglob("d/*") if path.stat().st_size > 100)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=damaged.name):
        meta.MetaClassifiers.load(tmp_path)
    with pytest.raises(CheckpointError, match="there is no meta-classifier here"):
        meta.MetaClassifiers.load(tmp_path / "nowhere")
