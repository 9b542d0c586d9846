"""An ablation conducted: trained, scored, its tables written into the folder of the run that it is about."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from medusa_jax.evaluation.tables import Row
from medusa_jax.runs.evaluate import Part, facts_of
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.train import train
from medusa_jax.studies.ablation import BASE, Ablation
from medusa_jax.studies.ablation import Row as TableRow
from medusa_jax.studies.ablation_table import WORDS, ablation_rows
from medusa_jax.studies.derived_run import (
    Conducted,
    check_scorable,
    interval_note,
    labelled_parts,
    made_by,
    written,
)
from medusa_jax.studies.study_file import MEAN
from medusa_jax.studies.tables import Study


def conduct(ablation: Ablation, prepared: Prepared) -> Conducted:
    """Train what is not trained yet and write `studies/ablation-PART.csv`, `.json` and `.md` below the base run's folder.

    `prepared` is the ablation's own run, as of `opened_ablation`. Raises what `runs.train.train` raises, and `EvaluationError`
    where the scores cannot be computed.
    """
    check_scorable(prepared)
    train(prepared)
    return written(ablation.base.run, "ablation", studies_of(ablation, prepared))


def studies_of(ablation: Ablation, prepared: Prepared) -> dict[str, Study]:
    """The table of each part. Raises `EvaluationError` if a member is not trained, or where the scores cannot be computed."""
    folds = range(len(prepared.folds))
    guesses = {
        one.config.id: [
            prepared.run.predictions(prepared.corpus, f, one.config.id).logits.argmax(axis=1)
            for f in folds
        ]
        for one in ablation.trials
    }
    studies = {}
    for part, rows_of_folds in labelled_parts(prepared):
        predictions: dict[str, dict[str, list[np.ndarray]]] = {}
        for one in ablation.trials:
            said = np.concatenate(
                [
                    guess[rows]
                    for guess, rows in zip(guesses[one.config.id], rows_of_folds, strict=True)
                ]
            )
            predictions.setdefault(one.row, {}).setdefault(one.member, []).append(said)
        stacked = {
            row: {member: np.stack(seeds) for member, seeds in own.items()}
            for row, own in predictions.items()
        }
        rows = ablation_rows(
            part.corpus.labels, stacked, part.corpus.classes, part.corpus.frame["speaker"]
        )
        studies[part.name] = _study(ablation, prepared, part, rows)
    return studies


def _study(ablation: Ablation, prepared: Prepared, part: Part, rows: list[Row]) -> Study:
    config = ablation.base.run.config
    members = [str(row["member"]) for row in rows if row["row"] == BASE and row["member"] != MEAN]
    return Study(
        title=f"{config.name}: ablation on {part.name} of {part.corpus.name}",
        corpus=facts_of(part),
        words=WORDS,
        rows=rows,
        notes=_notes(ablation, part, rows),
        reference=_reference(ablation, rows),
        settings={
            "seeds": ablation.seeds,
            "members": ", ".join(members),
            **{f"row {name}": _told(row) for name, row in ablation.rows.items()},
        },
        provenance=made_by(ablation.base, prepared),
    )


def _told(row: TableRow) -> str:
    """What a row is, in words and as configuration."""
    change = ", ".join(_settings(row.change))
    return ": ".join(filter(None, (row.about, change)))


def _settings(change: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in change.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{above}{key}.")
        else:
            yield f"{above}{key}={value}"


def _notes(ablation: Ablation, part: Part, rows: Sequence[Row]) -> list[str]:
    """What a reader of the table must know."""
    tested = [row for row in rows if row["row"] != BASE]
    means = sum(row["member"] == MEAN for row in tested)
    seeds = (
        f"Every number is the mean over {ablation.seeds} seeds, and sd their standard deviation."
        if ablation.seeds > 1
        else "One seed."
    )
    return [
        f"{seeds} Another seed is other initial weights, dropout and MixUp; the data, their order and who is held out stay.",
        interval_note(part),
        f"Differences are to {BASE}, over the members that the row has. p: the predictions of the two exchanged at random for whole speakers, all "
        f"seeds together; corrected by Holm over the {means} line(s) `{MEAN}`, and apart from them over the {len(tested) - means} of single members.",
        "Intervals and p tell how sure a difference between these trained members is on other speakers; sd tells how far other seeds may move them.",
        *ablation.notes,
    ]


def _reference(ablation: Ablation, rows: Sequence[Row]) -> list[Row]:
    """Our means beside the paper's, for the rows that it has."""
    lines: list[Row] = []
    for row in rows:
        known = ablation.rows[str(row["row"])].paper
        if row["member"] == MEAN and known is not None:
            mean, change = row["macro_f1"], row["difference"]
            ours = (
                100 * change / (mean - change)
                if isinstance(mean, float) and isinstance(change, float)
                else None
            )
            paper = {"paper, mean Macro-F1": known[0], "paper, change in %": known[1]}
            lines.append({"row": row["row"], "mean Macro-F1": mean, "change in %": ours, **paper})
    return lines
