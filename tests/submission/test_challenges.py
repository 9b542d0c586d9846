"""The published scores in the challenge definitions are the published ones, and marked as such."""

from submission.challenges import INTERSPEECH2025, ODYSSEY2024


def test_published_scores_are_the_published_ones_and_say_so() -> None:
    task1, task2 = INTERSPEECH2025.tasks
    assert {p.system: p.metrics["macro_f1"] for p in task1.published} == {
        "MEDUSA": 0.4316,
        "SAIL": 0.4281,
        "ABHINAYA": 0.4181,
        "MATER": 0.4101,
        "UNICAMP": 0.4094,
    }
    assert task1.published[0].metrics == {
        "macro_f1": 0.4316,
        "micro_f1": 0.4319,
        "accuracy": 0.4319,
    }
    assert [p.metrics["ccc_mean"] for p in task2.published] == [0.6076, 0.6003, 0.5955, 0.5928]
    assert [p.metrics["macro_f1"] for p in ODYSSEY2024.categorical.published] == [
        0.3569,
        0.3543,
        0.3441,
        0.311,
    ]
    assert [p.metrics["ccc_mean"] for p in ODYSSEY2024.attributes.published] == [0.5327]
    for challenge in (INTERSPEECH2025, ODYSSEY2024):
        assert all(
            p.source.startswith(f"published ({challenge.title} leaderboard, challenge test set")
            for t in challenge.tasks
            for p in t.published
        )
