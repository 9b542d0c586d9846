"""The table of the study of ensembles: every variant's scores, what each is compared with, and the questions that Table 3 is read for.

Legend: `n` utterance, `r` seed, `c` class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medusa_jax.ensemble.variants import (
    ALL,
    BEST,
    GREEDY,
    OUT_OF_FOLD,
    SINGLE,
    SOFT,
    SOFT_TEMPERED,
    SOUP,
    SOUP_TEMPERED,
    TRAIN,
    WEIGHTED,
    Variant,
)
from medusa_jax.evaluation.calibration import calibration
from medusa_jax.evaluation.intervals import RESAMPLES
from medusa_jax.evaluation.seeds import seed_scores
from medusa_jax.evaluation.significance import Comparison, compare
from medusa_jax.evaluation.tables import Row
from medusa_jax.studies.tables import difference_columns, score_columns

WORDS = {"system": "system", "members": "members", "learned_from": "learned from"}
Posteriors = Mapping[Variant, np.ndarray]
"""What each variant says: `[r, n, c]`, float64."""


@dataclass(frozen=True)
class Utterances:
    """Those that are scored: class indices `[n]` (−1: not scored), the classes, and who speaks."""

    labels: np.ndarray
    classes: Sequence[str]
    speakers: Sequence[str | None] | pd.Series


def rival_of(variant: Variant) -> Variant | None:
    """What a variant is compared with: a vote with the soft vote of all members, what learned with the soft vote of its own.

    None for the soft vote of all, and for a temperature, which changes no first choice.
    """
    if variant == Variant(SOFT) or variant.system in (SOFT_TEMPERED, SOUP_TEMPERED):
        return None
    return Variant(SOFT, ALL if variant.learned_from is None else variant.members)


def ensemble_rows(on: Utterances, said: Posteriors, *, resamples: int = RESAMPLES) -> list[Row]:
    """A line for each variant; Holm's correction runs over all lines that are compared.

    Raises `EvaluationError` where the scores themselves would.
    """
    guesses = {variant: posteriors.argmax(axis=2) for variant, posteriors in said.items()}
    rivals = {variant: rival for variant in said if (rival := rival_of(variant)) is not None}
    tested = dict(zip(rivals, _compared(on, guesses, list(rivals.items()), resamples), strict=True))
    lines: list[Row] = []
    for variant, posteriors in said.items():
        scores = seed_scores(
            on.labels, guesses[variant], on.classes, on.speakers, resamples=resamples
        )
        ece = float(np.mean([calibration(on.labels, one).ece for one in posteriors]))
        against = {"ece": ece, "against": str(rivals[variant]) if variant in rivals else None}
        lines.append(
            {
                **variant._asdict(),
                **score_columns(scores),
                **against,
                **difference_columns(tested.get(variant)),
            }
        )
    return lines


def questions_of(said: Sequence[Variant], fit_on: str) -> dict[str, tuple[Variant, Variant]]:
    """What Table 3 is read for, by the two variants whose difference answers it; only what these variants can answer."""
    soft, single, soup = Variant(SOFT), Variant(SINGLE, ALL, fit_on), Variant(SOUP, ALL, fit_on)
    tops = sorted(
        {variant.members for variant in said} - {ALL, "top 1"},
        key=lambda name: int(name.removeprefix("top ")),
    )
    asked = {
        "Does the soft vote beat the best member?": (soft, Variant(BEST, "top 1")),
        "Does a meta-classifier beat the soft vote?": (single, soft),
        "Does the soup beat one meta-classifier?": (soup, single),
        "Does the soup beat the soft vote?": (soup, soft),
        **{
            f"Does the soft vote of all members beat that of the {top}?": (soft, Variant(SOFT, top))
            for top in tops
        },
        **{
            f"Does the soup of all members beat that of the {top}?": (
                soup,
                Variant(SOUP, top, fit_on),
            )
            for top in tops
        },
        "Does the greedy soup beat the soup of all seeds?": (Variant(GREEDY, ALL, fit_on), soup),
        "Do fitted weights beat the soft vote?": (Variant(WEIGHTED, ALL, "held_out"), soft),
    }
    if fit_on == OUT_OF_FOLD:
        asked["Does learning out of fold beat learning in-sample (soup)?"] = (
            soup,
            Variant(SOUP, ALL, TRAIN),
        )
    return {text: pair for text, pair in asked.items() if all(variant in said for variant in pair)}


def question_rows(
    on: Utterances, said: Posteriors, fit_on: str, *, resamples: int = RESAMPLES
) -> list[Row]:
    """A line for each question: the difference of the two, tested; Holm's correction runs over the questions."""
    asked = questions_of(list(said), fit_on)
    guesses = {variant: said[variant].argmax(axis=2) for pair in asked.values() for variant in pair}
    tested = _compared(on, guesses, list(asked.values()), resamples)
    return [
        {"question": text, "one": str(one), "other": str(other), **difference_columns(found)}
        for (text, (one, other)), found in zip(asked.items(), tested, strict=True)
    ]


def _compared(
    on: Utterances,
    guesses: Mapping[Variant, np.ndarray],
    pairs: Sequence[tuple[Variant, Variant]],
    resamples: int,
) -> list[Comparison]:
    systems = {str(variant): guess for variant, guess in guesses.items()}
    return compare(
        on.labels,
        systems,
        [(str(one), str(other)) for one, other in pairs],
        on.classes,
        on.speakers,
        resamples=resamples,
    )
