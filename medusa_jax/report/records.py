"""What a run's folder keeps beside its outputs, as rows for its report: training, the meta-classifier's weights, studies, provenance."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from medusa_jax.ensemble.meta import MetaClassifiers
from medusa_jax.errors import CheckpointError, EvaluationError
from medusa_jax.evaluation.tables import Row
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.provenance import known_provenance
from medusa_jax.runs.run import Run
from medusa_jax.studies.derived_run import STUDIES
from medusa_jax.studies.study_file import ABLATION, ENSEMBLE, read_study

Found = tuple[list[Row], str]
"""Rows, and what is missing among them in a sentence (empty: nothing)."""

_STUDIES = {
    "ablation": (ABLATION, "medusa ablate"),
    "ensemble": (ENSEMBLE, "medusa ensemble --study"),
}


def curves(prepared: Prepared) -> Found:
    """Every member's epochs in every fold: stage, training loss, held-out Macro-F1."""
    run, rows, lacking = prepared.run, list[Row](), dict[str, None]()
    for fold in range(len(prepared.folds)):
        for member in run.config.members:
            try:
                text = (run.member_folder(fold, member.id) / "metrics.jsonl").read_text(
                    encoding="utf-8"
                )
                lines = [json.loads(line) for line in text.splitlines()]
                rows += [
                    {"fold": fold + 1, "member": member.id, **{name: line[name] for name in _KEPT}}
                    for line in lines
                ]
            except (OSError, ValueError, KeyError):
                lines = []
            if not lines:
                lacking[member.id] = None
    return rows, f"No metrics of {', '.join(lacking)}." if lacking else ""


_KEPT = ("epoch", "stage", "loss", "held_out_macro_f1", "seconds")


def weights(prepared: Prepared) -> Found:
    """The soup's weight of each member's posterior of a class for that same class, in the first fold: the reliability of model and class."""
    run, classes = prepared.run, prepared.corpus.classes
    try:
        weights_fc = np.asarray(
            MetaClassifiers.load(run.fold_folder(0) / "ensemble" / "checkpoints").soup()["w"]
        )
    except CheckpointError as error:
        return [], f"The meta-classifier cannot be shown: {error.what}."
    members = [member.id for member in run.config.members]
    per_member = weights_fc.reshape(len(members), -1, weights_fc.shape[1])[
        :, : len(classes), : len(classes)
    ]
    own_mc = np.einsum("mcc->mc", per_member)
    return [
        {"member": m, "class": c, "weight": float(own_mc[i, j])}
        for i, m in enumerate(members)
        for j, c in enumerate(classes)
    ], ""


def study(run: Run, kind: str) -> tuple[Found, Found, dict[str, Sequence[str]]]:
    """The rows of `studies/KIND-PART.csv` of every part, each with its part; the questions that the study asked, likewise; its notes by part.

    A file that cannot be read is said to be missing.
    """
    columns, command = _STUDIES[kind]
    rows, questions, notes, wrong = (
        list[Row](),
        list[Row](),
        dict[str, Sequence[str]](),
        list[str](),
    )
    for path in sorted((run.folder / STUDIES).glob(f"{kind}-*.csv")):
        part = {"part": path.stem.removeprefix(f"{kind}-")}
        try:
            found = read_study(path, columns)
        except EvaluationError as error:
            wrong.append(f"{path.name} is left out: {error.what}.")
            continue
        rows += [part | dict(row) for row in found.rows]
        questions += [part | dict(row) for row in found.questions]
        notes[part["part"]] = found.notes
    if not rows and not wrong:
        wrong = [f"This run has no such study yet: `{command}` makes it."]
    return (rows, " ".join(wrong)), (questions, ""), notes


def made_by(prepared: Prepared, epochs: list[Row]) -> dict[str, object]:
    """Everything that made the numbers: digests of configuration, corpus and features, versions, machine, and how long training took."""
    known = known_provenance(prepared.run)
    stores = {f"{name} features": digest for name, digest in known.get("stores", {}).items()}
    machines = known["made_by"] or [{}]
    later = (
        {"later worked on by": "; ".join(_differing(machines[0], one) for one in machines[1:])}
        if len(machines) > 1
        else {}
    )
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    head = {"config": prepared.run.config.digest(), "corpus": prepared.corpus.digest()}
    return (
        head
        | stores
        | machines[0]
        | later
        | _training(prepared.run, epochs)
        | {"report written": written}
    )


def _training(run: Run, epochs: list[Row]) -> dict[str, object]:
    """How long the run's own training took, and which other runs trained members of it."""
    adopted = known_provenance(run).get("adopted", {})
    places = [
        run.member_folder(int(row["fold"] or 1) - 1, str(row["member"]))
        .relative_to(run.folder)
        .as_posix()
        for row in epochs
    ]
    # Members that train together share the seconds of their epochs.
    own = {
        (row["fold"], row["epoch"], row["seconds"])
        for row, place in zip(epochs, places, strict=True)
        if place not in adopted
    }
    told: dict[str, object] = (
        {"seconds of training": round(sum(float(seconds or 0) for *_, seconds in own))}
        if own
        else {}
    )
    if adopted:
        runs = sorted({place.split("/")[0] for place in adopted.values()})
        told["taken over"] = f"{len(adopted)} training(s), done in {', '.join(runs)}"
    return told


def _differing(first: dict[str, object], other: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in other.items() if value != first.get(name))
