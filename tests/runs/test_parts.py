"""Parts of a run: the drawn hold-out, or the one of a list."""

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
