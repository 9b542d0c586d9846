"""Groups that stay together: speakers, dialogues, and dialogues linked by speakers."""

import numpy as np
import pandas as pd
import pytest

from medusa_jax.corpus.groups import groups_of

SPEAKERS = ["ann", "bob", "cem", "bob", None, "eva", "fay"]
DIALOGUES = ["a", "a", "b", "b", "c", "d", "d"]


def frame(dialogues=DIALOGUES):
    columns = {"id": [f"u{i}" for i in range(7)], "speaker": SPEAKERS}
    return pd.DataFrame(columns if dialogues is None else {**columns, "dialogue": dialogues})


def sets(groups):
    """The groups as sets of positions."""
    return {frozenset(rows) for rows in groups.groupby(groups.tolist()).groups.values()}


def test_speakers_without_dialogues():
    found = groups_of(frame(None))
    assert sets(found) == {frozenset(g) for g in ([0], [1, 3], [2], [4], [5], [6])}
    assert found.equals(groups_of(frame(None), "shared"))


def test_dialogues_linked_by_a_speaker_are_one_group():
    found = groups_of(frame())
    assert found.tolist() == ["dialogue a"] * 4 + ["dialogue c"] + ["dialogue d"] * 2
    assert groups_of(frame(), "shared").tolist() == [f"dialogue {name}" for name in DIALOGUES]


def test_links_go_over_any_number_of_dialogues():
    names = [f"d{i:02d}" for i in range(50) for _ in range(2)]
    speakers = [f"s{i + k}" for i in range(50) for k in range(2)]
    ids = [f"u{i}" for i in range(100)]
    chain = pd.DataFrame({"id": ids, "speaker": speakers, "dialogue": names})
    assert groups_of(chain).unique().tolist() == ["dialogue d00"]
    cut = chain[chain["dialogue"] != "d20"]
    assert groups_of(cut).unique().tolist() == ["dialogue d00", "dialogue d21"]


@pytest.mark.parametrize("speakers", ["disjoint", "shared"])
def test_groups_do_not_depend_on_the_order_of_rows(speakers):
    order = np.random.default_rng(0).permutation(7)
    shuffled = groups_of(frame().iloc[order], speakers)
    pd.testing.assert_series_equal(shuffled.sort_index(), groups_of(frame(), speakers))


def test_unknown_speakers_link_nothing():
    unknown = frame().assign(speaker=None)
    assert groups_of(unknown).nunique() == 4
