"""Places of utterances in rows of one dialogue or of several."""

import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.models.rows import rows_of

MASK = jnp.array([[1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0], [1] * 8], bool)
FIRST = jnp.array([[1, 0, 0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0], [1] * 8], bool)


def test_one_dialogue_a_row():
    rows = rows_of(MASK, jnp.arange(8)[None] == jnp.zeros((3, 1)))
    assert rows.reverse_bu[0].tolist() == [5, 4, 3, 2, 1, 0, 6, 7]
    assert rows.reverse_bu[1].tolist() == [1, 0, 2, 3, 4, 5, 6, 7]
    assert rows.follows_bu.sum(axis=1).tolist() == [5, 1, 7]


def test_a_row_without_dialogues():
    nothing = jnp.zeros((1, 4), bool)
    rows = rows_of(nothing, nothing)
    assert rows.reverse_bu[0].tolist() == [0, 1, 2, 3]
    assert not rows.follows_bu.any()
    assert not rows.visible(~nothing, "both").any()


def test_several_dialogues_a_row():
    rows = rows_of(MASK, FIRST)
    assert rows.reverse_bu[0].tolist() == [2, 1, 0, 3, 5, 4, 6, 7]
    assert rows.reverse_bu[2].tolist() == list(range(8))
    assert rows.place_bu[0, :6].tolist() == [0, 1, 2, 0, 0, 1]
    assert rows.dialogue_bu[0, :6].tolist() == [1, 1, 1, 2, 3, 3]
    assert rows.follows_bu[0].tolist() == [True, True, False, False, True, False, False, False]
    assert not rows.follows_bu[2].any()


@pytest.mark.parametrize("context", ["both", "past", "none"])
def test_an_utterance_sees_its_own_dialogue(context):
    present = jnp.array([1, 1, 0, 1, 1, 1, 1, 1], bool)
    sees = np.asarray(rows_of(MASK, FIRST).visible(jnp.broadcast_to(present, (3, 8)), context))
    number = [0, 0, 0, 1, 2, 2]
    for t, own in enumerate(number):
        for s in range(8):
            inside = s < 6 and number[s] == own and s != 2
            wanted = inside and {"both": True, "past": s <= t, "none": s == t}[context]
            assert sees[0, t, s] == wanted
