"""Windows of a shard: neighbouring utterances that are decoded, encoded and written together.

They bound the memory that extraction needs.
"""

import numpy as np

ROWS = 128
SECONDS = 1800.0
"""Maximum audio in a window: 115 MB of waveform."""
FRAME_BYTES = 300e6
"""Maximum size of a window's frames in float32 at 50 a second, also for `layers: all`."""
UNKNOWN = 10.0
"""Seconds assumed for an utterance of unmeasured length."""


def windows(rows: range, seconds_n: np.ndarray, width: int) -> list[range]:
    """Split `rows` into windows of at least one utterance, within `ROWS` and the limits of memory.

    Windows depend on the plan and the corpus's table only, so a killed extraction continues with
    the same windows, batches and bytes. `seconds_n` is the corpus's whole column, NaN where not
    measured.
    """
    limit = min(SECONDS, FRAME_BYTES / (50 * width * 4))
    made, held = [], 0.0
    start = rows.start
    for row in rows:
        seconds = UNKNOWN if np.isnan(seconds_n[row]) else float(seconds_n[row])
        if row > start and (row - start == ROWS or held + seconds > limit):
            made.append(range(start, row))
            start, held = row, 0.0
        held += seconds
    return [*made, range(start, rows.stop)] if rows else []
