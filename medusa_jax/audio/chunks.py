"""Pieces of utterances for a pretrained encoder: overlapping chunks, and batches of like length.

A short utterance is one piece, a long one several.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FRAMES_A_SECOND = 50


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of one input: samples `[n]` or token ids `[t]` in `values`."""

    values: np.ndarray
    frames: int
    """Output frames of the encoder, without padding."""
    keep: slice
    """Frames to keep: no special tokens, no context shared with another chunk."""
    size: int
    """Cost in frames: `frames`, or more where the encoder pads by itself."""


def batches(pieces: Sequence[Piece], frames: int, *, alike: bool) -> list[list[Piece]]:
    """Batches of pieces sorted by size, each of at most `frames` with padding, or of one piece.

    `alike` keeps a batch to pieces with the same number of values, for encoders whose output
    depends on padding. The longest pieces come first, so a lack of memory shows at once.
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
    """Overlapping chunks of a sequence of `frames`: the frames of each, and the slice to keep.

    The kept slices, joined, hold each frame once; at an inner edge half of the overlap is
    context. A sequence of at most `chunk` frames is one chunk, kept whole.
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
    """Rows of unequal length in one array `[b, longest]`, filled up at the end."""
    whole = np.full((len(values), max(map(len, values))), filler, values[0].dtype)
    for row, value in zip(whole, values, strict=True):
        row[: len(value)] = value
    return whole
