"""Trained meta-classifiers and their soups: predictions, greedy choice, checkpoints."""

from pathlib import Path

import numpy as np
import pytest
from simulated_members import SELECT, fit, simulated
from sklearn.metrics import f1_score

from medusa_jax.ensemble import meta
from medusa_jax.ensemble.votes import majority_vote, soft_vote
from medusa_jax.errors import CheckpointError


@pytest.fixture(scope="module")
def task():
    return simulated()


@pytest.fixture(scope="module")
def fitted(task):
    members, targets = task
    return fit(meta.inputs_of(members, True), targets)


def test_it_learns_which_member_to_trust(task, fitted):
    members, targets = task
    labelled = SELECT[targets.labels[SELECT] >= 0]

    def f1(predictions):
        guess = predictions.logits[labelled].argmax(axis=1)
        return f1_score(targets.labels[labelled], guess, average="macro")

    learned = meta.predict(fitted.soup(), members)
    assert f1(learned) > f1(soft_vote(members)) + 0.2
    assert f1(learned) > f1(majority_vote(members)) + 0.2
    weight_mfo = np.abs(np.asarray(fitted.soup()["w"])).reshape(4, 7, 7)
    weight_m = weight_mfo[:, :4, :4].sum(axis=(1, 2))
    assert weight_m.argmax() == 2
    assert weight_m[2] > 2 * np.delete(weight_m, 2).max()
    ours, mean = (
        np.abs(predictions.attributes - targets.attributes)[SELECT].mean()
        for predictions in (learned, soft_vote(members))
    )
    assert ours < 0.6 * mean


def test_the_soup_is_the_mean_of_its_members_and_so_are_its_logits(task, fitted):
    seeds = [fitted.single(s) for s in range(3)]
    for name in ("w", "b"):
        mean = np.mean([one[name] for one in seeds], axis=0)
        np.testing.assert_allclose(fitted.soup()[name], mean, atol=1e-7)
    soup, *each = (meta.predict(params, task[0]) for params in (fitted.soup(), *seeds))
    for part in ("logits", "attributes"):
        mean = np.mean([getattr(one, part) for one in each], axis=0)
        np.testing.assert_allclose(getattr(soup, part), mean, atol=1e-4)
    apart = [np.abs(seeds[0]["w"] - one["w"]).max() for one in seeds[1:]]
    assert min(apart) > 1e-3, "the seeds are all the same"


def test_posteriors_alone_go_in_and_come_out(task):
    """8·M → 8: no attribute is read or predicted, and the members' mean stands in."""
    members, targets = task
    found = fit(meta.inputs_of(members, False), targets, attributes=False)
    assert np.shape(found.soup()["w"]) == (16, 4)
    assert np.shape(found.soup()["b"]) == (4,)
    predictions = meta.predict(found.soup(), members)
    mean = np.mean([member.attributes for member in members], axis=0)
    np.testing.assert_allclose(predictions.attributes, mean, rtol=1e-6)
    labelled = SELECT[targets.labels[SELECT] >= 0]
    guess = predictions.logits[labelled].argmax(axis=1)
    assert (guess == targets.labels[labelled]).mean() > 0.7


@pytest.mark.parametrize("count", [1, 3])
def test_other_members_are_refused(task, fitted, count):
    with pytest.raises(CheckpointError, match=rf"28 × 7.* {count} member\(s\) with 4 classes"):
        meta.predict(fitted.soup(), task[0][:count])


# The greedy soup


def test_the_greedy_soup_takes_what_helps_and_leaves_what_hurts():
    many = {"w": np.array([[1.0], [5.0], [2.0], [-6.0]])}

    def closeness(params: dict[str, np.ndarray]) -> float:
        return -abs(float(params["w"][0]) - 3)

    soup, chosen = meta.greedy_soup(many, closeness)
    # 2 is nearest; with 1 the mean is 1.5, farther; with 5 it is 3.5, nearer; with −6 far away.
    assert chosen == (2, 1)
    assert soup["w"] == pytest.approx([3.5])


def test_the_greedy_soup_keeps_what_does_not_fall():
    many = {"w": np.array([[1.0], [2.0], [3.0]])}
    assert meta.greedy_soup(many, lambda params: 0.0)[1] == (0, 1, 2), "equal: all, in order"
    soup, chosen = meta.greedy_soup(many, lambda params: float(params["w"][0]))
    assert chosen == (2,)
    assert soup["w"] == pytest.approx([3])


# The checkpoint


def test_meta_classifiers_come_back_as_they_were(fitted, tmp_path: Path):
    fitted.save(tmp_path, "digest")
    back = meta.MetaClassifiers.load(tmp_path)
    np.testing.assert_array_equal(back.params["w"], fitted.params["w"])
    np.testing.assert_array_equal(back.soup()["b"], fitted.soup()["b"])
    assert (back.scores, back.epochs) == (fitted.scores, fitted.epochs)


def test_a_damaged_or_missing_checkpoint_is_refused(fitted, tmp_path: Path):
    fitted.save(tmp_path, "digest")
    damaged = next(path for path in tmp_path.rglob("d/*") if path.stat().st_size > 100)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=damaged.name):
        meta.MetaClassifiers.load(tmp_path)
    with pytest.raises(CheckpointError, match="no meta-classifier found"):
        meta.MetaClassifiers.load(tmp_path / "nowhere")
