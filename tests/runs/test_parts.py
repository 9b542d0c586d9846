"""Parts of a run: the drawn hold-out, or the one of a list."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from small_run import small_config
from split_corpus import corpus_of

from medusa_jax.config.run import RunConfig
from medusa_jax.errors import CorpusError
from medusa_jax.runs.parts import parts_of
from medusa_jax.runs.run import Run

SPLITS = ["train"] * 4 + ["development", "test1"]


@pytest.fixture
def corpus(tmp_path):
    return corpus_of(tmp_path, ["a", "a", "b", "c", "d", "e"], ["happy"] * 6, SPLITS)


@pytest.fixture
def talks(tmp_path):
    """Four dialogues to train on, and one of development and test each; c is in all splits."""
    speakers = ["a", "b", "c", "d", "e", "f", "g", "h", "c", "k", "c", "m"]
    splits = ["train"] * 8 + ["development"] * 2 + ["test1"] * 2
    corpus = corpus_of(tmp_path, speakers, ["happy", "angry"] * 6, splits)
    names = [f"d{i // 2}" for i in range(12)]
    return replace(corpus, frame=corpus.frame.assign(dialogue=names, turn=[0, 1] * 6))


def parts_of_talks(tmp_path, talks, **corpus):
    raw = small_config(corpus=corpus)
    return parts_of(Run(RunConfig.model_validate(raw), tmp_path), talks)


def parts_with(tmp_path, corpus, *held, **changes):
    """The parts where the list holds out the utterances at these positions."""
    path = tmp_path / "held_out.txt"
    path.write_text("".join(f"u{i:05d}.wav\n" for i in held))
    raw = small_config(corpus={"hold_out_list": str(path), **changes})
    return parts_of(Run(RunConfig.model_validate(raw), tmp_path), corpus)


@pytest.mark.parametrize("held", [(0, 1), (3,), (2, 3)])
def test_the_list_takes_the_place_of_the_drawn_hold_out(tmp_path, corpus, held):
    (parts,) = parts_with(tmp_path, corpus, *held)
    assert parts.held_out.tolist() == list(held)
    assert parts.fit.tolist() == [i for i in range(4) if i not in held]
    assert parts.rest.tolist() == [4, 5]


def test_the_development_split_may_be_held_out(tmp_path, corpus):
    (parts,) = parts_with(tmp_path, corpus, 4)
    assert (parts.fit.tolist(), parts.held_out.tolist()) == ([0, 1, 2, 3], [4])
    assert parts.rest.tolist() == [5], "it is no longer scored as a test part"


def test_without_a_list_speakers_are_drawn(tmp_path, corpus):
    run = Run(RunConfig.model_validate(small_config()), tmp_path)
    (parts,) = parts_of(run, corpus)
    assert len(parts.held_out) in (1, 2)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([parts.fit, parts.held_out, parts.rest])), np.arange(6)
    )


@pytest.mark.parametrize(
    ("held", "message"),
    [((0,), "both sides"), ((0, 1, 2, 3), "no training utterance"), ((9,), "not in the corpus")],
)
def test_a_list_that_cannot_be_held_out_is_refused(tmp_path, corpus, held, message):
    with pytest.raises(CorpusError, match=message):
        parts_with(tmp_path, corpus, *held)


def test_a_list_and_folds_exclude_each_other(tmp_path, corpus):
    with pytest.raises(ValidationError, match="hold_out_list"):
        parts_with(tmp_path, corpus, 0, folds=2)


def test_the_epoch_may_be_chosen_by_the_development_split(tmp_path, corpus):
    (parts,) = parts_of_talks(tmp_path, corpus, epoch_by="development")
    assert (parts.fit.tolist(), parts.held_out.tolist()) == ([0, 1, 2, 3], [4])
    assert parts.rest.tolist() == [5]
    without = corpus.where((corpus.frame["split"] != "development").to_numpy())
    with pytest.raises(CorpusError, match="no development split") as caught:
        parts_of_talks(tmp_path, without, epoch_by="development")
    assert "epoch_by=hold_out" in caught.value.hint


@pytest.mark.parametrize("change", [{"folds": 2}, {"hold_out_list": "list.txt"}])
def test_the_development_split_goes_with_no_other_choice(tmp_path, corpus, change):
    with pytest.raises(ValidationError, match="epoch_by development"):
        parts_of_talks(tmp_path, corpus, epoch_by="development", **change)


@pytest.mark.parametrize("epoch_by", ["hold_out", "development"])
def test_speakers_in_several_parts_are_counted_aloud_where_they_may_be(
    tmp_path, talks, caplog, epoch_by
):
    with pytest.raises(CorpusError, match=r"1 speaker.* both sides.* c\n") as caught:
        parts_of_talks(tmp_path, talks, epoch_by=epoch_by)
    assert "corpus.speakers: shared" in caught.value.hint
    with caplog.at_level(logging.WARNING):
        (parts,) = parts_of_talks(tmp_path, talks, speakers="shared", epoch_by=epoch_by)
    (record,) = caplog.records
    assert record.getMessage().startswith("1 speaker(s) are in more than one")
    for rows in (parts.fit, parts.held_out, parts.rest):
        assert (talks.frame["dialogue"].iloc[rows].value_counts() == 2).all()


def test_no_warning_where_no_speaker_is_shared(tmp_path, corpus, caplog):
    with caplog.at_level(logging.WARNING):
        parts_of_talks(tmp_path, corpus, speakers="shared")
    assert not caplog.records


def test_folds_keep_dialogues_whole(tmp_path, talks, caplog):
    folds = parts_of_talks(tmp_path, talks, folds=3, hold_out=0.4)
    dialogues = talks.frame["dialogue"].to_numpy()
    for parts in folds:
        sides = [set(dialogues[rows]) for rows in (parts.fit, parts.held_out, parts.rest)]
        assert all(sides)
        assert sum(map(len, sides)) == len(set.union(*sides)) == 6
    assert not caplog.records


def test_a_list_may_not_tear_a_dialogue(tmp_path, talks):
    with pytest.raises(CorpusError, match="dialogue is on both sides") as caught:
        parts_with(tmp_path, talks, 0, speakers="shared")
    assert "d0" in str(caught.value.where)
    (parts,) = parts_with(tmp_path, talks, 0, 1, speakers="shared")
    assert parts.held_out.tolist() == [0, 1]
