"""Windows of long utterances, against loops over one utterance at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.tasks.windows import averaged, first_of, one_by_one, windowed

CROP, SHORT = 10, 4  # of a long slot and of another kind, whose frames are fewer
LENGTHS = np.array([23, 10, 7, 0, 24])
FEWER = np.array([9, 4, 2, 0, 10])


def slots(padded=24):
    rng = np.random.default_rng(0)
    long = np.where(np.arange(padded) < LENGTHS[:, None], 1.0, 0.0)[:, :, None]
    long = long * (1 + np.arange(padded))[None, :, None]
    few = np.where(np.arange(10) < FEWER[:, None], rng.normal(size=(5, 10)), 0)[:, :, None]
    text = rng.normal(size=(5, 3, 2))
    return [jnp.asarray(x, jnp.float32) for x in (long, few, text)], [
        jnp.asarray(n) for n in (LENGTHS, FEWER, np.full(5, 3))
    ]


def test_windows_are_all_of_an_utterance_one_behind_the_other():
    inputs, lengths = slots()
    found = windowed(inputs, lengths, [CROP, SHORT, None])
    assert [x.shape for x in found.inputs] == [(15, 10, 1), (15, 4, 1), (15, 3, 2)]
    for row in range(5):
        for place, (size, whole) in enumerate(((CROP, inputs[0]), (SHORT, inputs[1]))):
            own = np.asarray(found.inputs[place][3 * row : 3 * row + 3]).reshape(-1)
            np.testing.assert_array_equal(own[: whole.shape[1]], whole[row, :, 0])
            kept = np.asarray(found.lengths[place][3 * row : 3 * row + 3])
            wanted = np.clip(int(lengths[place][row]) - size * np.arange(3), 0, size)
            np.testing.assert_array_equal(kept, wanted)
        np.testing.assert_array_equal(found.inputs[2][3 * row + 1], inputs[2][row])


def test_a_window_has_the_share_of_its_length():
    inputs, lengths = slots()
    found = windowed(inputs[:1], lengths[:1], [CROP])
    wanted = [[10, 10, 3], [10, 0, 0], [7, 0, 0], [1, 0, 0], [10, 10, 4]]
    wanted = np.array(wanted) / np.sum(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found.share_bv, wanted, atol=1e-6)


def test_an_encoder_whose_input_is_missing_leaves_the_shares_to_the_other():
    inputs, lengths = slots()
    found = windowed(inputs[:2], [lengths[0], jnp.zeros(5, int)], [CROP, SHORT])
    np.testing.assert_allclose(found.share_bv[0], np.array([10, 10, 3]) / 23, atol=1e-6)


def test_the_padded_length_changes_no_share_and_no_window():
    inputs, lengths = slots()
    longer, _ = slots(47)
    less, more = (windowed(x[:1], lengths[:1], [CROP]) for x in (inputs, longer))
    assert more.share_bv.shape == (5, 5)
    np.testing.assert_array_equal(more.share_bv[:, :3], less.share_bv)
    assert not np.asarray(more.share_bv[:, 3:]).any()
    own = more.inputs[0].reshape(5, 5, 10)[:, :3]
    np.testing.assert_array_equal(own, less.inputs[0].reshape(5, 3, 10))


def test_the_first_part_is_no_longer_than_the_crop():
    inputs, lengths = slots()
    found = first_of(inputs, lengths, [CROP, SHORT, None])
    assert [x.shape[1] for x in found.inputs] == [10, 4, 3]
    np.testing.assert_array_equal(found.lengths[0], [10, 10, 7, 0, 10])
    np.testing.assert_array_equal(found.inputs[0], inputs[0][:, :10])
    np.testing.assert_array_equal(found.share_bv, np.ones((5, 1)))


def test_posteriors_are_averaged_by_length():
    rng = np.random.default_rng(1)
    logits, attributes = rng.normal(0, 3, (6, 4)), rng.uniform(1, 7, (6, 3))
    share = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    given = {"logits": logits, "attributes": attributes}
    found = averaged(
        {name: jnp.asarray(x, jnp.float32) for name, x in given.items()},
        jnp.asarray(share, jnp.float32),
    )
    for row in range(2):
        own = jax.nn.softmax(logits[3 * row : 3 * row + 3])
        wanted = np.log((share[row, :, None] * own).sum(axis=0))
        np.testing.assert_allclose(found["logits"][row], wanted, atol=1e-5)
        own = attributes[3 * row : 3 * row + 3]
        wanted = (share[row, :, None] * own).sum(axis=0)
        np.testing.assert_allclose(found["attributes"][row], wanted, rtol=1e-5)


@pytest.mark.parametrize("windows", [1, 2, 3])
def test_an_utterance_of_one_window_has_the_same_numbers_beside_a_longer_one(windows):
    logits = np.random.default_rng(2).normal(0, 3, (windows, 4)).astype(np.float32)
    share = np.eye(windows, dtype=np.float32)[:1]
    found = averaged({"logits": jnp.asarray(logits)}, jnp.asarray(share))["logits"]
    np.testing.assert_allclose(found[0], jax.nn.log_softmax(logits[0]), atol=1e-5)


def test_windows_one_by_one_are_all_of_them_at_once():
    """In the same order, and never more than one of each utterance in a call."""
    inputs, lengths = slots()
    found, rows = windowed(inputs, lengths, [CROP, SHORT, None]), []

    def run(inputs, lengths):
        rows.append(len(inputs[0]))
        return {"sum": inputs[0].sum(axis=1) + lengths[1][:, None], "text": inputs[2][:, 0]}

    once, parts = run(found.inputs, found.lengths), one_by_one(run, found)
    assert rows[0] == 15
    assert set(rows[1:]) == {5}
    for name, wanted in once.items():
        np.testing.assert_allclose(parts[name], wanted, rtol=1e-6)
