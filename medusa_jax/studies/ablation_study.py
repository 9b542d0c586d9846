"""An ablation: members trained and scored, its tables written into the run's folder."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from medusa_jax.evaluation.headline import headline_of
from medusa_jax.evaluation.published_results import NOTE as PUBLISHED_NOTE
from medusa_jax.evaluation.tables import Row
from medusa_jax.runs.evaluate import Part, labelled_parts
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.train import train
from medusa_jax.studies.ablation import Ablation
from medusa_jax.studies.ablation_changes import Change
from medusa_jax.studies.ablation_table import WORDS, ablation_rows
from medusa_jax.studies.conversations import beside_published
from medusa_jax.studies.derived_run import (
    Conducted,
    check_scorable,
    interval_note,
    made_by,
    written,
)
from medusa_jax.studies.study import MSP_PODCAST, Study
from medusa_jax.studies.study_file import MEAN


def conduct(ablation: Ablation, prepared: Prepared) -> Conducted:
    """Train the members that are missing and write `studies/ablation-PART.csv`, `.json` and `.md`.

    `prepared` is the ablation's own run, from `opened_ablation`. Raises what `runs.train.train`
    raises, and `EvaluationError` where the scores cannot be computed.
    """
    check_scorable(prepared)
    train(prepared)
    return written(ablation.base.run, "ablation", studies_of(ablation, prepared))


def studies_of(ablation: Ablation, prepared: Prepared) -> dict[str, Study]:
    """The table of each part.

    Raises `EvaluationError` if a member is not trained or the scores cannot be computed.
    """
    guesses = {one.config.id: _guesses(prepared, one.config.id) for one in ablation.trials}
    studies = {}
    for part in labelled_parts(prepared):
        corpus, stacked = part.corpus, _stacked(ablation, part, guesses)
        headline = headline_of(corpus)
        clusters = headline.clusters(corpus)
        rows = ablation_rows(corpus.labels, stacked, corpus.classes, clusters, headline=headline)
        studies[part.name] = _study(ablation, prepared, part, rows)
    return studies


def _guesses(prepared: Prepared, member: str) -> list[np.ndarray]:
    """Predicted class indices of all utterances, one array a fold."""
    folds = range(len(prepared.folds))
    outputs = [prepared.run.predictions(prepared.corpus, fold, member) for fold in folds]
    return [one.logits.argmax(axis=1) for one in outputs]


def _stacked(
    ablation: Ablation, part: Part, guesses: Mapping[str, list[np.ndarray]]
) -> dict[str, dict[str, np.ndarray]]:
    """Class indices `[r, n]` on a part by row and member."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for one in ablation.trials:
        pairs = zip(guesses[one.config.id], part.rows, strict=True)
        guess_n = np.concatenate([guess[rows] for guess, rows in pairs])
        found.setdefault(one.row, {}).setdefault(one.member, []).append(guess_n)
    return {
        row: {member: np.stack(seeds) for member, seeds in own.items()}
        for row, own in found.items()
    }


def _study(ablation: Ablation, prepared: Prepared, part: Part, rows: list[Row]) -> Study:
    config = ablation.base.run.config
    unchanged = [row for row in rows if row["row"] == ablation.unchanged]
    members = [str(row["member"]) for row in unchanged if row["member"] != MEAN]
    published = beside_published(ablation, prepared, part, unchanged)
    return Study(
        title=f"{config.name}: ablation on {part.name} of {part.corpus.name}",
        corpus=part.facts,
        words=WORDS,
        rows=rows,
        notes=_notes(ablation, part, rows),
        reference=published or _reference(ablation, rows),
        settings={
            "seeds": ablation.seeds,
            "members": ", ".join(members),
            **{f"row {name}": _described(change) for name, change in ablation.rows.items()},
        },
        provenance=made_by(ablation.base, prepared),
        reference_note=PUBLISHED_NOTE if published else MSP_PODCAST,
    )


def _described(change: Change) -> str:
    """A row's change, in words and as configuration."""
    settings = ", ".join(_settings(change.settings))
    return ": ".join(filter(None, (change.about, settings)))


def _settings(change: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in change.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{above}{key}.")
        else:
            yield f"{above}{key}={value}"


def _notes(ablation: Ablation, part: Part, rows: Sequence[Row]) -> list[str]:
    """Sentences that a reader of the table must know."""
    tested = [row for row in rows if row["row"] != ablation.unchanged]
    means = sum(row["member"] == MEAN for row in tested)
    seeds = (
        f"Every number is the mean over {ablation.seeds} seeds, and sd their standard deviation."
        if ablation.seeds > 1
        else "One seed."
    )
    spoken = part.corpus.conversational
    cluster, noise = headline_of(part.corpus).cluster, "routing" if spoken else "MixUp"
    return [
        f"{seeds} Seeds differ in initial weights, dropout and {noise}; the data, their order and "
        "the held-out part stay the same.",
        interval_note(part),
        f"Differences are to {ablation.unchanged}, over the row's own members. p: the predictions "
        f"of the two exchanged at random for whole {cluster}s, all seeds together; corrected by "
        "Holm over the "
        f"{means} line(s) `{MEAN}`, and separately over the {len(tested) - means} of single "
        "members.",
        "Intervals and p show how certain a difference between these trained members is on other "
        f"{cluster}s; sd shows how far other seeds may move it.",
        *ablation.notes,
    ]


def _reference(ablation: Ablation, rows: Sequence[Row]) -> list[Row]:
    """Our means beside the paper's, for the rows of the paper."""
    lines: list[Row] = []
    for row in rows:
        paper = ablation.rows[str(row["row"])].paper
        if row["member"] == MEAN and paper is not None:
            lines.append(
                {
                    "row": row["row"],
                    "mean Macro-F1": row["macro_f1"],
                    "change in %": _percent(row["macro_f1"], row["difference"]),
                    "paper, mean Macro-F1": paper[0],
                    "paper, change in %": paper[1],
                }
            )
    return lines


def _percent(mean: object, change: object) -> float | None:
    """The change of a mean in percent of the mean before it."""
    if isinstance(mean, float) and isinstance(change, float):
        return 100 * change / (mean - change)
    return None
