"""The windows of a shard: as many neighbouring utterances as are decoded, encoded and written at a time, so that memory stays flat."""

import numpy as np

ROWS = 128
SECONDS = 1800.0
"""Audio in a window: 115 MB of waveform."""
FRAME_BYTES = 300e6
"""Frames of a window at 50 a second in float32: what holds for `layers: all` too."""
UNKNOWN = 10.0
"""Seconds that an utterance of unmeasured length counts for."""


def windows(rows: range, seconds_n: np.ndarray, width: int) -> list[range]:
    """`rows` cut into windows of at most `ROWS` utterances and of as much audio as memory is meant to hold, one utterance at least.

    A function of the plan and the corpus's table alone: a killed extraction goes on with the same windows, and so with the
    same batches and bytes. `seconds_n` is the whole corpus's column, NaN where not measured.
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
