"""The leaderboard: only runs that compare stand together, and damaged ones are named."""

import json

import pandas as pd
import pytest
from board_runs import SYSTEMS, add
from scored_run import scored_corpus, scored_run

from medusa_jax.errors import EvaluationError
from medusa_jax.report.leaderboard import challenge_rows, leaderboard
from medusa_jax.runs.evaluate import evaluate
from submission.challenges import INTERSPEECH2025


def runs_of(board) -> list[list[str]]:
    return [
        [f"{row['run'].split('-')[0]}:{row['system']}" for row in group.rows]
        for group in board.groups
    ]


def test_a_run_stands_with_the_system_that_it_submits_best_first(tmp_path):
    add(tmp_path, "low", 0.3)
    add(tmp_path, "high", 0.5, submission={"system": "soft_vote"})
    (tmp_path / "features").mkdir()
    board = leaderboard(tmp_path)
    assert runs_of(board) == [["high:soft_vote", "low:soup"]]
    assert board.left_out == {}
    first, second = board.rows
    assert (first["fit_on"], second["fit_on"]) == (None, "train")
    assert (second["macro_f1"], second["macro_f1_low"], second["ccc_mean"]) == (
        0.3,
        0.25,
        pytest.approx(0.2),
    )
    assert len(leaderboard(tmp_path, every=True).rows) == 2 * len(SYSTEMS)


def test_only_what_was_scored_on_the_same_utterances_stands_together(tmp_path):
    add(tmp_path, "a", 0.3)
    add(tmp_path, "b", 0.4, part="development")
    add(tmp_path, "c", 0.5, corpus="ravdess")
    add(tmp_path, "d", 0.6, corpus="generated")
    add(tmp_path, "e", 0.7, utterances=99)
    board = leaderboard(tmp_path)
    assert sorted(runs_of(board)) == [[f"{name}:soup"] for name in "abcde"]
    assert [group.title for group in board.groups if group.synthetic] == [
        "test1 of generated (synthetic), 100 utterances"
    ]
    assert runs_of(leaderboard(tmp_path, part="development")) == [["b:soup"]]
    assert set(leaderboard(tmp_path, part="development").left_out.values()) == {
        "no scores on development (it has test1)"
    }


def test_the_last_part_of_a_run_is_the_one_that_matters(tmp_path):
    add(tmp_path, "a", 0.3, part="development")
    add(tmp_path, "a", 0.4, part="test2")
    assert leaderboard(tmp_path).rows[0]["part"] == "test2"


def test_runs_on_tables_that_differ_say_so(tmp_path):
    add(tmp_path, "a", 0.3)
    add(tmp_path, "b", 0.4, table="other")
    (group,) = leaderboard(tmp_path).groups
    assert "different tables" in group.notes[0]
    assert "other" in leaderboard(tmp_path).markdown()
    (tmp_path / "b").mkdir()
    (alone,) = leaderboard(next(tmp_path.glob("a-*"))).groups
    assert alone.notes == []


@pytest.mark.parametrize(
    ("part", "utterances", "challenge"),
    [("test3", 3200, "Interspeech 2025"), ("test3", 2347, "Odyssey 2024")],
)
def test_published_scores_stand_beside_the_same_test_set(tmp_path, part, utterances, challenge):
    add(tmp_path, "mine", 0.4, part=part, utterances=utterances)
    board = leaderboard(tmp_path, published=True)
    (group,) = board.groups
    theirs = [row for row in group.rows if row["run"] == "published"]
    assert len(theirs) >= 5
    assert all(challenge in row["source"] for row in theirs)
    ranked = [row["macro_f1"] for row in group.rows if row["macro_f1"] is not None]
    assert ranked == sorted(ranked, reverse=True)
    assert 0.4 in ranked


