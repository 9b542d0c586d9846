"""The numbers of a finished run, gathered for its report from what its folder holds."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np

from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble.ensemble_folder import load_ensemble
from medusa_jax.ensemble.meta import MetaClassifiers
from medusa_jax.errors import CheckpointError, EvaluationError
from medusa_jax.evaluation.details import Found
from medusa_jax.evaluation.headline import headline_of_row
from medusa_jax.evaluation.picked_by_test import picked_rows
from medusa_jax.evaluation.scores_file import ScoresFile
from medusa_jax.evaluation.tables import Row
from medusa_jax.report.contents import Findings
from medusa_jax.runs.evaluate import scores_of, weights_of
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.provenance import known_provenance, reused_members
from medusa_jax.runs.run import Run
from medusa_jax.runs.submit import untrained_attributes
from medusa_jax.studies.study_file import ABLATION, ENSEMBLE, read_study

_STUDIES = {
    "ablation": (ABLATION, "medusa ablate"),
    "ensemble": (ENSEMBLE, "medusa ensemble --study"),
}
# Key of `metrics.jsonl` → column. The score that selects epochs was maximised over them.
_CURVES = {
    "epoch": "epoch",
    "phase": "phase",
    "loss": "loss",
    "selection_score": "selection_score",
    "seconds": "seconds",
}


def findings(prepared: Prepared) -> Findings:
    """The report's numbers, on the most important part and the run's `system`.

    Raises `EvaluationError` where the run cannot be scored.
    """
    files, config = scores_of(prepared), prepared.run.config
    part, last = list(files.items())[-1]
    assert last.details is not None, "the last part has details"
    curves, no_curves = _curves(prepared)
    ablation, _, ablation_notes = _study(prepared.run, "ablation")
    ensembles, questions, ensemble_notes = _study(prepared.run, "ensemble")
    worst, players, no_worst = _worst(prepared.corpus, last.details.tables["worst"])
    detailed = {
        name: (rows, last.details.missing.get(name, ""))
        for name, rows in last.details.tables.items()
    }
    found: dict[str, Found] = {
        "scores": _scores(files, untrained_attributes(config)),
        **_beside(last),
        **detailed,  # type: ignore[dict-item]
        "worst": (worst, no_worst or last.details.missing.get("worst", "")),
        "curves": (curves, no_curves),
        "weights": _weights(prepared),
        "ablation": ablation,
        "ensembles": ensembles,
        "questions": questions,
    }
    notes = {f"ablation-{where}": lines for where, lines in ablation_notes.items()}
    notes |= {f"ensembles-{where}": lines for where, lines in ensemble_notes.items()}
    notes["weights"] = weights_of(prepared)
    missing = {name: lacking for name, (_, lacking) in found.items() if lacking}
    return Findings(
        run=config.name,
        about=config.about,
        corpus=last.corpus,
        classes=prepared.corpus.classes,
        part=part,
        system=last.details.system,
        members={member.id: member.modalities for member in config.members},
        learner=config.ensemble.learner,
        learned_from=config.ensemble.learned_from,
        tables={name: rows for name, (rows, _) in found.items()},
        missing=missing,
        notes=notes,
        provenance=_provenance(prepared, curves),
        config=config.model_dump(mode="json"),
        players=players,
    )


def _scores(files: dict[str, ScoresFile], untrained: Sequence[str]) -> Found:
    """Every system on every part, the last part first; `untrained` members have meaningless
    attributes.
    """
    rows: list[Row] = [
        {"part": part, **row} for part, file in reversed(files.items()) for row in file.rows
    ]
    lacking = []
    if unrated := [part for part, file in files.items() if file.systems[0].ccc_mean is None]:
        lacking.append(f"No attribute ratings to compare with in {', '.join(unrated)}.")
    if untrained and len(unrated) < len(files):
        lacking.append(f"The attributes of {', '.join(untrained)} were never trained: ignore them.")
    if lone := [part for part, file in files.items() if file.systems[0].macro_f1_low is None]:
        cluster = headline_of_row(rows[0]).cluster
        lacking.append(f"No interval in {', '.join(lone)}: it takes two {cluster}s.")
    return rows, " ".join(lacking)


def _beside(last: ScoresFile) -> dict[str, Found]:
    """Of conversations: the epochs that test labels would pick, and published results."""
    picked = picked_rows(last.picked_by_test, last.rows)
    published: list[Row] = list(last.published)
    found = {"picked_by_test": picked, "published": published}
    return {name: (rows, "") for name, rows in found.items() if rows}


def _worst(corpus: Corpus, rows: Sequence[Row]) -> tuple[list[Row], dict[str, str], str]:
    """The rows with transcripts, URIs of the audio that is on this machine, and what is missing."""
    place = {name: n for n, name in enumerate(corpus.frame["id"])}
    found, players = list[Row](), dict[str, str]()
    for row in rows:
        name = str(row["utterance"])
        text, path = corpus.frame["transcript"].iat[place[name]], corpus.audio_path(place[name])
        found.append({**row, "transcript": text if isinstance(text, str) else None})
        if path.is_file():
            players[name] = path.resolve().as_uri()
    lacking = "The audio of these utterances is not on this machine."
    return found, players, lacking if rows and not players else ""


def _curves(prepared: Prepared) -> Found:
    """Every member's epochs in every fold: stage, training loss, selection score."""
    run, rows, lacking = prepared.run, list[Row](), dict[str, None]()
    for fold in range(len(prepared.folds)):
        for member in run.config.members:
            found = list(_epochs(run, fold, member.id))
            rows += found
            if not found:
                lacking[member.id] = None
    return rows, f"No metrics of {', '.join(lacking)}." if lacking else ""


