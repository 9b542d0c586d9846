"""Utterances of the generated corpus without sound: votes, classes, splits, speakers, names, words.

Class shares follow the training set of MSP-Podcast, tempered by `TEMPER` so that a corpus of a
few hundred utterances still has twenty of the rarest class to train on; the shares of X (no
agreement) and O (other) are the real ones. Classes come from the agreement of the raters, as for
the real corpus: candidates are rated until each class has enough, and test3 is balanced. Without
this selection the raters disagree on a tenth of the candidates and vote Other for one in forty.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medusa_jax.corpus.labels import CLASSES, consensus
from medusa_jax.corpus.ratings import tally
from medusa_jax.corpus.table import NO_AGREEMENT, OTHER
from medusa_jax.synthetic import phrases, raters
from medusa_jax.synthetic.prosody import AFFECT, Voice, affect_of

TEMPER = 0.5
OUTCOMES = (*CLASSES, OTHER, NO_AGREEMENT)
_TRAIN_COUNTS = np.array([6728, 6303, 16712, 2948, 1120, 1432, 2495, 29239, 1351, 15932], float)
_DEVELOPMENT = 0.28
_FEWEST = 4
"""Minimum of labelled utterances a class: a balanced subset needs every class."""
_SPEAKERS = {"Train": 0.054, "Development": 0.0175, "Test3": 0.015}
"""Speakers per labelled utterance, at least four a split. At 800: 43, 14 and 12."""


@dataclass(frozen=True)
class Cast:
    """The utterances of a corpus and what is needed to synthesise and label them.

    `utterances` has the columns FileName, SpkrID, Gender, Split_Set, transcript, asr, consensus
    and voice (the number of the speaker). `ratings` includes those of test3. `voices` and
    `heard_bc` have a row for each row of `utterances`.
    """

    utterances: pd.DataFrame
    ratings: pd.DataFrame
    voices: list[Voice]
    heard_bc: np.ndarray


def cast(size: int, test_per_class: int, seed: int) -> Cast:
    """`size` labelled utterances and 8 × `test_per_class` of test3, a function of the arguments."""
    rng = np.random.default_rng([seed, 0])
    labelled = quota(size)
    needed = labelled + np.array([test_per_class] * len(CLASSES) + [0, 0])
    outcome_b, heard_bc, ratings = _rated(needed, rng)
    split_b = _splits(outcome_b, labelled)
    order = np.argsort(
        rng.permutation(len(split_b))
        + len(split_b)
        * pd.Series(split_b).map({"Train": 0, "Development": 1, "Test3": 2}).to_numpy()
    )
    split_b, heard_bc = split_b[order], heard_bc[order]
    speaker_b, voices = _speakers(split_b, size, rng)
    names = _names(split_b, speaker_b, rng)
    renamed = dict(zip([f"{i}.wav" for i in order], names, strict=True))
    words = [_words(heard_c, rng) for heard_c in heard_bc]
    known = [None if speaker in _unknown(speaker_b, split_b) else speaker for speaker in speaker_b]
    utterances = pd.DataFrame(
        {
            "FileName": names,
            "SpkrID": ["Unknown" if speaker is None else str(1000 + speaker) for speaker in known],
            "Gender": [
                "Unknown" if speaker is None else voices[speaker].gender for speaker in known
            ],
            "Split_Set": split_b,
            "transcript": words,
            "asr": [phrases.recognised(text, rng) for text in words],
            "consensus": [OUTCOMES[i] for i in outcome_b[order]],
            "voice": speaker_b,
        }
    )
    ratings = ratings.assign(FileName=ratings["FileName"].map(renamed)).sort_values(
        "FileName", kind="stable", ignore_index=True
    )
    return Cast(utterances, ratings, [voices[speaker] for speaker in speaker_b], heard_bc)


def quota(size: int) -> np.ndarray:
    """Labelled utterances of each of `OUTCOMES`: tempered class shares, real shares of X and O."""
    share = _TRAIN_COUNTS / _TRAIN_COUNTS.sum()
    tempered = share[:-2] ** TEMPER
    share[:-2] = tempered / tempered.sum() * share[:-2].sum()
    counts = np.maximum(np.rint(share * size).astype(int), [_FEWEST] * len(CLASSES) + [0, 0])
    counts[CLASSES.index("neutral")] += size - counts.sum()
    return counts


def _rated(
    needed: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Rated candidates, kept until each outcome has `needed`: outcomes, mixtures, ratings.

    Files are named by their number.
    """
    pool = raters.Pool.draw(rng)
    meant_share = _TRAIN_COUNTS[:-2] ** TEMPER
    outcomes: list[int] = []
    kept_heard, kept_ratings, missing = [], [], needed.copy()
    while missing.sum() > 0:
        meant_b = rng.choice(len(CLASSES), 1000, p=meant_share / meant_share.sum())
        heard_bc = raters.heard(meant_b, rng.beta(3.0, 1.0, len(meant_b)), rng)
        names = [f"{i}.wav" for i in range(len(meant_b))]
        ratings = raters.rate(names, heard_bc, affect_of(heard_bc), pool, rng)
        by_name = dict(list(ratings.groupby("FileName", sort=False)))
        for i, label in enumerate(consensus(tally(ratings, names)[0], CLASSES)):
            outcome = OUTCOMES.index(label)
            if missing[outcome] > 0:
                missing[outcome] -= 1
                kept_ratings.append(by_name[names[i]].assign(FileName=f"{len(outcomes)}.wav"))
                kept_heard.append(heard_bc[i])
                outcomes.append(outcome)
    return np.array(outcomes), np.array(kept_heard), pd.concat(kept_ratings, ignore_index=True)


