"""Dialogues packed into rows of one length, so that little of what is computed is padding."""

import math
from collections.abc import Sequence

import numpy as np

_SHARES = (8, 4, 2, 1)
"""Of a batch's rows on several devices, if the batch size has the same divisor."""


def packed(units: np.ndarray, turns: np.ndarray, length: int) -> list[list[int]]:
    """Rows of `length` turns with each of `units` once, the longest first, each put where it
    leaves the least room (best fit).

    `turns[i]` are those of unit i, at most `length`. Among equally long units their order decides,
    which changes neither the number of rows nor their lengths.
    """
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(length + 1)]  # rows by the room left in them
    for unit in units[np.argsort(-turns[units], kind="stable")].tolist():
        need = int(turns[unit])
        room = next((r for r in range(need, length + 1) if with_room[r]), None)
        if room is None:
            row, room = len(rows), length
            rows.append([])
        else:
            row = with_room[room].pop()
        rows[row].append(unit)
        with_room[room - need].append(row)
    return rows


def shared_out(rows: int, units: int, batch_size: int) -> tuple[int, int]:
    """Steps of an epoch, and rows of a batch, so that a batch has about `batch_size` of the
    `units` in these rows and few rows stay empty; several devices can share it if that costs none.
    """
    rows, steps = max(1, rows), max(1, round(units / batch_size))
    found = []
    for share in _SHARES:
        if batch_size % share == 0:
            size = math.ceil(rows / steps / share) * share
            needed = math.ceil(rows / size)
            found.append((needed * size, -share, needed, size))
    return min(found)[2:]


def dealt(
    rows: Sequence[Sequence[int]], places: int, rng: np.random.Generator
) -> list[Sequence[int]]:
    """The rows in random order, and empty ones, as many as there are `places`."""
    every = [*rows, *[[]] * (places - len(rows))]
    return [every[place] for place in rng.permutation(places)]