def _epochs(run: Run, fold: int, member: str) -> Iterator[Row]:
    """The epochs of a member; none if they cannot be read."""
    path = run.metrics_file(fold, member)
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        rows = [{column: line[key] for key, column in _CURVES.items()} for line in lines]
    except (OSError, ValueError, KeyError):
        return
    for row in rows:
        yield {"fold": fold + 1, "member": member, **row}


def _weights(prepared: Prepared) -> Found:
    """Weights of the members: of each fold's weighted vote, else of the first fold's soup.

    The soup's are those of a member's posterior of a class for that class.
    """
    run, classes = prepared.run, prepared.corpus.classes
    if run.config.ensemble.kind == "weighted":
        return _vote_weights(run, len(prepared.folds)), ""
    try:
        found = MetaClassifiers.load(run.meta_folder(0))
    except CheckpointError as error:
        return [], f"The meta-classifier cannot be shown: {error.what}."
    members = [member.id for member in run.config.members]
    weights_fc = np.asarray(found.soup()["w"])
    weights_mfc = weights_fc.reshape(len(members), -1, weights_fc.shape[1])
    own_mc = np.einsum("mcc->mc", weights_mfc[:, : len(classes), : len(classes)])
    return [
        {"member": member, "class": name, "weight": float(own_mc[m, c])}
        for m, member in enumerate(members)
        for c, name in enumerate(classes)
    ], ""


def _vote_weights(run: Run, folds: int) -> list[Row]:
    """Each member's weight in the weighted vote of each fold."""
    records = [load_ensemble(run.ensemble_folder(fold)).record for fold in range(folds)]
    return [
        {"fold": fold, "member": member, "weight": weight}
        for fold, record in enumerate(records, start=1)
        for member, weight in zip(record.members, record.vote_weights, strict=True)
    ]


def _study(run: Run, kind: str) -> tuple[Found, Found, dict[str, Sequence[str]]]:
    """Rows, questions and notes (by part) of `studies/KIND-PART.csv` of every part.

    A file that cannot be read is named in what is missing.
    """
    columns, command = _STUDIES[kind]
    rows, questions, wrong = list[Row](), list[Row](), list[str]()
    notes = dict[str, Sequence[str]]()
    for path in sorted(run.studies_folder.glob(f"{kind}-*.csv")):
        part = path.stem.removeprefix(f"{kind}-")
        try:
            found = read_study(path, columns)
        except EvaluationError as error:
            wrong.append(f"{path.name} is left out: {error.what}.")
            continue
        rows += [{"part": part, **row} for row in found.rows]
        questions += [{"part": part, **row} for row in found.questions]
        notes[part] = found.notes
    if not rows and not wrong:
        wrong = [f"This run has no such study yet: `{command}` makes it."]
    return (rows, " ".join(wrong)), (questions, ""), notes


def _provenance(prepared: Prepared, epochs: Sequence[Row]) -> dict[str, object]:
    """Digests of configuration, corpus and features, versions, machine, and time of training."""
    run, known = prepared.run, known_provenance(prepared.run)
    first, *others = known["made_by"] or [{}]
    later = "; ".join(_differing(first, other) for other in others)
    return {
        "config": run.config.digest(),
        "corpus": prepared.corpus.digest(),
        **{f"{name} features": digest for name, digest in known.get("stores", {}).items()},
        **first,
        **({"later worked on by": later} if others else {}),
        **_training(run, epochs, reused_members(run)),
        "report written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _training(run: Run, epochs: Sequence[Row], reused: dict[str, str]) -> dict[str, object]:
    """Seconds of the run's own training, and the other runs whose members are reused."""

    def place(row: Row) -> str:
        folder = run.member_folder(int(row["fold"] or 1) - 1, str(row["member"]))
        return folder.relative_to(run.folder).as_posix()

    # Members that train together share the seconds of their epochs.
    own = {
        (row["fold"], row["epoch"], row["seconds"]) for row in epochs if place(row) not in reused
    }
    found: dict[str, object] = {}
    if own:
        found["seconds of training"] = round(sum(float(seconds or 0) for *_, seconds in own))
    if reused:
        runs = sorted({origin.split("/")[0] for origin in reused.values()})
        found["reused"] = f"{len(reused)} training(s), done in {', '.join(runs)}"
    return found


def _differing(first: dict[str, object], other: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in other.items() if value != first.get(name))
