"""The table of the study of ensembles: the scores of every variant, its comparison, and questions.

Legend: `n` utterance, `r` seed, `c` class.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medusa_jax.ensemble.variants import (
    ALL,
    BEST,
    GREEDY,
    HELD_OUT,
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
from medusa_jax.evaluation.headline import SPEECH, Headline
from medusa_jax.evaluation.intervals import RESAMPLES
from medusa_jax.evaluation.seeds import seed_scores
from medusa_jax.evaluation.significance import Comparison, compare, difference_columns
from medusa_jax.evaluation.tables import Row
from medusa_jax.studies.study import score_columns

WORDS = {"system": "system", "members": "members", "learned_from": "learned from"}
Posteriors = Mapping[Variant, np.ndarray]
"""Posteriors `[r, n, c]`, float64, of each variant."""


@dataclass(frozen=True)
class Utterances:
    """Utterances to score: class indices `[n]` (−1: not scored), the classes, and the clusters."""

    labels: np.ndarray
    classes: Sequence[str]
    clusters: Sequence[str | None] | pd.Series
    headline: Headline = SPEECH


def rival_of(variant: Variant) -> Variant | None:
    """The variant to compare with: the soft vote of all members, or of its own if it learned.

    None for the soft vote of all, and for a temperature, which changes no first choice.
    """
    if variant == Variant(SOFT) or variant.system in (SOFT_TEMPERED, SOUP_TEMPERED):
        return None
    return Variant(SOFT, ALL if variant.learned_from is None else variant.members)


def ensemble_rows(
    on: Utterances, predicted: Posteriors, *, resamples: int = RESAMPLES
) -> list[Row]:
    """A line for each variant; Holm's correction runs over all lines that are compared.

    Raises `EvaluationError` where the scores themselves would.
    """
    guesses = {variant: posteriors.argmax(axis=2) for variant, posteriors in predicted.items()}
    rivals = {variant: rival for variant in predicted if (rival := rival_of(variant)) is not None}
    tested = dict(zip(rivals, _compared(on, guesses, list(rivals.items()), resamples), strict=True))
    lines: list[Row] = []
    for variant, posteriors in predicted.items():
        guess_rn = guesses[variant]
        scores = seed_scores(
            on.labels,
            guess_rn,
            on.classes,
            on.clusters,
            headline=on.headline,
            resamples=resamples,
        )
        lines.append(
            {
                **variant._asdict(),
                **score_columns(scores),
                "ece": float(np.mean([calibration(on.labels, one).ece for one in posteriors])),
                "against": str(rivals[variant]) if variant in rivals else None,
                **difference_columns(tested.get(variant)),
            }
        )
    return lines


def questions_of(variants: Sequence[Variant], fit_on: str) -> dict[str, tuple[Variant, Variant]]:
    """The questions that `variants` can answer, each with the two whose difference answers it."""
    asked = _questions(_tops(variants), fit_on)
    return {text: pair for text, pair in asked if all(one in variants for one in pair)}


def _questions(tops: Sequence[str], fit_on: str) -> Iterator[tuple[str, tuple[Variant, Variant]]]:
    soft, single, soup = Variant(SOFT), Variant(SINGLE, ALL, fit_on), Variant(SOUP, ALL, fit_on)
    yield "Does the soft vote beat the best member?", (soft, Variant(BEST, "top 1"))
    yield "Does a meta-classifier beat the soft vote?", (single, soft)
    yield "Does the soup beat one meta-classifier?", (soup, single)
    yield "Does the soup beat the soft vote?", (soup, soft)
    for top in tops:
        text = f"Does the soft vote of all members beat that of the {top}?"
        yield text, (soft, Variant(SOFT, top))
    for top in tops:
        text = f"Does the soup of all members beat that of the {top}?"
        yield text, (soup, Variant(SOUP, top, fit_on))
    yield "Does the greedy soup beat the soup of all seeds?", (Variant(GREEDY, ALL, fit_on), soup)
    for source in (HELD_OUT, OUT_OF_FOLD):
        yield "Do fitted weights beat the soft vote?", (Variant(WEIGHTED, ALL, source), soft)
    if fit_on == OUT_OF_FOLD:
        text = "Does learning out of fold beat learning in-sample (soup)?"
        yield text, (soup, Variant(SOUP, ALL, TRAIN))


def _tops(variants: Sequence[Variant]) -> list[str]:
    """The sets of best members, the smallest first: `top 5`, `top 7`."""
    names = {variant.members for variant in variants} - {ALL, "top 1"}
    return sorted(names, key=lambda name: int(name.removeprefix("top ")))


def question_rows(
    on: Utterances, predicted: Posteriors, fit_on: str, *, resamples: int = RESAMPLES
) -> list[Row]:
    """A line for each question with its tested difference; Holm's correction runs over them."""
    asked = questions_of(list(predicted), fit_on)
    guesses = {one: predicted[one].argmax(axis=2) for pair in asked.values() for one in pair}
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
        on.clusters,
        metric=on.headline.metric,
        resamples=resamples,
        cluster=on.headline.cluster,
    )
