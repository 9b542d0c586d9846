"""Pieces: what goes through a pretrained encoder at once. A short utterance is one, a long one several; pieces of like length make a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FRAMES_A_SECOND = 50


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of one input. `values`: samples `[n]`, or token ids `[t]`."""

    values: np.ndarray
    frames: int
    """Frames that the encoder makes of it, without padding."""
    keep: slice
    """Which of them are the input's: without special tokens, without the context that overlapping chunks share."""
    size: int
    """Frames that it costs to encode: `frames`, or more where the encoder pads by itself."""


def batches(pieces: Sequence[Piece], frames: int, *, alike: bool) -> list[list[Piece]]:
    """Pieces sorted by size, cut so that no batch costs more than `frames`, its padding included; one piece may cost more.

    `alike`: only pieces of the same number of values stand together, for encoders that padding would change.
    The longest come first: what does not fit into memory shows at once.
    """
    made: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: (-piece.size, -len(piece.values))):
        fits = bool(made) and made[-1][0].size * (len(made[-1]) + 1) <= frames
        if fits and (not alike or len(piece.values) == len(made[-1][0].values)):
            made[-1].append(piece)
        else:
            made.append([piece])
    return made


def chunks(frames: int, chunk: int, overlap: int) -> list[tuple[range, slice]]:
    """Overlapping chunks of a sequence of `frames`: which frames each covers, and which of its own it keeps.

    What they keep, joined, is each frame once; at an inner edge half of the overlap is context. A sequence of at most
    `chunk` frames is one chunk, kept whole.
    """
    if frames <= chunk:
        return [(range(frames), slice(0, frames))]
    step, context = chunk - overlap, overlap // 2
    covered = [
        range(start, min(start + chunk, frames)) for start in range(0, frames - overlap, step)
    ]
    firsts = [0] + [overlap - context] * (len(covered) - 1)
    lasts = [len(part) - context for part in covered[:-1]] + [len(covered[-1])]
    return [
        (part, slice(first, last)) for part, first, last in zip(covered, firsts, lasts, strict=True)
    ]


def padded(values: Sequence[np.ndarray], filler: float = 0) -> np.ndarray:
    """Rows of unequal length in one array `[b, longest]`, filled up at their ends."""
    whole = np.full((len(values), max(map(len, values))), filler, values[0].dtype)
    for row, value in zip(whole, values, strict=True):
        row[: len(value)] = value
    return whole