@pytest.mark.parametrize(
    ("corpus", "part", "utterances"),
    [("generated", "test3", 3200), ("msp-podcast", "test1", 3200), ("msp-podcast", "test3", 100)],
)
def test_published_scores_never_stand_beside_what_they_do_not_compare_with(
    tmp_path, corpus, part, utterances
):
    add(tmp_path, "mine", 0.9, corpus=corpus, part=part, utterances=utterances)
    board = leaderboard(tmp_path)
    assert [row["run"].split("-")[0] for row in board.rows] == ["mine"]
    assert "no published score compares" in board.published
    (own, *theirs) = leaderboard(tmp_path, published=True).groups
    assert [row["run"].split("-")[0] for row in own.rows] == ["mine"]
    assert len(theirs) == 4
    assert all("none of these numbers compares" in group.notes[0] for group in theirs)
    medusa = theirs[0].rows[0]
    assert (medusa["system"], medusa["macro_f1"], medusa["accuracy"], medusa["corpus"]) == (
        "MEDUSA",
        0.4316,
        0.4319,
        "Interspeech 2025 test set",
    )


def test_damaged_and_unfinished_runs_are_named_and_stop_nobody(tmp_path):
    add(tmp_path, "good", 0.4)
    for name, damage in {
        "cut": lambda path: path.write_text(path.read_text()[:100]),
        "empty": lambda path: path.write_text(
            '{"corpus": {"name": "x", "synthetic": false, "counts": {}}, "systems": [],'
            ' "provenance": {}}'
        ),
        "words": lambda path: path.write_text(
            path.read_text().replace('"macro_f1": 0.4', '"macro_f1": "much"')
        ),
        "stale": lambda path: path.write_text(
            path.read_text().replace('"config": "', '"config": "0')
        ),
        "lacking": lambda path: path.write_text(path.read_text().replace('"soup"', '"broth"')),
        "unscored": lambda path: path.unlink(),
        "bytes": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    }.items():
        damage(add(tmp_path, name, 0.4) / "evaluation" / "test1" / "scores.json")
    repredicted = add(tmp_path, "repredicted", 0.4) / "ensemble"
    repredicted.mkdir()
    (repredicted / "soup.parquet").write_bytes(b"other predictions")
    study = add(tmp_path, "study", 0.4, study_of="good-12345678")
    (study / "evaluation" / "test1" / "scores.json").unlink()
    broken = add(tmp_path, "broken", 0.4)
    (broken / "config.yaml").write_text("a: b: c", encoding="utf-8")
    board = leaderboard(tmp_path)
    assert runs_of(board) == [["good:soup"]]
    why = {run.split("-")[0]: text for run, text in board.left_out.items()}
    assert set(why) == {
        "cut",
        "empty",
        "words",
        "stale",
        "lacking",
        "unscored",
        "bytes",
        "repredicted",
        "study",
        "broken",
    }
    assert all("damaged" in why[name] for name in ("cut", "empty", "words", "bytes"))
    assert "macro_f1" in why["words"]
    assert "another configuration" in why["stale"]
    assert "predictions" in why["repredicted"]
    assert "no system soup" in why["lacking"]
    assert "not evaluated yet, 0 of 1 members are trained" in why["unscored"]
    assert "a study of good-12345678" in why["study"]
    assert "not YAML" in why["broken"]


@pytest.mark.parametrize(
    ("folder", "part", "words"),
    [
        ("", None, "no runs here"),
        ("absent", None, "cannot be read"),
        ("runs", "tset1", "no run here has"),
    ],
)
def test_mistakes_are_told(tmp_path, folder, part, words):
    add(tmp_path / "runs", "a", 0.3)
    with pytest.raises(EvaluationError, match=words) as told:
        leaderboard(tmp_path / folder, part=part)
    assert told.value.hint


