"""Scores are computed once, and again whenever what they are made from changed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scored_run import drawn_outputs, scored_corpus, scored_run

from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.scores_file import ScoresFile
from medusa_jax.runs import evaluate as module
from medusa_jax.runs.evaluate import evaluate, labelled_parts, scores_of
from medusa_jax.runs.prepare import Prepared


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return scored_run(tmp_path, table=scored_corpus(tmp_path / "audio", audio=False))


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """The parts whose scores are written, in order."""
    written: list[str] = []

    def write(folder: Path, *given: object, **named: object) -> Path:
        written.append(folder.name)
        return keep(folder, *given, **named)  # type: ignore[arg-type]

    keep = module.write_scores
    monkeypatch.setattr(module, "write_scores", write)
    return written


def soup(files: dict[str, ScoresFile]) -> float | None:
    return next(line.macro_f1 for line in files["test1"].systems if line.system == "soup")


def test_scores_are_read_if_nothing_changed(prepared, counted):
    evaluated = evaluate(prepared)
    files = scores_of(prepared)
    assert counted == ["test1"]
    assert soup(files) == evaluated["test1"][-1].classification.macro_f1
    assert soup(scores_of(prepared)) == soup(files)
    assert counted == ["test1"]


def other_predictions(prepared: Prepared) -> Prepared:
    drawn_outputs(prepared.corpus, 7).save(prepared.run.ensemble_file(0, "soup"))
    return prepared


def other_labels(prepared: Prepared) -> Prepared:
    frame = prepared.corpus.frame.copy()
    frame.loc[len(frame) - 1, "consensus"] = "angry"
    return replace(prepared, corpus=replace(prepared.corpus, frame=frame))


def other_file(edit: Callable[[dict], object]) -> Callable[[Prepared], Prepared]:
    def change(prepared: Prepared) -> Prepared:
        path = prepared.run.scores_file("test1")
        record = json.loads(path.read_text(encoding="utf-8"))
        edit(record)
        path.write_text(json.dumps(record), encoding="utf-8")
        return prepared

    return change


CHANGES = {
    "predictions": other_predictions,
    "labels": other_labels,
    "configuration": other_file(lambda record: record["provenance"].update(config="0")),
    "no digest of predictions": other_file(lambda record: record["provenance"].pop("predictions")),
    "no details": other_file(lambda record: record.pop("details")),
    "damaged": other_file(lambda record: record["systems"].clear()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_scores_of_something_else_are_never_used(prepared, counted, change):
    evaluate(prepared)
    before = prepared.run.scores_file("test1").read_bytes()
    changed = CHANGES[change](prepared)
    found = scores_of(changed)
    assert counted == ["test1", "test1"]
    same = prepared.run.scores_file("test1").read_bytes() == before
    assert same is (change not in ("predictions", "labels"))
    assert found["test1"].details is not None
    assert soup(scores_of(changed)) == soup(found)
    assert counted == ["test1", "test1"]


def test_only_the_last_part_has_details(tmp_path):
    corpus = scored_corpus(tmp_path / "audio", audio=False)
    split = corpus.frame["split"].where(corpus.frame["speaker"] != "s06", "development")
    corpus = replace(corpus, frame=corpus.frame.assign(split=split))
    prepared = scored_run(tmp_path, table=corpus)
    files = scores_of(prepared)
    assert list(files) == [part.name for part in labelled_parts(prepared)]
    assert [file.details is None for file in files.values()] == [True, False]
    assert files["test1"].details.system == "soup"


def test_a_run_without_labels_outside_the_training_part_is_refused(tmp_path):
    corpus = scored_corpus(tmp_path / "audio", audio=False)
    prepared = scored_run(tmp_path, table=corpus)
    hidden = corpus.frame["consensus"].where(corpus.frame["split"] == "train", None)
    blind: Corpus = replace(corpus, frame=corpus.frame.assign(consensus=hidden))
    with pytest.raises(EvaluationError, match="no utterance outside the training part"):
        scores_of(replace(prepared, corpus=blind))
