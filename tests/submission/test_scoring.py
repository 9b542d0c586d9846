"""Scores against answers: numbers by hand, arguments in order, bad answers named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medusa_jax.errors import SubmissionError
from submission.answers import read_answers
from submission.challenges import ATTRIBUTES, CLASSES, COLUMN_OF, INTERSPEECH2025, LETTER_OF
from submission.scoring import score
from submission.writer import write_attributes, write_categorical


def names(count: int) -> list[str]:
    return [f"MSP-PODCAST_test3_{i:04d}.wav" for i in range(1, count + 1)]


def labels(path: Path, count: int, **columns: list[object]) -> Path:
    pd.DataFrame({"FileName": names(count), **columns}).to_csv(path, index=False)
    return path


def categorical(tmp_path: Path, truth: str, predicted: list[str]) -> Path:
    """The written submission; the answers lie beside it in `answers.csv`."""
    labels(tmp_path / "answers.csv", len(truth), EmoClass=list(truth))
    return write_categorical(
        tmp_path / "task1.csv",
        names(len(truth)),
        predicted,
        INTERSPEECH2025.with_names(names(len(truth))),
    )


def test_categorical_scores_by_hand_and_not_swapped(tmp_path: Path) -> None:
    # 3 angry, 1 sad; predicted: angry, sad, sad, sad.
    # angry: P 1, R 1/3, F1 1/2; sad: P 1/3, R 1, F1 1/2.
    path = categorical(tmp_path, "AAAS", ["angry", "sad", "sad", "sad"])
    scores = score(path, tmp_path / "answers.csv", INTERSPEECH2025, "categorical")
    assert list(scores.metrics)[:4] == ["macro_f1", "micro_f1", "accuracy", "uar"]
    assert scores.metrics["f1_angry"] == pytest.approx(0.5)
    assert scores.metrics["f1_sad"] == pytest.approx(0.5)
    assert scores.ranking == pytest.approx(1 / 8), "over eight classes, also those nobody has"
    assert scores.metrics["accuracy"] == scores.metrics["micro_f1"] == pytest.approx(0.5)
    assert scores.metrics["uar"] == pytest.approx((1 / 3 + 1) / 8)
    assert (scores.scored, scores.left_out) == (4, 0)


def test_uar_tells_truth_from_prediction(tmp_path: Path) -> None:
    # Truth 3 angry, 1 sad; everything predicted angry. Recalls 1 and seven times 0;
    # swapped, the recall of angry would be 3/4.
    path = categorical(tmp_path, "AAAS", ["angry"] * 4)
    assert score(path, tmp_path / "answers.csv", INTERSPEECH2025, "categorical").metrics[
        "uar"
    ] == pytest.approx(1 / 8)


def test_all_classes_right_is_one(tmp_path: Path) -> None:
    path = categorical(tmp_path, "".join(LETTER_OF.values()), list(CLASSES))
    metrics = score(path, tmp_path / "answers.csv", INTERSPEECH2025, "categorical").metrics
    assert set(metrics.values()) == {1.0}
    assert len(metrics) == 12


def test_files_without_an_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    path = categorical(tmp_path, "AXOS", ["angry", "angry", "sad", "sad"])
    scores = score(path, tmp_path / "answers.csv", INTERSPEECH2025, "categorical")
    assert (scores.scored, scores.left_out, scores.metrics["accuracy"]) == (2, 2, 1.0)


def test_ccc_by_hand_uses_the_population_variance(tmp_path: Path) -> None:
    # truth 1 2 3, predicted 2 2 5: means 2, 3; population variances 2/3, 2; covariance 1;
    # CCC = 2·1/(2/3 + 2 + 1) = 6/11.
    # With sample variances and covariance (1, 3, 3/2) it would be 3/(1 + 3 + 1) = 3/5.
    truth = {c: [1, 2, 3] for c in ("EmoAct", "EmoVal", "EmoDom")}
    labels(tmp_path / "answers.csv", 3, **truth, EmoClass=["A", "X", "S"])
    table = {"arousal": [2.0, 2.0, 5.0], "valence": [1.0, 2.0, 3.0], "dominance": [3.0, 2.0, 1.0]}
    path = write_attributes(
        tmp_path / "task2.csv", names(3), table, INTERSPEECH2025.with_names(names(3))
    )
    scores = score(path, tmp_path / "answers.csv", INTERSPEECH2025, "attributes")
    assert scores.metrics["ccc_arousal"] == pytest.approx(6 / 11)
    assert scores.metrics["ccc_valence"] == pytest.approx(1)
    assert scores.metrics["ccc_dominance"] == pytest.approx(-1)
    assert scores.ranking == pytest.approx((6 / 11) / 3)
    assert scores.scored == 3


def test_each_attribute_is_scored_against_its_own_answer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = {a: rng.uniform(1, 7, 20) for a in ATTRIBUTES}
    shuffled = {COLUMN_OF[a]: truth[a].tolist() for a in ("dominance", "arousal", "valence")}
    labels(tmp_path / "answers.csv", 20, **shuffled)
    path = write_attributes(
        tmp_path / "task2.csv", names(20), truth, INTERSPEECH2025.with_names(names(20))
    )
    assert score(
        path, tmp_path / "answers.csv", INTERSPEECH2025, "attributes"
    ).ranking == pytest.approx(1)


def test_answers_are_matched_by_name_not_by_row(tmp_path: Path) -> None:
    path = categorical(tmp_path, "ASHUFDCN", list(CLASSES))
    answers = pd.read_csv(tmp_path / "answers.csv").iloc[::-1]
    answers.to_csv(tmp_path / "answers.csv", index=False)
    assert score(path, tmp_path / "answers.csv", INTERSPEECH2025, "categorical").ranking == 1


def test_of_a_whole_label_file_only_test3_counts(tmp_path: Path) -> None:
    path = categorical(tmp_path, "AS", ["angry", "sad"])
    rows = "".join(f"{n},{c},4,4,4,1,Male,Test3\n" for n, c in zip(names(2), "AS", strict=True))
    head = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
    (tmp_path / "answers.csv").write_text(
        f"{head}MSP-PODCAST_0001_0008.wav,N,4,4,4,1,Male,Train\n{rows}"
    )
    assert score(path, tmp_path / "answers.csv", INTERSPEECH2025, "categorical").scored == 2
    assert len(read_answers(tmp_path / "answers.csv", "categorical")) == 3


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ("FileName,Emotion\nMSP-PODCAST_test3_0001.wav,A\n", "lacks the column"),
        ("FileName,EmoClass\n", "no rows"),
        ("", "readable CSV"),
        ("FileName,EmoClass\nMSP-PODCAST_test3_0001.wav,angry\n", "'angry' is not a class"),
        (
            "FileName,EmoClass\nMSP-PODCAST_test3_0001.wav,A\nMSP-PODCAST_test3_0001.wav,S\n",
            "has two answers",
        ),
        (
            "FileName,EmoClass\nMSP-PODCAST_test3_0001.wav,X\nMSP-PODCAST_test3_0002.wav,O\n",
            "no file has an answer",
        ),
        ("FileName,EmoClass\nMSP-PODCAST_test3_0001.wav,A\n", "not a valid submission"),
    ],
)
def test_bad_answers_are_named(tmp_path: Path, answers: str, message: str) -> None:
    path = categorical(tmp_path, "AS", ["angry", "sad"])
    (tmp_path / "answers.csv").write_text(answers)
    with pytest.raises(SubmissionError, match=message):
        score(path, tmp_path / "answers.csv", INTERSPEECH2025, "categorical")


def test_bad_attribute_answers_are_named(tmp_path: Path) -> None:
    table = {a: [2.0, 3.0] for a in ATTRIBUTES}
    path = write_attributes(
        tmp_path / "task2.csv", names(2), table, INTERSPEECH2025.with_names(names(2))
    )
    labels(tmp_path / "answers.csv", 2, EmoAct=["high", 2], EmoVal=[1, 2], EmoDom=[1, 2])
    with pytest.raises(SubmissionError, match="'high' is not a number"):
        score(path, tmp_path / "answers.csv", INTERSPEECH2025, "attributes")
    labels(tmp_path / "answers.csv", 2, EmoAct=["", 2], EmoVal=[1, 2], EmoDom=[1, 2])
    with pytest.raises(SubmissionError, match="not defined"):
        score(path, tmp_path / "answers.csv", INTERSPEECH2025, "attributes")
