"""Five rated utterances and two of test3, as in the label files of MSP-Podcast."""

import numpy as np
import pandas as pd

from medusa_jax.corpus.ratings import RATING_COLUMNS

A, B, C, D, E = (
    f"MSP-PODCAST_{number}.wav"
    for number in ("0001_0008", "0001_0009_0002", "0002_0001", "0003_0001", "0004_0001")
)
TEST3 = [f"MSP-PODCAST_test3_000{i}.wav" for i in (1, 2)]

RATINGS = pd.DataFrame(
    [
        (A, "WORKER01", "Happy", ["Happy", "Amused", "Excited"], 4.0, 6.0, 5.0),
        (A, "WORKER02", "Happy", [], 5.0, 5.0, 4.0),
        (A, "WORKER03", "Surprise", ["Neutral", "Surprise"], 3.0, 4.0, 3.0),
        (
            B,
            "WORKER01",
            "Other-bored; or, perhaps, tired",
            ["Other-half asleep, really", "Sad"],
            1.0,
            2.0,
            3.0,
        ),
        (B, "WORKER02", "Other", ["Disappointed"], 2.0, 2.0, 2.0),
        (C, "WORKER02", "Angry", ["Annoyed", "Angry"], 7.0, 1.0, 7.0),
        (C, "WORKER04", "Contempt", ["Frustrated"], 6.0, 1.0, 6.0),
        (D, "WORKER03", "Neutral", ["Neutral"], np.nan, np.nan, np.nan),
        (E, "WORKER05", 'Other-she said "no"', ["Confused"], 3.25, 3.5, 4.125),
        (E, "WORKER01", "Fear", ["Fear", "Concerned", "Depressed"], 3.0, 3.0, 3.0),
        (E, "WORKER02", "Fear", ["Other"], 3.0, 3.0, 3.0),
    ],
    columns=list(RATING_COLUMNS),
)
UTTERANCES = pd.DataFrame(
    [
        (A, 12, "Male", "Train", "well hello"),
        (B, "Unknown", "Unknown", "Train", "mm"),
        (C, 7, "Female", "Development", ""),
        (D, 12, "Male", "Train", None),
        (E, 9, "Female", "Test1", "naïve café"),
        (TEST3[0], "Unknown", "Unknown", "Test3", None),
    ],
    columns=["FileName", "SpkrID", "Gender", "Split_Set", "transcript"],
)