def _splits(outcome_b: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Split of each utterance.

    Within an outcome the first go to development, the next to training, the rest to test3.
    """
    split_b = np.full(len(outcome_b), "Test3", dtype=object)
    for outcome, count in enumerate(labelled):
        rows = np.flatnonzero(outcome_b == outcome)
        held_out = round(_DEVELOPMENT * count)
        split_b[rows[:held_out]] = "Development"
        split_b[rows[held_out:count]] = "Train"
    return split_b


def _speakers(
    split_b: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[Voice]]:
    """Index of each utterance's speaker into the voices; genders alternate, splits are disjoint."""
    speaker_b = np.zeros(len(split_b), int)
    voices: list[Voice] = []
    for split, rate in _SPEAKERS.items():
        count = max(4, round(rate * size))
        rows = np.flatnonzero(split_b == split)
        weight = rng.dirichlet(np.full(count, 3.0))
        speaker_b[rows] = len(voices) + rng.choice(count, len(rows), p=weight)
        voices += [Voice.draw("Female" if k % 2 == 0 else "Male", rng) for k in range(count)]
    return speaker_b, voices


def _unknown(speaker_b: np.ndarray, split_b: np.ndarray) -> set[int]:
    # The last speaker of training and of development is unknown, as some are in MSP-Podcast; all
    # of test3 are hidden.
    last = {int(speaker_b[split_b == split].max()) for split in ("Train", "Development")}
    return last | set(speaker_b[split_b == "Test3"].tolist())


def _names(split_b: np.ndarray, speaker_b: np.ndarray, rng: np.random.Generator) -> list[str]:
    """File names as in MSP-Podcast: podcast and segment; test3 is numbered through.

    A quarter of development has a third number.
    """
    names, segment = [], dict.fromkeys(range(int(speaker_b.max()) + 1), 0)
    tested = 0
    for split, speaker in zip(split_b, speaker_b, strict=True):
        segment[speaker] += int(rng.integers(1, 9))
        if split == "Test3":
            tested += 1
            names.append(f"MSP-PODCAST_test3_{tested:04d}.wav")
        elif split == "Development" and rng.random() < 0.25:
            part = rng.integers(1, 12)
            names.append(f"MSP-PODCAST_{speaker + 1:04d}_{segment[speaker]:04d}_{part:04d}.wav")
        else:
            names.append(f"MSP-PODCAST_{speaker + 1:04d}_{segment[speaker]:04d}.wav")
    return names


def _words(heard_c: np.ndarray, rng: np.random.Generator) -> str:
    emotion = rng.choice(len(CLASSES), p=heard_c)
    return phrases.utterance_text(CLASSES[emotion], float(AFFECT[emotion, 1]), rng)
