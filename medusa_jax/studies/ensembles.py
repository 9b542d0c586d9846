"""The study of ensembles conducted: members trained, combined and scored, its tables written into the folder of the run that it is about."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from scipy.special import softmax

from medusa_jax.ensemble.variants import (
    ALL,
    GREEDY,
    MAJORITY,
    OUT_OF_FOLD,
    REFITTED,
    SINGLE,
    SOFT,
    SOUP,
    STACKING,
    WEIGHTED,
    Combined,
    Variant,
)
from medusa_jax.evaluation.tables import Row
from medusa_jax.runs.evaluate import Part, facts_of
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.train import train
from medusa_jax.studies.combinations import EnsembleStudy, combined_all, ranking_of
from medusa_jax.studies.derived_run import (
    Conducted,
    interval_note,
    labelled_parts,
    made_by,
    written,
)
from medusa_jax.studies.ensembles_table import WORDS, Utterances, ensemble_rows, question_rows
from medusa_jax.studies.tables import Study

PAPER: Mapping[str, Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        MAJORITY: {ALL: (0.439, 0.454), "top 7": (0.436, 0.449), "top 5": (0.437, 0.450)},
        SOFT: {ALL: (0.439, 0.453), "top 7": (0.439, 0.453), "top 5": (0.439, 0.453)},
        SINGLE: {ALL: (0.471, 0.470), "top 7": (0.465, 0.465), "top 5": (0.468, 0.462)},
        SOUP: {ALL: (0.472, 0.471), "top 7": (0.467, 0.466), "top 5": (0.445, 0.441)},
    }
)
"""Macro-F1 and accuracy of the paper's Table 3; `all` are its 14 members."""


def conduct(study: EnsembleStudy, prepared: Prepared) -> Conducted:
    """Train what is not trained yet, and write `studies/ensemble-PART.csv`, `.json` and `.md` below the base run's folder.

    `prepared` is the study's own run. Raises what `runs.train.train` raises where there is something to train, and
    `EvaluationError` where members of the base run are not trained or the scores cannot be computed.
    """
    if study.seeds > 1:
        train(prepared)
    return written(study.base.run, "ensemble", studies_of(study, prepared))


def studies_of(study: EnsembleStudy, prepared: Prepared) -> dict[str, Study]:
    """The tables of each part."""
    by_seed = combined_all(study, prepared)
    left_out = {
        variant: why for folds in by_seed for one in folds for variant, why in one.left_out.items()
    }
    found = {}
    for part, rows_of_folds in labelled_parts(prepared):
        said = {
            variant: _posteriors(by_seed, variant, rows_of_folds)
            for variant in by_seed[0][0].said
            if variant not in left_out
        }
        on = Utterances(part.corpus.labels, part.corpus.classes, part.corpus.frame["speaker"])
        fit_on = study.base.run.config.ensemble.fit_on
        found[part.name] = _study(
            study,
            prepared,
            part,
            ensemble_rows(on, said),
            question_rows(on, said, fit_on),
            left_out,
        )
    return found


def _posteriors(
    by_seed: Sequence[Sequence[Combined]], variant: Variant, rows_of_folds: Sequence[np.ndarray]
) -> np.ndarray:
    """What a variant says of a part, `[r, n, c]` in float64, each fold's rows by that fold's own models."""
    logits = [
        np.concatenate(
            [one.said[variant].logits[rows] for one, rows in zip(folds, rows_of_folds, strict=True)]
        )
        for folds in by_seed
    ]
    return np.asarray(softmax(np.stack(logits).astype(np.float64), axis=2))


def _study(
    study: EnsembleStudy,
    prepared: Prepared,
    part: Part,
    rows: list[Row],
    questions: list[Row],
    left_out: Mapping[Variant, str],
) -> Study:
    config, ids = study.base.run.config, list(study.members)
    ranked = [ids[m] for m in ranking_of(study, prepared)]
    return Study(
        title=f"{config.name}: ensembles on {part.name} of {part.corpus.name}",
        corpus=facts_of(part),
        words=WORDS,
        rows=rows,
        questions=questions,
        notes=list(_notes(study, part, rows, left_out)),
        reference=_reference(study, rows),
        settings={
            "seeds": study.seeds,
            "members": ", ".join(ids),
            "members, the best on the held-out part first": ", ".join(ranked),
        },
        provenance=made_by(study.base, prepared),
    )


def _notes(
    study: EnsembleStudy, part: Part, rows: Sequence[Row], left_out: Mapping[Variant, str]
) -> Iterator[str]:
    """What a reader of the table must know."""
    tested = sum(row["against"] is not None for row in rows)
    if study.seeds > 1:
        yield f"Every number is the mean over {study.seeds} seeds, and sd their standard deviation."
        yield "Another seed is other initial weights, dropout and MixUp; the data, their order in training and who is held out stay."
    else:
        yield "One seed of every member; the soup averages the seeds of the meta-classifier alone."
    yield interval_note(part)
    yield "A vote is compared with the soft vote of all members, everything that learns with the soft vote of its own members."
    yield (
        f"p: the predictions of the two exchanged at random for whole speakers, corrected by Holm over the {tested} lines that are compared, "
        "and apart from them over the questions."
    )
    yield f"Meta-classifiers and soups learned from {study.base.run.config.ensemble.learned_from}; where others stand beside them the column says so."
    yield from _told(rows)
    for variant, why in left_out.items():
        yield f"Left out: {variant}, because {why}."


def _told(rows: Sequence[Row]) -> Iterator[str]:
    """What the systems are that the paper has not."""
    made = {str(row["system"]): row["learned_from"] for row in rows}
    if GREEDY in made:
        yield f"{GREEDY}: meta-classifiers join the soup only while its score on the held-out part does not fall (Wortsman et al. 2022)."
    if WEIGHTED in made:
        yield f"{WEIGHTED}: weights of the members' posteriors, none below 0 and 1 in all, of the least cross-entropy on the held-out part."
    if STACKING in made:
        where = (
            "out-of-fold outputs of the training part"
            if made[STACKING] == OUT_OF_FOLD
            else "the held-out part"
        )
        yield f"{STACKING}: on the members' log-posteriors, learned on {where}, its regularisation chosen by speaker-disjoint cross-validation there."
    if REFITTED & made.keys():
        yield "…_rebalanced: as for an even prior; …_tempered: at a temperature, which changes no choice. Both are fitted on the held-out part."


def _reference(study: EnsembleStudy, rows: Sequence[Row]) -> list[Row]:
    """Ours beside the paper's Table 3."""
    fit_on = study.base.run.config.ensemble.fit_on
    ours = {
        (row["system"], row["members"]): row
        for row in rows
        if row["learned_from"] in (None, fit_on)
    }
    lines: list[Row] = []
    for system, sets in PAPER.items():
        for members, (macro_f1, accuracy) in sets.items():
            own: Row = ours.get((system, members), {})
            said = {"Macro-F1": own.get("macro_f1"), "accuracy": own.get("accuracy")}
            paper: Row = {
                "paper, members": "all 14" if members == ALL else members,
                "paper, Macro-F1": macro_f1,
                "paper, accuracy": accuracy,
            }
            lines.append({"system": system, "members": members, **said, **paper})
    return lines
