"""The study of ensembles: members trained, combined and scored, its tables written into the run."""

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
from medusa_jax.evaluation.headline import headline_of
from medusa_jax.evaluation.tables import Row
from medusa_jax.runs.evaluate import Part, labelled_parts
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.train import train
from medusa_jax.studies.combinations import EnsembleStudy, combined_all, ranking_of
from medusa_jax.studies.derived_run import (
    Conducted,
    interval_note,
    made_by,
    written,
)
from medusa_jax.studies.ensembles_table import WORDS, Utterances, ensemble_rows, question_rows
from medusa_jax.studies.ranking import Ranking
from medusa_jax.studies.study import Study

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
    """Train the members that are missing, and write `studies/ensemble-PART.csv`, `.json` and `.md`.

    `prepared` is the study's own run. Raises what `runs.train.train` raises, and `EvaluationError`
    where members of the base run are not trained or the scores cannot be computed.
    """
    if study.seeds > 1:
        train(prepared)
    return written(study.base.run, "ensemble", studies_of(study, prepared))


def studies_of(study: EnsembleStudy, prepared: Prepared) -> dict[str, Study]:
    """The table of each part."""
    ranking = ranking_of(study, prepared)
    by_seed = combined_all(study, prepared, ranking)
    left_out = {
        variant: reason
        for folds in by_seed
        for one in folds
        for variant, reason in one.left_out.items()
    }
    variants = [variant for variant in by_seed[0][0].predictions if variant not in left_out]
    found = {}
    for part in labelled_parts(prepared):
        posteriors = {one: _posteriors(by_seed, one, part.rows) for one in variants}
        found[part.name] = _study(study, prepared, part, posteriors, ranking, left_out)
    return found


def _posteriors(
    by_seed: Sequence[Sequence[Combined]], variant: Variant, rows_of_folds: Sequence[np.ndarray]
) -> np.ndarray:
    """A variant's posteriors on a part, `[r, n, c]`; each fold's rows come from its own models."""

    def logits_nc(folds: Sequence[Combined]) -> np.ndarray:
        pairs = zip(folds, rows_of_folds, strict=True)
        return np.concatenate([one.predictions[variant].logits[rows] for one, rows in pairs])

    logits_rnc = np.stack([logits_nc(folds) for folds in by_seed])
    return np.asarray(softmax(logits_rnc.astype(np.float64), axis=2))


def _study(
    study: EnsembleStudy,
    prepared: Prepared,
    part: Part,
    posteriors: Mapping[Variant, np.ndarray],
    ranking: Ranking,
    left_out: Mapping[Variant, str],
) -> Study:
    config, ids = study.base.run.config, list(study.members)
    headline = headline_of(part.corpus)
    clusters = headline.clusters(part.corpus)
    on = Utterances(part.corpus.labels, part.corpus.classes, clusters, headline)
    rows = ensemble_rows(on, posteriors)
    notes = _notes(study, part, rows)
    return Study(
        title=f"{config.name}: ensembles on {part.name} of {part.corpus.name}",
        corpus=part.facts,
        words=WORDS,
        rows=rows,
        questions=question_rows(on, posteriors, config.ensemble.fit_on),
        notes=[*notes, ranking.note(part.name), *_systems(rows), *_gaps(left_out)],
        reference=[] if part.corpus.conversational else _reference(study, rows),
        settings={
            "seeds": study.seeds,
            "members": ", ".join(ids),
            "members, the best first": ", ".join(ids[m] for m in ranking.places),
        },
        provenance=made_by(study.base, prepared),
    )


def _notes(study: EnsembleStudy, part: Part, rows: Sequence[Row]) -> Iterator[str]:
    """Sentences that a reader of the table must know."""
    tested = sum(row["against"] is not None for row in rows)
    if study.seeds > 1:
        yield f"Every number is the mean over {study.seeds} seeds, and sd their standard deviation."
        yield (
            "Seeds differ in initial weights, dropout and MixUp; the data, their order in training "
            "and the held-out part stay the same."
        )
    else:
        yield "One seed of every member; the soup averages the seeds of the meta-classifier alone."
    yield interval_note(part)
    yield (
        "A vote is compared with the soft vote of all members, a system that learns with the soft "
        "vote of its own members."
    )
    yield (
        "p: the predictions of the two exchanged at random for whole "
        f"{headline_of(part.corpus).cluster}s, corrected by Holm "
        f"over the {tested} lines that are compared, and separately over the questions."
    )
    yield (
        "Meta-classifiers and soups learned from "
        f"{study.base.run.config.ensemble.learned_from}, unless the column names another source."
    )


def _systems(rows: Sequence[Row]) -> Iterator[str]:
    """Descriptions of the systems that are not in the paper."""
    learned_from = {str(row["system"]): row["learned_from"] for row in rows}
    if GREEDY in learned_from:
        yield (
            f"{GREEDY}: meta-classifiers join the soup only while its selection score on the "
            "held-out part does not fall (Wortsman et al. 2022)."
        )
    if WEIGHTED in learned_from:
        yield (
            f"{WEIGHTED}: weights of the members' posteriors, at least 0 and 1 in all, with the "
            f"least cross-entropy on {_fitted_on(learned_from[WEIGHTED])}."
        )
    if STACKING in learned_from:
        yield (
            f"{STACKING}: fitted to the members' log-posteriors on "
            f"{_fitted_on(learned_from[STACKING])}, its regularisation "
            "chosen there by speaker-disjoint cross-validation."
        )
    if REFITTED & learned_from.keys():
        yield (
            "…_rebalanced: as for an even prior; …_tempered: at a temperature, which changes no "
            "first choice. Both are fitted on the held-out part."
        )


def _fitted_on(source: object) -> str:
    out_of_fold = source == OUT_OF_FOLD
    return "out-of-fold predictions of the training part" if out_of_fold else "the held-out part"


def _gaps(left_out: Mapping[Variant, str]) -> list[str]:
    return [f"Left out: {variant}, because {reason}." for variant, reason in left_out.items()]


def _reference(study: EnsembleStudy, rows: Sequence[Row]) -> list[Row]:
    """Our scores beside the paper's Table 3."""
    learned_from = (None, study.base.run.config.ensemble.fit_on)
    own = [row for row in rows if row["learned_from"] in learned_from]
    ours = {(row["system"], row["members"]): row for row in own}
    lines: list[Row] = []
    for system, sets in PAPER.items():
        for members, (macro_f1, accuracy) in sets.items():
            scores: Row = ours.get((system, members), {})
            lines.append(
                {
                    "system": system,
                    "members": members,
                    "Macro-F1": scores.get("macro_f1"),
                    "accuracy": scores.get("accuracy"),
                    "paper, members": "all 14" if members == ALL else members,
                    "paper, Macro-F1": macro_f1,
                    "paper, accuracy": accuracy,
                }
            )
    return lines
