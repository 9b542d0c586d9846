"""Simulated raters: from the emotion an utterance was meant to express to the votes of five to nine people.

`EXPRESSED_WEAK` and `EXPRESSED_STRONG` are shares of real crowd votes in CREMA-D (Cao et al. 2014, ODbL): the clips heard
without video whose file name says that the actor meant the emotion (row: ANG SAD HAP FEA DIS NEU) at level LO or HI (NEU has one
level), all votes of all raters pooled, normalised within the row. `CONCENTRATION` comes from the same clips: two raters of one
clip agree more often than two raters of two clips of the same cell, by 12.9 % of what is left to agree on (levels LO, MD, HI, NEU,
weighted by clips), and a Dirichlet with concentration 1/.129 − 1 does the same. The tests recompute all of it from the votes.

CREMA-D knows neither surprise nor contempt, nor `Other`. What follows about them is assumed: a surprised voice is taken for a
happy, frightened or neutral one, a contemptuous one for disgust, anger or nothing; and of the votes for each known class a
share (`_SPILL`) goes to its unknown neighbour. Its actors also all read the same neutral sentences, while words speak here too:
`_CLARITY` sharpens what comes across, so that a perfect listener would meet the raters' plurality in four of five utterances.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medusa_jax.corpus.labels import CLASSES, PRIMARY_NAMES
from medusa_jax.corpus.ratings import RATING_COLUMNS

KNOWN = ("angry", "sad", "happy", "fear", "disgust", "neutral")
"""Order of rows and columns of the two matrices."""
EXPRESSED_WEAK = np.array(
    [
        [0.279, 0.030, 0.034, 0.029, 0.226, 0.401],
        [0.012, 0.230, 0.005, 0.039, 0.068, 0.648],
        [0.018, 0.036, 0.218, 0.026, 0.041, 0.661],
        [0.014, 0.166, 0.032, 0.122, 0.074, 0.592],
        [0.046, 0.144, 0.013, 0.064, 0.259, 0.474],
        [0.039, 0.070, 0.020, 0.050, 0.059, 0.762],
    ]
)
EXPRESSED_STRONG = np.array(
    [
        [0.825, 0.005, 0.009, 0.030, 0.111, 0.020],
        [0.015, 0.291, 0.009, 0.129, 0.070, 0.486],
        [0.131, 0.054, 0.316, 0.153, 0.108, 0.238],
        [0.111, 0.065, 0.087, 0.567, 0.061, 0.109],
        [0.178, 0.096, 0.025, 0.098, 0.319, 0.283],
        [0.039, 0.070, 0.020, 0.050, 0.059, 0.762],
    ]
)
CONCENTRATION = 6.8
_CLARITY = 2.0

# Assumed rows over CLASSES (A S H U F D C N), weak and strong.
_SURPRISE = np.array(
    [
        [0.01, 0.01, 0.12, 0.22, 0.08, 0.02, 0.02, 0.52],
        [0.04, 0.01, 0.19, 0.49, 0.11, 0.02, 0.01, 0.13],
    ]
)
_CONTEMPT = np.array(
    [
        [0.06, 0.04, 0.03, 0.02, 0.01, 0.11, 0.19, 0.54],
        [0.17, 0.03, 0.04, 0.02, 0.01, 0.15, 0.37, 0.21],
    ]
)
_SPILL = {
    "angry": ("contempt", 0.06),
    "happy": ("surprise", 0.08),
    "fear": ("surprise", 0.08),
    "disgust": ("contempt", 0.12),
    "neutral": ("contempt", 0.03),
}

_OTHER_SHARE, _OTHER_CONCENTRATION = 0.04, 2.0
"""Mean share of `Other-…` votes, and how evenly they spread over utterances (few utterances draw most of them)."""
_MORE_RATERS = (0.68, 0.17, 0.08, 0.04, 0.03)
"""Shares of utterances with 5, 6, 7, 8, 9 raters: mean 5.57 (MSP-Podcast 5.59, though up to 32)."""
_OTHER_TEXTS = (
    "Sarcastic", "Bored", "Confident", "Thoughtful", "Nostalgic", "Curious", "Tired", "Skeptical", "Proud", "Determined", "Sincere", "Relaxed",
    "Unsure", "Impatient", "Joking",
)  # fmt: skip
_SECONDARY = {
    "angry": ("Annoyed", "Frustrated"),
    "sad": ("Depressed", "Disappointed"),
    "happy": ("Amused", "Excited"),
    "surprise": ("Confused", "Excited"),
    "fear": ("Concerned", "Confused"),
    "disgust": ("Annoyed", "Disappointed"),
    "contempt": ("Annoyed", "Frustrated"),
    "neutral": ("Concerned", "Other"),
}


@dataclass(frozen=True)
class Pool:
    """The people who rate: `careless` is each one's share of votes given without listening, `leaning` his or her bias on A, V, D."""

    careless_w: np.ndarray
    leaning_wa: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, workers: int = 60) -> "Pool":
        """A pool of `workers` people; the average one votes blindly in 8 % of the cases."""
        return cls(rng.beta(1.2, 13.8, workers), rng.normal(0, 0.35, (workers, 3)))


