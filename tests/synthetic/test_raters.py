"""Confusions of the simulated raters against the votes of CREMA-D's raters."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medusa_jax.synthetic import raters


def test_confusions_are_those_of_real_raters(shared_data: Path) -> None:
    votes_bc, emotion_b, level_b = heard_clips(shared_data / "crema_d_votes" / "tabulatedVotes.csv")
    for matrix, level in ((raters.EXPRESSED_WEAK, "LO"), (raters.EXPRESSED_STRONG, "HI")):
        for row, emotion in enumerate(("ANG", "SAD", "HAP", "FEA", "DIS", "NEU")):
            cell = votes_bc[
                (emotion_b == emotion) & (level_b == ("XX" if emotion == "NEU" else level))
            ].sum(axis=0)
            np.testing.assert_allclose(matrix[row], cell / cell.sum(), atol=6e-4)


def test_concentration_is_that_of_real_raters(shared_data: Path) -> None:
    votes_bc, emotion_b, level_b = heard_clips(shared_data / "crema_d_votes" / "tabulatedVotes.csv")
    count_b = votes_bc.sum(axis=1)
    agree_b = (votes_bc * (votes_bc - 1)).sum(axis=1) / (count_b * (count_b - 1))
    beyond, possible = 0.0, 0.0
    for emotion in np.unique(emotion_b):
        for level in ("XX",) if emotion == "NEU" else ("LO", "MD", "HI"):
            cell = (emotion_b == emotion) & (level_b == level)
            chance = float(((votes_bc[cell].sum(axis=0) / votes_bc[cell].sum()) ** 2).sum())
            beyond += cell.sum() * (agree_b[cell].mean() - chance)
            possible += cell.sum() * (1 - chance)
    assert pytest.approx(possible / beyond - 1, abs=0.05) == raters.CONCENTRATION


def heard_clips(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes `[b, 6]`, intended emotion and level of CREMA-D's voice-only clips.

    Votes in the order of `raters.KNOWN`; the row ids of these clips start at 100001.
    """
    table = pd.read_csv(path, index_col=0)
    table = table[(table.index > 100_000) & (table.index < 200_000)]
    parts = table["fileName"].str.split("_")
    return (
        table[["A", "S", "H", "F", "D", "N"]].to_numpy(),
        parts.str[2].to_numpy(),
        parts.str[3].to_numpy(),
    )


def test_confusion_rows_are_distributions_at_any_intensity() -> None:
    matrix_bcc = raters.confusion(np.array([0.0, 0.3, 1.0]))
    np.testing.assert_allclose(matrix_bcc.sum(axis=2), 1, atol=1e-9)
    assert matrix_bcc.min() > 0
    strong_cc = matrix_bcc[2]
    assert (strong_cc.argmax(axis=1) == np.arange(8)).sum() >= 7, (
        "only sadness is heard as neutral even when strong"
    )
