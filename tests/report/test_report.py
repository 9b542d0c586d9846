"""A run's report: page, JSON and CSV have the same numbers, and gaps are named."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from page_reader import read_page
from scored_run import CLASSES, scored_corpus, scored_run
from sklearn import metrics
from study_files import ABLATION

from medusa_jax.report.report import report


def test_the_scores_are_scikit_learns_on_the_posteriors_as_written(prepared, found):
    corpus = prepared.corpus
    test = (corpus.frame["split"] == "test1").to_numpy()
    truth = corpus.frame["consensus"][test]
    for system, path in (("m1", "members/m1/outputs.parquet"), ("soup", "ensemble/soup.parquet")):
        outputs = pd.read_parquet(prepared.run.folder / path)[test]
        guess = np.array(CLASSES)[outputs[[f"p_{c}" for c in CLASSES]].to_numpy().argmax(axis=1)]
        (row,) = (row for row in found["tables"]["scores"] if row["system"] == system)
        assert row["macro_f1"] == pytest.approx(
            metrics.f1_score(truth, guess, labels=CLASSES, average="macro")
        )
        assert row["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    shares = metrics.confusion_matrix(truth, guess, labels=CLASSES, normalize="true")
    assert [row["share"] for row in found["tables"]["confusion"]] == pytest.approx(
        shares.ravel().tolist()
    )
    by_class = metrics.f1_score(truth, guess, labels=CLASSES, average=None)
    assert [row["f1"] for row in found["tables"]["classes"]] == pytest.approx(by_class.tolist())


def test_the_csv_files_hold_the_numbers_of_the_json(written, found):
    files = {
        path.stem: list(csv.DictReader(path.read_text(encoding="utf-8").splitlines(True)))
        for path in written.tables.glob("*.csv")
    }
    assert set(files) == {name for name, rows in found["tables"].items() if rows}
    assert set(files) >= {
        "scores",
        "comparisons",
        "classes",
        "confusion",
        "curves",
        "weights",
        "calibration",
        "agreement",
        "groups",
        "worst",
    }
    assert {"ablation", "ensembles", "questions"} <= set(files)
    for name, lines in files.items():
        for row, read in zip(found["tables"][name], lines, strict=True):
            said = {
                key: None if text == "" else type(row[key])(text)
                for key, text in read.items()
                if key in row and row[key] is not None
            }
            assert said == {key: value for key, value in row.items() if value is not None}, name
            assert all(read[key] == "" for key in read if row.get(key) is None), name


def test_the_page_shows_the_numbers_of_the_json(found, shown):
    tables = found["tables"]
    for row, cells in zip(tables["scores"], shown.table("test1 of ravdess"), strict=True):
        name, kind, macro_f1, bounds, micro_f1, accuracy, uar, ccc = cells
        assert (name, kind) == (row["system"], row["kind"])
        assert [macro_f1, micro_f1, accuracy, uar, ccc] == [
            f"{row[key]:z.3f}" for key in ("macro_f1", "micro_f1", "accuracy", "uar", "ccc_mean")
        ]
        assert bounds == f"{row['macro_f1_low']:.3f} to {row['macro_f1_high']:.3f}"
    against = {row[0]: row[1] for row in shown.table("soup against")}
    assert against == {
        row["against"]: f"{row['difference']:+z.3f}" for row in tables["comparisons"]
    }
    counts = [cell for row in shown.table("Utterances") for cell in row[1:]]
    assert counts == [str(row["utterances"]) for row in tables["confusion"]]
    weights = [cell for row in shown.table("Weight of") for cell in row[1:]]
    assert weights == [f"{row['weight']:z.2f}" for row in tables["weights"]]
    assert [row[1] for row in shown.table("Agreement")] == [
        f"{row['kl']:.3f}" for row in tables["agreement"]
    ]
    groups = {row[0]: row[2] for row in shown.table("soup by group")}
    assert groups == {
        f"{row['by']}: {row['group']}": f"{row['macro_f1']:.3f}" for row in tables["groups"]
    }
    assert {"gender: female", "agreement of raters: 80 % and more"} <= set(groups)
    assert [row[0] for row in shown.table("Confident and wrong")] == [
        row["utterance"] for row in tables["worst"]
    ]


def test_studies_are_shown_with_their_marks(shown):
    (full, one_hot, late) = shown.table("Means over the members on test1, 3 seeds")
    assert full[0] == "full"
    assert full[5:] == ["–", "–", "–"]
    assert one_hot == [
        "one_hot",
        "0.441",
        "0.340 to 0.540",
        "0.020",
        "0.460",
        "-0.059",
        "-0.090 to -0.030",
        "0.002 *",
    ]
    assert late[3] == "–"
    assert late[-1] == "0.800"
    assert len(shown.table("Each member on test1")) == 5
    assert [row[-1] for row in shown.table("Each system against its rival")] == ["0.030 *"]
    assert shown.table("Ways to combine")[1][:4] == ["soup", "all", "train", "0.551"]
    assert shown.table("Questions and answers on test1") == [
        ["Does the soup beat the soft vote?", "+0.051", "+0.020 to +0.080", "0.008 *"]
    ]
    assert "What the study was made with." in shown.said
    assert "of another table" not in shown.said
    assert "*: p below 0.05" in shown.said


def test_it_says_what_the_meta_classifier_learned_from(shown, found):
    assert shown.said.count("in-sample, as in the paper") == 2
    assert "in-sample" in found["learned_from"]


def test_it_loads_nothing_from_elsewhere_and_escapes_what_it_shows(shown, written):
    assert len(set(shown.ids)) == len(shown.ids)
    assert sum(uri.startswith("file:///") for uri in shown.loads) == 12
    assert all(uri.startswith(("data:,", "file:///")) for uri in shown.loads)
    text = written.page.read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert "this is &lt;b&gt;number" in text
    assert "synthetic" not in text


def test_generated_speech_is_called_so_loudly(tmp_path):
    written = report(
        scored_run(
            tmp_path,
            table=scored_corpus(tmp_path / "audio", synthetic=True, name="generated", audio=False),
        )
    )
    page, card = read_page(written.page).said, written.card.read_text(encoding="utf-8")
    for text in (page, card):
        assert "generated, synthetic speech" in text
        assert "(synthetic)" in text
    head = yaml.safe_load(card.split("---\n")[1])
    assert "synthetic" in head["tags"]
    assert "model-index" not in head
    assert "Do not use these models on people's voices" in card
    assert json.loads(written.numbers.read_text(encoding="utf-8"))["corpus"]["synthetic"] is True


def test_a_run_with_hardly_anything_is_still_reported(tmp_path):
    corpus = scored_corpus(tmp_path / "audio", rated=False, voted=False, absent="sad", audio=False)
    corpus = replace(
        corpus, frame=corpus.frame.assign(gender=None, transcript=None, seconds=np.nan)
    )
    prepared = scored_run(tmp_path, members=1, table=corpus)
    (prepared.run.folder / "members/m0/metrics.jsonl").unlink()
    for path in (prepared.run.folder / "ensemble/checkpoints").iterdir():
        path.rename(tmp_path / path.name)
    written = report(prepared)
    said, card = read_page(written.page).said, written.card.read_text(encoding="utf-8")
    for sentence in (
        "No metrics of m0.",
        "The meta-classifier cannot be shown",
        "No labelled example of sad",
        "No attribute ratings to compare with in test1.",
        "The audio of these utterances is not on this machine.",
        "no votes of several raters",
        "Not known of these utterances, or too few: gender, length",
        "medusa ablate makes it",
        "medusa ensemble --study makes it",
    ):
        assert sentence in said
    assert "No labelled example of sad" in card
    assert "no ratings here" in card
    assert {path.stem for path in written.tables.glob("*.csv")}.isdisjoint(
        {"curves", "weights", "ablation", "ensembles"}
    )


def test_folds_are_pooled_and_said_to_be(tmp_path):
    prepared = scored_run(
        tmp_path, table=scored_corpus(tmp_path / "audio", audio=False), corpus={"folds": 3}
    )
    written = report(prepared)
    rows, found = read_page(written.page), json.loads(written.numbers.read_text(encoding="utf-8"))
    assert found["part"] == "folds"
    assert found["corpus"]["counts"]["scored utterances"] == len(prepared.corpus)
    assert "Selection score by epoch (fold 1)" in rows.said
    assert {row["fold"] for row in found["tables"]["curves"]} == {1, 2, 3}
    assert "There are 3 such ensembles, one a fold" in written.card.read_text(encoding="utf-8")


def test_one_speaker_has_no_interval_and_no_test(tmp_path):
    corpus = scored_corpus(tmp_path / "audio", audio=False)
    corpus = replace(
        corpus,
        frame=corpus.frame[
            corpus.frame["split"].eq("train") | corpus.frame["speaker"].eq("s06")
        ].reset_index(drop=True),
    )
    written = report(scored_run(tmp_path, table=corpus))
    said = read_page(written.page).said
    assert "No interval in test1: it takes two speakers." in said
    assert "Differences cannot be tested" in said
    assert "no interval: there are fewer than two speakers" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("row,member\nfull,mean\n", "lacks the column 'seeds'"),
        (ABLATION.replace("0.44,", "much,", 1), "could not convert string to float: 'much'"),
        ("", "no rows"),
        (ABLATION.replace("0.44,", "inf,", 1), "not finite"),
        (ABLATION[:200], "cut off"),
        (ABLATION[:-2], "cut off"),
        (ABLATION.replace("one_hot", "\udcff", 1), "cannot be read"),
    ],
)
def test_a_damaged_study_is_left_out_by_name(tmp_path, text, words):
    prepared = scored_run(tmp_path, table=scored_corpus(tmp_path / "audio", audio=False))
    (prepared.run.folder / "studies").mkdir()
    (prepared.run.folder / "studies" / "ablation-test1.csv").write_bytes(
        text.encode("utf-8", "surrogateescape")
    )
    said = read_page(report(prepared).page).said
    assert "ablation-test1.csv is left out" in said
    assert words in said


def test_a_table_that_is_gone_leaves_no_file_behind(prepared, written):
    (prepared.run.folder / "studies" / "ensemble-test1.csv").rename(prepared.run.out / "kept.csv")
    try:
        report(prepared)
        assert not (written.tables / "ensembles.csv").exists()
        assert not (written.tables / "questions.csv").exists()
    finally:
        (prepared.run.out / "kept.csv").rename(
            prepared.run.folder / "studies" / "ensemble-test1.csv"
        )
        report(prepared)


@pytest.mark.parametrize("folds", [None, 2])
def test_a_weighted_vote_shows_its_weights(tmp_path, folds):
    prepared = scored_run(
        tmp_path, members=3, ensemble={"kind": "weighted"}, corpus={"folds": folds}
    )
    made = report(prepared)
    shown, found = read_page(made.page), json.loads(made.numbers.read_text(encoding="utf-8"))
    rows, count = found["tables"]["weights"], folds or 1
    assert found["system"] == "weighted_vote"
    assert [(row["fold"], row["member"]) for row in rows] == [
        (fold + 1, f"m{m}") for fold in range(count) for m in range(3)
    ]
    assert sum(row["weight"] for row in rows) == pytest.approx(count)
    assert shown.table("Weight of each member in the vote") == [
        [f"m{m}", *(f"{row['weight']:z.2f}" for row in rows[m::3])] for m in range(3)
    ]
    card = made.card.read_text(encoding="utf-8")
    for text in (shown.said, card):
        assert "The weighted vote learned from the members' outputs on the held-out part" in text
        assert text.count("cross-entropy from") == count
        assert "meta-classifier learned" not in text
