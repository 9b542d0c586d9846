"""Simulated raters: from the intended emotion of an utterance to the votes of five to nine raters.

`EXPRESSED_WEAK` and `EXPRESSED_STRONG` are shares of crowd votes in CREMA-D (Cao et al. 2014,
ODbL) on clips heard without video: one row per intended emotion (ANG SAD HAP FEA DIS NEU), level
LO or HI (NEU has one level), votes pooled over clips and normalised by row. `CONCENTRATION` comes
from the same clips: two raters of one clip agree more often than two raters of two clips in the
same cell, by 12.9 % of the remaining disagreement (levels LO, MD, HI, NEU, weighted by clips); a
Dirichlet with concentration 1/.129 − 1 gives the same. The tests recompute these numbers.

CREMA-D has neither surprise nor contempt nor `Other`, so their numbers are assumptions: a
surprised voice is confused with a happy, frightened or neutral one, a contemptuous one with
disgust, anger or neutral; and a share (`_SPILL`) of the votes for a known class goes to its
neighbour. The actors of CREMA-D read neutral sentences, while words carry emotion here:
`_CLARITY` sharpens the mixtures so that a perfect listener would agree with the plurality in four
of five utterances.
"""

from collections.abc import Sequence
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
"""Mean share of `Other-…` votes and their concentration; few utterances get most of them."""
_MORE_RATERS = (0.68, 0.17, 0.08, 0.04, 0.03)
"""Shares of utterances with 5, 6, 7, 8, 9 raters: mean 5.57 (MSP-Podcast 5.59, though up to 32)."""
_OTHER_TEXTS = (
    "Sarcastic", "Bored", "Confident", "Thoughtful", "Nostalgic", "Curious", "Tired", "Skeptical",
    "Proud", "Determined", "Sincere", "Relaxed",
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
    """Raters: the share of votes each gives without listening, and the bias of each on A, V, D."""

    careless_w: np.ndarray
    leaning_wa: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, workers: int = 60) -> "Pool":
        """A random pool of `workers` raters; 8 % of the votes are blind on average."""
        return cls(rng.beta(1.2, 13.8, workers), rng.normal(0, 0.35, (workers, 3)))


def confusion(intensity_b: np.ndarray) -> np.ndarray:
    """Shares of votes `[b, c, c]`: utterance, intended class, chosen class.

    Classes in the order of `CLASSES`; intensities `[b]` from 0 to 1.
    """
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
    """Perceived mixture of each utterance `[b, c]`: a sharpened draw around its confusions."""
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
    classes: Sequence[str] = CLASSES,
) -> pd.DataFrame:
    """Ratings of the files `names`, in `RATING_COLUMNS`, by raters drawn from `pool`.

    `heard_bc` are the mixtures of `heard`, `attributes_ba` the true arousal, valence and
    dominance on 1–7; ratings are whole numbers on 1–7. Only `classes` are on the raters' form.
    """
    blind_c = confusion(np.full(1, 0.5))[0].mean(axis=0) * np.isin(CLASSES, classes)
    concentration = _OTHER_SHARE * _OTHER_CONCENTRATION, (1 - _OTHER_SHARE) * _OTHER_CONCENTRATION
    rows = []
    for name, heard_c, true_a in zip(names, heard_bc, attributes_ba, strict=True):
        other = rng.beta(*concentration)
        workers = rng.permutation(len(pool.careless_w))
        for worker in workers[: 5 + rng.choice(len(_MORE_RATERS), p=_MORE_RATERS)]:
            careless = pool.careless_w[worker]
            share_c = (1 - careless) * heard_c + careless * blind_c
            primary, secondary, noise_a = _vote(share_c / share_c.sum(), other, rng)
            scale_a = np.clip(np.rint(true_a + pool.leaning_wa[worker] + noise_a), 1, 7)
            rater = f"WORKER{worker + 1:08d}"
            rows.append((name, rater, primary, secondary, *scale_a.tolist()))
    return pd.DataFrame(rows, columns=list(RATING_COLUMNS))


def _vote(
    share_c: np.ndarray, other: float, rng: np.random.Generator
) -> tuple[str, list[str], np.ndarray]:
    """Primary and secondary emotions of one rater, and the noise on the attributes `[3]`."""
    choice, second = rng.choice(len(CLASSES), 2, p=share_c)
    primary = PRIMARY_NAMES[choice]
    if rng.random() < other:
        primary = f"Other-{rng.choice(_OTHER_TEXTS)}"
    noise_a = rng.normal(0, 0.9, 3)
    return primary, _secondary(primary, choice, second, rng), noise_a


def _secondary(primary: str, choice: int, second: int, rng: np.random.Generator) -> list[str]:
    # The form asks for every perceived emotion: most raters repeat the primary, some add a related
    # name or the runner-up.
    names = ["Other" if primary.startswith("Other") else primary]
    if rng.random() < 0.35:
        names.append(str(rng.choice(_SECONDARY[CLASSES[choice]])))
    if second != choice and rng.random() < 0.5:
        names.append(PRIMARY_NAMES[second])
    return list(dict.fromkeys(names)) if rng.random() < 0.85 else []
