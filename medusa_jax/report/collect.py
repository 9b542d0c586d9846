"""The numbers of a finished run, gathered for its report; what is missing is said, not hidden."""

import numpy as np
from scipy.special import softmax

from medusa_jax.ensemble.variants import SOFT, SOUP
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.balanced import f1_of
from medusa_jax.evaluation.calibration import agreement, calibration
from medusa_jax.evaluation.intervals import macro_f1_interval
from medusa_jax.evaluation.significance import compare
from medusa_jax.evaluation.subgroups import subgroup_scores
from medusa_jax.evaluation.tables import Row
from medusa_jax.report import records
from medusa_jax.report.contents import Findings
from medusa_jax.report.records import Found
from medusa_jax.runs.evaluate import Part, System, facts_of, scored_parts
from medusa_jax.runs.prepare import Prepared

WORST = 12  # surely wrong utterances that are shown


def findings(prepared: Prepared) -> Findings:
    """Everything that a report on the run says, about the last part and the system that is submitted, else the soup.

    Raises `EvaluationError` where the run cannot be scored.
    """
    parts = scored_parts(prepared)
    part, config = parts[-1], prepared.run.config
    wanted = config.submission.system if config.submission else SOUP
    shown = next(system for system in part.systems if system.name == wanted)
    epochs, no_epochs = records.curves(prepared)
    worst, players, no_worst = _worst(part, shown)
    ablation, _, ablation_notes = records.study(prepared.run, "ablation")
    ensembles, questions, ensemble_notes = records.study(prepared.run, "ensemble")
    notes = {"ablation": ablation_notes, "ensembles": ensemble_notes}
    found: dict[str, Found] = {
        "scores": _scores(parts),
        "comparisons": _comparisons(part, shown),
        "classes": _classes(part, shown),
        "confusion": (_confusion(part, shown), ""),
        "curves": (epochs, no_epochs),
        "weights": records.weights(prepared),
        **_belief(part, shown),
        "groups": _groups(part, shown),
        "ablation": ablation,
        "ensembles": ensembles,
        "questions": questions,
        "worst": (worst, no_worst),
    }
    return Findings(
        run=config.name,
        about=config.about,
        corpus=facts_of(part),
        classes=part.corpus.classes,
        part=part.name,
        system=shown.name,
        members={member.id: member.modalities for member in config.members},
        learned_from=config.ensemble.learned_from,
        tables={name: rows for name, (rows, _) in found.items()},
        missing={name: lacking for name, (_, lacking) in found.items() if lacking},
        notes={
            f"{table}-{part}": said
            for table, of_part in notes.items()
            for part, said in of_part.items()
        },
        provenance=records.made_by(prepared, epochs),
        config=config.model_dump(mode="json"),
        players=players,
    )


def _scores(parts: list[Part]) -> Found:
    """Every system on every part, the last part first."""
    rows: list[Row] = [
        {"part": part.name, **system.scores.row()}
        for part in reversed(parts)
        for system in part.systems
    ]
    unrated = [part.name for part in parts if part.systems[0].scores.attributes is None]
    lone = [part.name for part in parts if part.systems[0].scores.interval is None]
    lacking = f"No attribute ratings to compare with in {', '.join(unrated)}. " if unrated else ""
    return rows, (
        lacking + (f"No interval in {', '.join(lone)}: it takes two speakers." if lone else "")
    ).strip()


def _comparisons(part: Part, shown: System) -> Found:
    """The shown system against every other, corrected together."""
    guesses = {system.name: system.outputs.logits.argmax(axis=1) for system in part.systems}
    pairs = [(shown.name, name) for name in guesses if name != shown.name]
    try:
        found = compare(
            part.corpus.labels, guesses, pairs, part.corpus.classes, part.corpus.frame["speaker"]
        )
    except EvaluationError as error:
        return [], f"Differences cannot be tested: {error.what}."
    rows: list[Row] = [
        {
            "system": one.one,
            "against": one.other,
            "difference": one.difference,
            "difference_low": one.interval.low,
            "difference_high": one.interval.high,
            "p": one.p,
            "p_corrected": one.corrected,
        }
        for one in found
    ]
    return rows, ""


def _classes(part: Part, shown: System) -> Found:
    """Scores of each class that has an example, F1 with its interval."""
    corpus, guess_n, scores = (
        part.corpus,
        shown.outputs.logits.argmax(axis=1),
        shown.scores.classification,
    )
    assert scores is not None
    rows: list[Row] = []
    for c, name in enumerate(corpus.classes):
        if name in scores.absent:
            continue
        row: dict[str, str | float | None] = {
            "class": name,
            "utterances": sum(scores.confusion[c]),
            "f1": scores.f1[c],
        }
        if shown.scores.interval:
            one = macro_f1_interval(
                corpus.labels,
                guess_n,
                corpus.classes,
                corpus.frame["speaker"],
                metric=lambda x, c=c: f1_of(x)[..., c],
            )  # type: ignore[misc]
            row |= {"f1_low": one.low, "f1_high": one.high}
        rows.append(row | {"precision": scores.precision[c], "recall": scores.recall[c]})
    return (
        rows,
        f"No labelled example of {', '.join(scores.absent)}: counted as F1 = 0 in the means."
        if scores.absent
        else "",
    )


