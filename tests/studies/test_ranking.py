"""Members are ranked by a score that was not maximised over epochs, where a run has one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scored_run import drawn_outputs, scored_corpus, scored_run
from sklearn.metrics import f1_score

from medusa_jax.errors import EvaluationError
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.run import JOINED, Run
from medusa_jax.studies.ranking import ranked

MEMBERS = [["m0"], ["m1"], ["m2"]]


def with_records(prepared: Prepared, scores: tuple[float, ...]) -> Prepared:
    """Write each member's record with its selection score."""
    for (member,), score in zip(MEMBERS, scores, strict=True):
        path = prepared.run.member_folder(0, member) / "member.json"
        path.write_text(json.dumps({"selection_score": score}), encoding="utf-8")
    return prepared


def expected(prepared: Prepared, rows: np.ndarray) -> tuple[int, ...]:
    """Places by scikit-learn's Macro-F1 of the drawn predictions, best first."""
    labels = prepared.corpus.labels[rows]
    guesses = [drawn_outputs(prepared.corpus, m).logits[rows].argmax(axis=1) for m in range(3)]
    scores = [f1_score(labels, guess, average="macro") for guess in guesses]
    assert len(set(scores)) == 3
    return tuple(np.argsort(scores)[::-1].tolist())


def test_out_of_fold_predictions_rank_first(tmp_path):
    prepared = scored_run(tmp_path, members=3)
    config = prepared.run.config
    learned = config.ensemble.model_copy(update={"fit_on": "out_of_fold"})
    run = Run(config.model_copy(update={"ensemble": learned}), tmp_path)
    prepared = replace(prepared, run=run)
    rows = prepared.folds[0].fit
    for m, (member,) in enumerate(MEMBERS):
        path = run.member_folder(0, member) / JOINED
        drawn_outputs(prepared.corpus, m).where(rows).save(path)
    found = ranked(prepared, MEMBERS)
    assert found.places == expected(prepared, rows)
    assert "out-of-fold" in found.note("test1")


def test_else_a_labelled_development_part_ranks_and_its_own_table_carries_a_warning(tmp_path):
    corpus = scored_corpus(tmp_path / "audio", audio=False)
    split = corpus.frame["split"].replace("test1", "development")
    corpus = replace(corpus, frame=corpus.frame.assign(split=split))
    prepared = with_records(scored_run(tmp_path, members=3, table=corpus), (0.1, 0.2, 0.3))
    found = ranked(prepared, MEMBERS)
    rows = np.flatnonzero((split == "development").to_numpy())
    assert found.places == expected(prepared, rows)
    assert "favours" in found.note("development")
    assert "favours" not in found.note("test1")


def test_the_selection_score_ranks_last_and_is_named(tmp_path):
    prepared = scored_run(tmp_path, members=3)
    for scores, places in (
        ((0.2, 0.3, 0.3), (1, 2, 0)),
        ((0.3, 0.3, 0.3), (0, 1, 2)),
        ((0.1, 0.2, 0.3), (2, 1, 0)),
    ):
        found = ranked(with_records(prepared, scores), MEMBERS)
        assert found.places == places, "equal members keep their order"
    assert "selection score (maximised over epochs" in found.note("test1")
    (prepared.run.member_folder(0, "m0") / "member.json").write_text("{")
    with pytest.raises(EvaluationError, match="m0 is not trained yet, or its record is damaged"):
        ranked(prepared, MEMBERS)
