"""Utterances of the generated corpus: classes, votes, splits and speakers."""

import numpy as np
import pytest

from medusa_jax.corpus.labels import CLASSES
from medusa_jax.synthetic.cast import cast, quota
from medusa_jax.synthetic.generate import SMALLEST


def test_another_seed_gives_other_voices_words_and_votes() -> None:
    here, there = cast(64, 2, 3), cast(64, 2, 4)
    assert (here.utterances["transcript"] != there.utterances["transcript"]).mean() > 0.9
    assert not np.allclose(here.heard_bc, there.heard_bc)


def test_no_speaker_is_on_two_sides_and_names_have_both_forms() -> None:
    utterances = cast(800, 20, 0).utterances
    assert (utterances.groupby("voice")["Split_Set"].nunique() == 1).all()
    assert 60 <= utterances["voice"].nunique() <= 80
    assert utterances["FileName"].is_unique
    numbers = utterances["FileName"].str.count("_")
    development = utterances["Split_Set"] == "Development"
    assert (numbers[~development] == 2).all()
    assert (numbers[development] == 3).mean() == pytest.approx(0.25, abs=0.08)


def test_the_default_size_has_enough_of_every_class_and_the_real_share_of_disagreement() -> None:
    utterances = cast(800, 20, 0).utterances
    labelled = utterances[utterances["Split_Set"] != "Test3"]
    train = labelled[labelled["Split_Set"] == "Train"]["consensus"].value_counts()
    assert train[list(CLASSES)].min() >= 20
    assert train.idxmax() == "neutral"
    assert (labelled["consensus"] == "no_agreement").mean() == pytest.approx(0.189, abs=0.005)
    assert (labelled["consensus"] == "other").mean() == pytest.approx(0.016, abs=0.003)


@pytest.mark.parametrize("size", [SMALLEST, 61, 150, 800, 2000])
def test_quotas_add_up_and_leave_no_class_out(size: int) -> None:
    assert quota(size).sum() == size
    assert quota(size)[: len(CLASSES)].min() >= 4
