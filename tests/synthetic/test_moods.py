"""Moods of generated conversations last and infect; streams confuse different pairs of classes."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from medusa_jax.corpus.labels import CLASSES
from medusa_jax.synthetic.moods import CONFUSES, EMOTIONS, PRIOR, STREAMS, draw_dialogues, shown

SIZE = 6000


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return draw_dialogues(SIZE, 5)


def own_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Each turn of a speaker who spoke before in the dialogue, with the mood then, and the mood of
    the speaker of the turn before.
    """
    rows = []
    for _, dialogue in table.groupby("dialogue"):
        moods: dict[int, str] = {}
        turns = list(dialogue[["speaker", "mood"]].itertuples(index=False))
        for before, now in pairwise(turns):
            moods[before.speaker] = before.mood
            if now.speaker in moods and now.speaker != before.speaker:
                rows.append((moods[now.speaker], before.mood, now.mood))
    return pd.DataFrame(rows, columns=["own", "other", "now"])


def test_equal_arguments_give_equal_dialogues(table):
    pd.testing.assert_frame_equal(draw_dialogues(SIZE, 5), table)
    assert not draw_dialogues(SIZE, 6)["mood"].equals(table["mood"])


@pytest.mark.parametrize("size", [100, 101, 517, 2000])
def test_dialogues_have_the_promised_sizes(size):
    table = draw_dialogues(size, 0)
    assert len(table) == size
    dialogues = table.groupby("dialogue")
    assert dialogues.size().between(6, 16).all()
    assert dialogues["speaker"].nunique().between(2, 4).all()
    for _, turns in dialogues["turn"]:
        assert turns.tolist() == list(range(len(turns)))
    assert set(table["split"]) == {"Train", "Development", "Test1"}


def test_speakers_are_of_one_split_and_meet_in_several_dialogues(table):
    assert (table.groupby("speaker")["split"].nunique() == 1).all()
    assert table.groupby("speaker")["dialogue"].nunique().median() >= 3
    circles = (table["speaker"] // 5).groupby(table["dialogue"]).nunique()
    assert (circles == 1).all(), "only speakers of one circle meet"


def test_a_mood_lasts(table):
    """From a turn to the next of the same speaker, even where the one in between had another."""
    pairs = own_pairs(table)
    apart = pairs[pairs["own"] != pairs["other"]]
    assert (pairs["now"] == pairs["own"]).mean() > 0.5
    assert (apart["now"] == apart["own"]).mean() > 0.25, "a mood drawn again: below .05"
    assert (PRIOR**2).sum() < 0.2, "two independent moods are rarely equal"


def test_a_mood_infects(table):
    pairs = own_pairs(table)
    apart = pairs[pairs["own"] != pairs["other"]]
    left = apart[apart["now"] != apart["own"]]
    assert (left["now"] == left["other"]).mean() > 0.6
    shuffled = left["other"].sample(frac=1, random_state=0).to_numpy()
    assert (left["now"] == shuffled).mean() < 0.35, "the control: anybody's mood"


def test_emotions_follow_moods_and_every_one_occurs(table):
    assert 0.9 < (table["emotion"] == table["mood"]).mean() < 0.97
    share = table["emotion"].value_counts(normalize=True)
    assert set(share.index) == set(EMOTIONS) <= set(CLASSES)
    assert share.min() > 0.05


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_shows_most_emotions_and_confuses_its_own_pairs(stream):
    rng = np.random.default_rng(0)
    emotion_b = np.repeat(np.arange(len(EMOTIONS)), 2000)
    shown_b, clarity_b = shown(emotion_b, stream, rng)
    right_b = shown_b == emotion_b
    assert 0.55 < right_b.mean() < 0.85
    assert right_b[clarity_b > 0.8].mean() > right_b[clarity_b < 0.5].mean() + 0.3
    counts = np.zeros((len(EMOTIONS), len(EMOTIONS)))
    np.add.at(counts, (emotion_b, shown_b), 1)
    np.fill_diagonal(counts, 0)
    for first, second in CONFUSES[stream]:
        a, b = EMOTIONS.index(first), EMOTIONS.index(second)
        assert counts[a].argmax() == b
        assert counts[b].argmax() == a
        assert counts[a, b] > 2 * np.sort(counts[a])[-2]


def test_no_two_streams_confuse_the_same_pair():
    pairs = [frozenset(pair) for stream in STREAMS for pair in CONFUSES[stream]]
    assert len(set(pairs)) == len(pairs) == 9
    for stream in STREAMS:
        named = [name for pair in CONFUSES[stream] for name in pair]
        assert sorted(named) == sorted(EMOTIONS)