def confusion(intensity_b: np.ndarray) -> np.ndarray:
    """Shares of votes `[b, c, c]` (utterance, meant class, chosen class, both in the order of `CLASSES`) at intensity 0 to 1."""
    weak, strong = _eight_classes(EXPRESSED_WEAK, 0), _eight_classes(EXPRESSED_STRONG, 1)
    return weak + intensity_b[:, None, None] * (strong - weak)


def _eight_classes(known: np.ndarray, level: int) -> np.ndarray:
    place = {name: i for i, name in enumerate(CLASSES)}
    rows = [place[name] for name in KNOWN]
    full = np.zeros((len(CLASSES), len(CLASSES)))
    full[np.ix_(rows, rows)] = known / known.sum(axis=1, keepdims=True)
    for name, (neighbour, share) in _SPILL.items():
        full[:, place[neighbour]] += share * full[:, place[name]]
        full[:, place[name]] *= 1 - share
    full[place["surprise"]], full[place["contempt"]] = _SURPRISE[level], _CONTEMPT[level]
    return full


def heard(meant_b: np.ndarray, intensity_b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How each utterance comes across `[b, c]`: a draw around its class's row of `confusion`, sharpened, sums to 1."""
    mean_bc = confusion(intensity_b)[np.arange(len(meant_b)), meant_b]
    gamma_bc = rng.standard_gamma(CONCENTRATION * mean_bc)
    gamma_bc = (gamma_bc / gamma_bc.sum(axis=1, keepdims=True)) ** _CLARITY
    return gamma_bc / gamma_bc.sum(axis=1, keepdims=True)


def rate(
    names: list[str],
    heard_bc: np.ndarray,
    attributes_ba: np.ndarray,
    pool: Pool,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Ratings of the files `names` in `RATING_COLUMNS`: what raters, drawn from `pool`, hear (`heard`) and how they scale A, V, D.

    `attributes_ba` are the true arousal, valence, dominance on 1–7; ratings are whole numbers on 1–7.
    """
    blind_c = confusion(np.full(1, 0.5))[0].mean(axis=0)
    rows = []
    for name, heard_c, true_a in zip(names, heard_bc, attributes_ba, strict=True):
        other = rng.beta(
            _OTHER_SHARE * _OTHER_CONCENTRATION, (1 - _OTHER_SHARE) * _OTHER_CONCENTRATION
        )
        for worker in rng.permutation(len(pool.careless_w))[
            : 5 + rng.choice(len(_MORE_RATERS), p=_MORE_RATERS)
        ]:
            careless = pool.careless_w[worker]
            share_c = (1 - careless) * heard_c + careless * blind_c
            choice, second = rng.choice(len(CLASSES), 2, p=share_c / share_c.sum())
            primary = (
                f"Other-{rng.choice(_OTHER_TEXTS)}"
                if rng.random() < other
                else PRIMARY_NAMES[choice]
            )
            scale_a = np.clip(
                np.rint(true_a + pool.leaning_wa[worker] + rng.normal(0, 0.9, 3)), 1, 7
            )
            rows.append(
                (
                    name,
                    f"WORKER{worker + 1:08d}",
                    primary,
                    _secondary(primary, choice, second, rng),
                    *scale_a.tolist(),
                )
            )
    return pd.DataFrame(rows, columns=list(RATING_COLUMNS))


def _secondary(primary: str, choice: int, second: int, rng: np.random.Generator) -> list[str]:
    # The form asks for every emotion heard: most people tick the primary again, some add shades of it or the runner-up.
    names = ["Other" if primary.startswith("Other") else primary]
    if rng.random() < 0.35:
        names.append(str(rng.choice(_SECONDARY[CLASSES[choice]])))
    if second != choice and rng.random() < 0.5:
        names.append(PRIMARY_NAMES[second])
    return list(dict.fromkeys(names)) if rng.random() < 0.85 else []
