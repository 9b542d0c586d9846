"""Pieces of utterances for a pretrained encoder: overlapping chunks, and batches of like length.

A short utterance is one piece, a long one several.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.errors import AudioError

FRAMES_A_SECOND = 50
BATCH_SECONDS = {"cpu": 8.0, "cuda": 240.0}
"""Audio in a batch by kind of device. Larger batches do not speed up a core, but fill memory."""


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


@dataclass(frozen=True)
class Grid:
    """The frames of an encoder that begins with convolutions: samples from one to the next, and
    those that a frame depends on.
    """

    stride: int
    field: int

    @classmethod
    def of(cls, kernels: Sequence[int], strides: Sequence[int]) -> Self:
        """The grid of a stack of convolutions."""
        field = 1
        for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
            field = (field - 1) * stride + kernel
        return cls(math.prod(strides), field)

    def pieces(
        self, wave_n: np.ndarray, feeder: Any, chunk_seconds: float, overlap_seconds: float
    ) -> list[Piece]:
        """Normalise an utterance by its model's `feeder` and split it into overlapping chunks.

        Chunks start on the grid; a short utterance is one piece. Raises `AudioError` for audio
        shorter than one frame.
        """
        check_length(wave_n, self.field)
        fed = feeder(wave_n, sampling_rate=RATE, return_tensors="np")
        values = np.asarray(fed["input_values"][0], np.float32)
        chunk = max(1, round(chunk_seconds * RATE / self.stride))
        frames = (len(values) - self.field) // self.stride + 1
        parts = chunks(frames, chunk, round(overlap_seconds * RATE / self.stride))
        if len(parts) == 1:
            return [Piece(values, frames, slice(0, frames), frames)]
        return [self._cut(values, part, keep) for part, keep in parts]

    def _cut(self, values: np.ndarray, part: range, keep: slice) -> Piece:
        """The samples of the frames `part`."""
        end = (part.stop - 1) * self.stride + self.field
        return Piece(values[part.start * self.stride : end], len(part), keep, len(part))


def check_length(wave_n: np.ndarray, least: int) -> None:
    """Raise `AudioError` for audio shorter than an encoder's frame, `least` samples."""
    if len(wave_n) < least:
        raise AudioError(f"{len(wave_n)} samples are too short for the encoder (at least {least})")


def cut(wave_n: np.ndarray, window: int, stride: int, size: int | None = None) -> list[Piece]:
    """Pieces of at most `window` samples, one behind the other, with a frame for every `stride`
    samples begun.

    `size` is the cost of each where the encoder pads it to the window; without, its frames are.
    """
    made = []
    for start in range(0, len(wave_n), window):
        values = wave_n[start : start + window]
        frames = math.ceil(len(values) / stride)
        made.append(Piece(values, frames, slice(0, frames), size or frames))
    return made


def padded(values: Sequence[np.ndarray], filler: float = 0) -> np.ndarray:
    """Rows of unequal length in one array `[b, longest]`, filled up at the end."""
    return in_rows(values, len(values), max(map(len, values)), filler)[0]


def in_rows(
    values: Sequence[np.ndarray], rows: int, length: int, filler: float = 0, least: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Values cut or filled up to `[b, length]`, in the type of the first, and their lengths `[b]`.

    Rows behind the last value are filler, of which `least` counts.
    """
    whole = np.full((rows, length), filler, values[0].dtype)
    length_b = np.full(rows, least, np.int32)
    for row, value in enumerate(values):
        length_b[row] = min(len(value), length)
        whole[row, : length_b[row]] = value[:length]
    return whole, length_b