def _confusion(part: Part, shown: System) -> list[Row]:
    """Counts, and shares of each true class."""
    assert shown.scores.classification is not None
    counts = shown.scores.classification.confusion
    names = part.corpus.classes
    return [
        {
            "true": true,
            "predicted": predicted,
            "utterances": counts[i][j],
            "share": counts[i][j] / sum(counts[i]) if sum(counts[i]) else None,
        }
        for i, true in enumerate(names)
        for j, predicted in enumerate(names)
    ]


def _belief(part: Part, shown: System) -> dict[str, Found]:
    """Calibration with its reliability diagram, of the shown system and the soft vote; agreement with the votes, of all."""
    measured, bins = list[Row](), list[Row]()
    for system in part.systems:
        if system.name in {shown.name, SOFT}:
            one = calibration(part.corpus.labels, posteriors_of(system))
            measured.append(
                {"system": system.name, "ece": one.ece, "overconfidence": one.overconfidence}
            )
            columns = zip(one.confidence, one.accuracy, one.utterances, strict=True)
            bins += [
                {"system": system.name, "confidence": x, "accuracy": y, "utterances": n}
                for x, y, n in columns
            ]
    return {"calibration": (measured, ""), "reliability": (bins, ""), "agreement": _agreement(part)}


def _agreement(part: Part) -> Found:
    """Every system's posteriors against the raters' votes; one vote alone is no distribution to agree with."""
    soft_nc = np.nan_to_num(part.corpus.soft[:, : len(part.corpus.classes)])
    soft_nc[(soft_nc.max(axis=1) == 1) & (part.corpus.votes.sum(axis=1) < 2)] = 0
    total_n = soft_nc.sum(axis=1, keepdims=True)
    if not total_n.any():
        return (
            [],
            "These utterances have no votes of several raters, so agreement with them cannot be measured.",
        )
    votes_nc = np.divide(soft_nc, total_n, out=np.zeros_like(soft_nc), where=total_n > 0)
    rows: list[Row] = []
    for system in part.systems:
        one = agreement(votes_nc, posteriors_of(system))
        correlation = one.entropy_correlation if np.isfinite(one.entropy_correlation) else None
        rows.append(
            {
                "system": system.name,
                "kl": one.kl,
                "cross_entropy": one.cross_entropy,
                "entropy_correlation": correlation,
                "utterances": one.utterances,
            }
        )
    return rows, ""


def _groups(part: Part, shown: System) -> Found:
    """Scores by gender, length and agreement of the raters."""
    rows: list[Row] = []
    for one in subgroup_scores(part.corpus, posteriors_of(shown)):
        bounds = (
            {"macro_f1_low": one.interval.low, "macro_f1_high": one.interval.high}
            if one.interval
            else {}
        )
        size = {"utterances": one.utterances, "classes": one.classes}
        rows.append(
            {
                "by": one.by,
                "group": one.group,
                **size,
                "macro_f1": one.macro_f1,
                **bounds,
                "accuracy": one.accuracy,
            }
        )
    known = {str(row["by"]) for row in rows}
    lacking = [by for by in ("gender", "length", "agreement of raters") if by not in known]
    return (
        rows,
        f"Not known of these utterances, or too few: {', '.join(lacking)}." if lacking else "",
    )


def _worst(part: Part, shown: System) -> tuple[list[Row], dict[str, str], str]:
    """The utterances with the most confident wrong choices, the addresses of their audio where it is on this machine, and what is missing."""
    corpus, posteriors_nc = part.corpus, posteriors_of(shown)
    guess_n = posteriors_nc.argmax(axis=1)
    wrong = np.flatnonzero((corpus.labels >= 0) & (guess_n != corpus.labels))
    rows, players = list[Row](), dict[str, str]()
    for n in wrong[np.argsort(-posteriors_nc[wrong, guess_n[wrong]], kind="stable")][:WORST]:
        name, said, path = (
            str(corpus.frame["id"].iat[n]),
            corpus.frame["transcript"].iat[n],
            corpus.audio_path(int(n)),
        )
        chosen = {
            "label": corpus.classes[corpus.labels[n]],
            "prediction": corpus.classes[guess_n[n]],
        }
        heard = said if isinstance(said, str) else None
        rows.append(
            {
                "utterance": name,
                **chosen,
                "confidence": float(posteriors_nc[n, guess_n[n]]),
                "transcript": heard,
            }
        )
        if path.is_file():
            players[name] = path.resolve().as_uri()
    lacking = (
        "The audio of these utterances is not on this machine."
        if rows and not players
        else ""
        if rows
        else "No labelled utterance is wrong."
    )
    return rows, players, lacking


def posteriors_of(system: System) -> np.ndarray:
    """`[n, c]`, float64: sums to 1 as exactly as calibration wants it."""
    return softmax(system.outputs.logits.astype(np.float64), axis=1)
