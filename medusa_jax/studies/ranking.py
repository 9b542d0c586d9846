"""The order of a study's members, best first, by a score that was not maximised over epochs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.variants import OUT_OF_FOLD
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.metrics import classification_scores
from medusa_jax.runs.prepare import Prepared

DEVELOPMENT = "development"


@dataclass(frozen=True)
class Ranking:
    """Places of the members, the best first, and the score that orders them, in words.

    `part` names the part that was used for it, if it is one that studies score.
    """

    places: tuple[int, ...]
    score: str
    part: str | None = None

    def note(self, part: str) -> str:
        """A sentence for a reader of the scores on `part`."""
        text = (
            f"The best members are those with the highest {self.score}, means over seeds and folds"
        )
        if self.part == part:
            return f"{text}; so {part} favours best_member and the sets of the best here."
        return f"{text}."


def ranked(prepared: Prepared, members: Sequence[Sequence[str]]) -> Ranking:
    """Rank members by their mean score over seeds and folds; equal ones keep their order.

    `members` are the ids of each member's seeds. The score is Macro-F1 of the out-of-fold
    predictions if the run has them, else Macro-F1 on a labelled development part that selects no
    epoch, else the selection score, which was maximised over epochs. Raises `EvaluationError` if a
    member is not trained.
    """
    if prepared.run.config.ensemble.fit_on == OUT_OF_FOLD:
        return Ranking(
            _order(prepared, members, _out_of_fold), "Macro-F1 of out-of-fold predictions"
        )
    if len(_development(prepared)):
        score = f"Macro-F1 on the {DEVELOPMENT} part"
        return Ranking(_order(prepared, members, _on_development), score, DEVELOPMENT)
    score = "selection score (maximised over epochs, as there is no other score to rank by)"
    return Ranking(_order(prepared, members, _selection_score), score)


def _order(
    prepared: Prepared,
    members: Sequence[Sequence[str]],
    score: Callable[[Prepared, int, str], float],
) -> tuple[int, ...]:
    folds = range(len(prepared.folds))
    means = []
    for seeds in members:
        scores = [score(prepared, fold, member) for member in seeds for fold in folds]
        means.append(float(np.mean(scores)))
    return tuple(sorted(range(len(means)), key=lambda m: -means[m]))


def _out_of_fold(prepared: Prepared, fold: int, member: str) -> float:
    fit = prepared.folds[fold].fit
    predicted = prepared.run.out_of_fold(prepared.corpus, fold, member, fit)
    return _macro_f1(prepared, fit, predicted)


def _on_development(prepared: Prepared, fold: int, member: str) -> float:
    rows = _development(prepared)
    predicted = prepared.run.predictions(prepared.corpus, fold, member)
    return _macro_f1(prepared, rows, predicted.where(rows))


def _selection_score(prepared: Prepared, fold: int, member: str) -> float:
    """The balanced score on the held-out part that chose the member's epoch."""
    path = prepared.run.record_file(fold, member)
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["selection_score"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"member {member} is not trained yet, or its record is damaged",
            where=path,
            hint="run `medusa train` with the same configuration first",
        ) from error


def _development(prepared: Prepared) -> np.ndarray:
    """Labelled positions of the development part that neither teach nor select; none with folds."""
    if prepared.run.config.corpus.folds is not None:
        return np.zeros(0, np.int64)
    corpus, rest = prepared.corpus, prepared.folds[0].rest
    split = corpus.frame["split"].to_numpy()
    return rest[(split[rest] == DEVELOPMENT) & (corpus.labels[rest] >= 0)]


def _macro_f1(prepared: Prepared, rows: np.ndarray, predicted: Predictions) -> float:
    corpus = prepared.corpus
    return classification_scores(corpus.labels[rows], predicted.logits, corpus.classes).macro_f1