def test_the_command_writes_what_it_shows(tmp_path, medusa):
    prepared = scored_run(
        tmp_path / "runs",
        table=scored_corpus(tmp_path / "audio", synthetic=True, name="generated", audio=False),
    )
    evaluate(prepared)
    add(tmp_path / "runs", "unfinished", 0.4)
    next(tmp_path.glob("runs/unfinished-*/evaluation/*/scores.json")).unlink()
    csv, markdown = tmp_path / "deep" / "board.csv", tmp_path / "board.md"
    code, out, err = medusa(
        "leaderboard", tmp_path / "runs", "--all", "--csv", csv, "--markdown", markdown
    )
    assert (code, err) == (0, "")
    table, text = pd.read_csv(csv), markdown.read_text(encoding="utf-8")
    written = json.loads(
        (prepared.run.folder / "evaluation/test1/scores.json").read_text(encoding="utf-8")
    )["systems"]
    assert {row["system"]: row["macro_f1"] for row in written} == dict(
        zip(table["system"], table["macro_f1"], strict=True)
    )
    assert table["macro_f1"].is_monotonic_decreasing
    assert table["synthetic"].all()
    for row in written:
        shown = f"{row['macro_f1']:.3f} [{row['macro_f1_low']:.3f}, {row['macro_f1_high']:.3f}]"
        assert shown in out
        assert f"| {row['system']} | {prepared.run.folder.name} | {shown} |" in text
    for said in (out, text):
        assert "generated (synthetic)" in said
        assert "say nothing about human emotion" in " ".join(said.split())
        assert "not evaluated yet" in said
    assert f"written: {csv}" in out


def test_challenge_rows_have_ours_first_best_first_and_name_their_source(tmp_path):
    wants = {"submission": {"challenge": "interspeech2025", "system": "soft_vote"}}
    add(tmp_path, "low", 0.3, part="test3", corpus="generated", **wants)
    add(tmp_path, "high", 0.5, part="test3", submission={"challenge": "interspeech2025"})
    add(tmp_path, "other", 0.9, part="test3", submission={"challenge": "odyssey2024"})
    add(tmp_path, "elsewhere", 0.9, part="test1", **wants)
    damaged = add(tmp_path, "damaged", 0.9, part="test3", **wants)
    (damaged / "evaluation" / "test3" / "scores.json").write_text("{")
    rows, left_out = challenge_rows(tmp_path, INTERSPEECH2025)
    first = [row for row in rows if row["task"] == "categorical"]
    assert [row["run"].split("-")[0] for row in first] == ["high", "low", *[""] * 5]
    assert [row["system"] for row in first][:3] == ["soup", "soft_vote", "MEDUSA"]
    assert [row["source"] for row in first][:2] == [
        "this run (corpus msp-podcast, scored here)",
        "this run (generated corpus, synthetic speech)",
    ]
    assert all(row["source"].startswith("published (") for row in rows if not row["run"])
    second = [row for row in rows if row["task"] == "attributes"]
    assert [row["score"] for row in second][:2] == pytest.approx([0.2, 0.2])
    assert second[0]["ccc_valence"] == 0.2
    assert len(second) == 2 + 4
    assert list(left_out) == [damaged.name]


def test_the_submit_command_shows_challenge_rows_and_writes_them(tmp_path, medusa):
    add(tmp_path / "runs", "mine", 0.4, part="test3", submission={"challenge": "interspeech2025"})
    csv = tmp_path / "board.csv"
    code, out, err = medusa("submit", "leaderboard", tmp_path / "runs", "--out", csv)
    assert (code, err) == (0, "")
    assert "this run" in out
    table = pd.read_csv(csv)
    head = ["challenge", "task", "system", "metric", "score", "source"]
    assert list(table.columns[:6]) == head
    assert len(table) == 2 + 5 + 4
    assert table.loc[table["system"] == "SRPOL", "macro_f1"].isna().all()
    code, _, err = medusa("submit", "leaderboard", tmp_path / "absent")
    assert code == 8
    assert "cannot be read" in err


def test_the_command_tells_mistakes(tmp_path, medusa):
    code, out, err = medusa("leaderboard", tmp_path)
    assert (code, out) == (8, "")
    assert "no runs here" in err


def test_conversations_are_ranked_by_weighted_f1(tmp_path):
    table = scored_corpus(tmp_path / "audio", audio=False, turns=9, name="meld")
    evaluate(scored_run(tmp_path, table=table))
    board = leaderboard(tmp_path, every=True)
    scores = [row["weighted_f1"] for row in board.rows]
    assert scores == sorted(scores, reverse=True)
    assert "of conversations over dialogues" in board.note
    assert "| weighted F1 | Macro-F1 |" in board.markdown()
    add(tmp_path / "others", "a", 0.3)
    plain = leaderboard(tmp_path / "others")
    assert "weighted" not in plain.markdown()
    assert "weighted_f1" not in plain.rows[0]
