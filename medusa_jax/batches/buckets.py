"""The few padded shapes of a run's batches, chosen so that little of what is computed is padding.

Legend: `n` utterance, `k` modality, `r` rung (a padded shape: a length for each modality), `u`
distinct utterance lengths. Every rung is at least as long as the one below in every modality, so
whatever fits a rung fits those above it.
"""

import numpy as np

ROUND = 8  # padded lengths above this are multiples of it
# by how many frames a rung's length in one modality is moved in search of less padding
_MOVES = (
    64,
    32,
    16,
    8,
)


def ladder_of(length_nk: np.ndarray, shapes: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `shapes` rungs `[r, k]`, and each utterance's rung `[n]`: the smallest that it fits
    in.

    Utterances ranked by their frames and cut into equal groups give the first rungs; then single
    lengths are moved for as long as that lowers the frames computed for the whole set. What is
    found lies close to the optimum (tests compare it with an exhaustive search), and costs a
    fraction of a second for 84,000 utterances.
    """
    ranked = np.argsort(length_nk.sum(axis=1), kind="stable")
    groups = [g for g in np.array_split(ranked, min(shapes, len(ranked))) if len(g)]
    tops = np.maximum.accumulate(np.stack([length_nk[g].max(axis=0) for g in groups]))
    ladder_rk = _lowered(np.unique(_rounded(tops), axis=0), length_nk)
    return ladder_rk, rungs_of(length_nk, ladder_rk)


def grid_of(length_nk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A ladder and rungs as of `ladder_of`, of lengths on a fixed grid, four an octave: programs
    compiled for some utterances serve others.
    """
    length_nk = np.maximum(length_nk, 1)
    octave_nk = 2 ** np.ceil(np.log2(length_nk)).astype(int)
    step_nk = np.where(length_nk > ROUND, np.maximum(octave_nk // 8, ROUND), octave_nk)
    on_grid_nk = -(-length_nk // step_nk) * step_nk
    ranked = np.argsort(on_grid_nk.sum(axis=1), kind="stable")
    ladder_rk = np.unique(np.maximum.accumulate(on_grid_nk[ranked]), axis=0)
    return ladder_rk, rungs_of(length_nk, ladder_rk)


def rungs_of(length_nk: np.ndarray, ladder_rk: np.ndarray) -> np.ndarray:
    """The smallest rung `[n]` that each utterance fits in."""
    return (length_nk[:, None, :] <= ladder_rk[None]).all(axis=2).argmax(axis=1)


def _rounded(length_nk: np.ndarray) -> np.ndarray:
    return np.where(length_nk > ROUND, -(-length_nk // ROUND) * ROUND, np.maximum(length_nk, 1))


def _lowered(ladder_rk: np.ndarray, length_nk: np.ndarray) -> np.ndarray:
    """The ladder after every move that lowers the frames computed; its top stays, for the longest
    must fit.
    """
    length_uk, count_u = np.unique(_rounded(length_nk), axis=0, return_counts=True)

    def computed(rungs_rk: np.ndarray) -> int:
        return int(count_u @ rungs_rk.sum(axis=1)[rungs_of(length_uk, rungs_rk)])

    least, step = computed(ladder_rk), 0
    while step < len(_MOVES):
        before = least
        for place in np.ndindex(len(ladder_rk) - 1, ladder_rk.shape[1]):
            for move in (-_MOVES[step], _MOVES[step]):
                moved = ladder_rk.copy()
                moved[place] += move
                moved = _rounded(moved)
                if (np.diff(moved, axis=0) >= 0).all() and (frames := computed(moved)) < least:
                    ladder_rk, least = moved, frames
        step += least == before
    return np.unique(ladder_rk, axis=0)
