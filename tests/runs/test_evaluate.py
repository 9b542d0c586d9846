"""Scores are computed once, and again whenever what they are made from changed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from scored_run import drawn_outputs, scored_corpus, scored_run
from sklearn.metrics import f1_score

from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.intervals import macro_f1_interval
from medusa_jax.evaluation.metrics import weighted_f1_of
from medusa_jax.evaluation.scores_file import ScoresFile
from medusa_jax.evaluation.tables import rich_table
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


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> Prepared:
    """A run on conversations of seven classes, called meld."""
    out = tmp_path_factory.mktemp("spoken")
    classes = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
    table = scored_corpus(out / "audio", audio=False, turns=9, name="meld", classes=classes)
    return scored_run(out, table=table)


def test_conversations_are_scored_by_weighted_f1_over_dialogues(spoken):
    scored = evaluate(spoken)["test1"]
    (part,) = labelled_parts(spoken)
    predicted = spoken.run.predictions(spoken.corpus, 0, "m0").where(part.rows[0])
    guess_n, labels = predicted.logits.argmax(axis=1), part.corpus.labels
    row = scored[0].row()
    assert row["weighted_f1"] == pytest.approx(f1_score(labels, guess_n, average="weighted"))
    expected = macro_f1_interval(
        labels,
        guess_n,
        part.corpus.classes,
        part.corpus.frame["dialogue"],
        metric=weighted_f1_of,
    )
    assert (row["weighted_f1_low"], row["weighted_f1_high"]) == (expected.low, expected.high)
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert scored[0].interval.clusters == 8
    assert list(row)[2] == "weighted_f1"
    assert part.facts.counts["dialogues"] == 8


def test_what_test_labels_pick_is_kept_apart(spoken):
    evaluate(spoken)
    file = scores_of(spoken)["test1"]
    assert [one.member for one in file.picked_by_test] == ["m0", "m1"]
    assert {one.weighted_f1 for one in file.picked_by_test} == {0.6}
    assert "test_weighted_f1" not in file.rows[0], "no row of scores holds it"
    report = (spoken.run.evaluation_folder("test1") / "report.md").read_text(encoding="utf-8")
    scores, rest = report.split("## Not results")
    assert ".600 (not a result: chosen by test labels)" in rest
    assert "0.600" not in scores.split("## Scores")[1].split("In brackets")[0]
    assert "bootstrap over 8 dialogues." in scores
    assert "SUMMER" in rest.split("## Published results")[1]


def test_the_table_of_conversations_fits_a_terminal(spoken):
    console = Console(width=80, record=True)
    console.print(rich_table(evaluate(spoken)["test1"], "meld"))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2].split() == ["system", "weighted", "F1", "accuracy", "Macro-F1"]
    assert all(line.count("[") == 2 for line in lines if line.startswith((" m0", " soup")))


def test_single_utterances_have_no_word_of_conversations(prepared):
    evaluate(prepared)
    text = prepared.run.scores_file("test1").read_text(encoding="utf-8")
    for word in ("weighted_f1", "picked_by_test", "published", "dialogue"):
        assert word not in text
