"""An ablation on conversations: weighted F1 over dialogues, published results beside ours."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scored_run import scored_corpus, scored_run
from sklearn.metrics import f1_score

from medusa_jax.cli.studies import show
from medusa_jax.evaluation.picked_by_test import WARNING
from medusa_jax.report.collect import findings
from medusa_jax.report.model_card import model_card
from medusa_jax.report.sections import report_page
from medusa_jax.runs.evaluate import labelled_parts
from medusa_jax.runs.prepare import Prepared
from medusa_jax.studies.ablation import Ablation, Trial
from medusa_jax.studies.ablation_changes import Change
from medusa_jax.studies.ablation_study import studies_of
from medusa_jax.studies.derived_run import Conducted, written
from medusa_jax.studies.study import Study
from medusa_jax.studies.study_file import ABLATION, read_study

SEVEN = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Prepared:
    out = tmp_path_factory.mktemp("spoken")
    table = scored_corpus(
        out / "audio", audio=False, turns=9, name="meld", classes=SEVEN, rated=False
    )
    return scored_run(out, members=4, table=table)


@pytest.fixture(scope="module")
def ablation(prepared: Prepared) -> Ablation:
    """Members m0 and m1 are the seeds of the unchanged row, m2 and m3 those of another."""
    trials = [
        Trial(row, "text", seed, member)
        for (row, seed), member in zip(
            [("summer", 1), ("summer", 2), ("top_k", 1), ("top_k", 2)],
            prepared.run.config.members,
            strict=True,
        )
    ]
    rows = {"summer": Change("unchanged", {}), "top_k": Change("the best experts", {})}
    return Ablation(prepared, rows, 2, tuple(trials), ())


@pytest.fixture(scope="module")
def study(prepared: Prepared, ablation: Ablation) -> Study:
    return studies_of(ablation, prepared)["test1"]


def test_rows_are_weighted_f1_over_dialogues(study, prepared):
    (part,) = labelled_parts(prepared)
    scores = []
    for member in ("m0", "m1"):
        predicted = prepared.run.predictions(prepared.corpus, 0, member).where(part.rows[0])
        guess_n = predicted.logits.argmax(axis=1)
        scores.append(f1_score(part.corpus.labels, guess_n, average="weighted"))
    line = study.rows[0]
    assert line["weighted_f1"] == pytest.approx(np.mean(scores), abs=1e-12)
    assert line["seed_sd"] == pytest.approx(np.std(scores, ddof=1), abs=1e-12)
    assert "macro_f1_low" not in line
    text = " ".join(study.notes)
    assert "bootstrap over 8 dialogues." in text
    assert "for whole dialogues" in text
    assert "speaker" not in text


def test_published_results_stand_beside_ours_and_test_picked_ones_are_named(study):
    lines = {str(row["system"]): row for row in study.reference}
    assert lines["SUMMER"]["weighted F1"] == 0.6981
    assert lines["ours: summer"]["weighted F1"] == study.rows[1]["weighted_f1"]
    picked = lines["ours, epoch picked by test"]
    assert picked["weighted F1"] == pytest.approx(0.6)
    assert WARNING in picked["epoch chosen by"]


def test_the_files_are_read_back_and_shown(study, prepared, capsys):
    files = written(prepared.run, "ablation", {"test1": study})
    back = read_study(files.files["test1"][0], ABLATION)
    assert [row["weighted_f1"] for row in back.rows] == [row["weighted_f1"] for row in study.rows]
    assert back.notes
    page = files.files["test1"][2].read_text(encoding="utf-8")
    assert "## Beside the published numbers" in page
    assert "MSP-Podcast" not in page
    show(Conducted({"test1": study}, files.files), "ablation")
    shown = capsys.readouterr().out
    for words in ("weighted F1", "Beside the published results", "SUMMER", "chosen by test labels"):
        assert words in " ".join(shown.split()), words


def test_page_and_card_have_the_same(study, prepared):
    written(prepared.run, "ablation", {"test1": study})
    found = findings(prepared)
    page, card = report_page(found), model_card(found)
    score = found.score["weighted_f1"]
    assert f'<p class="key">weighted F1 {score:.3f}</p>' in page
    assert "over 8 dialogues" in page
    assert f"Epoch picked by test: .600 ({WARNING})." in page
    assert "Published results on meld" in page
    assert "bootstrap over dialogues" in card
    assert WARNING in card
    assert "whole conversations after SUMMER" in card
    assert "over speakers" not in page + card
    numbers = json.loads(found.as_json())
    assert [row["test_weighted_f1"] for row in numbers["tables"]["picked_by_test"]] == [0.6] * 4
    assert all("test" not in name for row in numbers["tables"]["scores"] for name in row)


def test_the_published_table_fits_a_terminal(study):
    from medusa_jax.cli.studies import plain_table

    columns = {name: name for name in study.reference[0] if name not in ("reads", "source")}
    console = Console(width=80, record=True)
    console.print(plain_table("Beside", study.reference, columns))
    assert max(map(len, console.export_text().splitlines())) <= 80


def test_nothing_published_compares_with_another_corpus(tmp_path: Path, ablation):
    table = scored_corpus(tmp_path / "audio", audio=False, turns=9, name="own", classes=SEVEN)
    other = scored_run(tmp_path, members=4, table=table)
    trials = tuple(
        Trial(one.row, one.member, one.seed, member)
        for one, member in zip(ablation.trials, other.run.config.members, strict=True)
    )
    found = studies_of(Ablation(other, ablation.rows, 2, trials, ()), other)["test1"]
    assert not found.reference
