"""A run's report: `report.md` to read, `scores.json` and `scores.csv` to compute with, all from the same rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.metrics import ClassificationScores
from medusa_jax.evaluation.tables import (
    SYNTHETIC,
    Row,
    SystemScores,
    csv_text,
    markdown_table,
    rows_of,
)
from medusa_jax.files import write_text


@dataclass(frozen=True)
class CorpusFacts:
    """What a reader must know of the utterances behind the numbers: the corpus, whether it is generated, how many of what."""

    name: str
    synthetic: bool
    counts: Mapping[str, int]

    @property
    def label(self) -> str:
        """The name as it stands beside every number."""
        return f"{self.name} (synthetic)" if self.synthetic else self.name


def write_report(
    folder: Path,
    title: str,
    corpus: CorpusFacts,
    systems: Sequence[SystemScores],
    *,
    confusion: str | None = None,
    notes: Sequence[str] = (),
    provenance: Mapping[str, object] | None = None,
) -> Path:
    """Write `report.md`, `scores.json` and `scores.csv` into `folder`, each whole or not at all; returns the report's path.

    `confusion` names the system whose confusion matrix the report shows (default: the last one with class scores); `notes`
    are sentences that a reader of the scores must know;
    `provenance` (config digest, versions, machine, …) must be JSON-serialisable. Raises `EvaluationError` for no
    systems, two of the same name, or an unknown `confusion`.
    """
    shown = _shown(systems, confusion)
    provenance = dict(provenance or {})
    rows = [{**row, "corpus": corpus.label} for row in rows_of(systems)]
    scores = {
        "title": title,
        "corpus": {
            "name": corpus.name,
            "synthetic": corpus.synthetic,
            "counts": dict(corpus.counts),
        },
        "systems": rows,
        "notes": list(notes),
        "confusion": _confusion(shown) if shown else None,
        "provenance": provenance,
    }
    write_text(
        folder / "scores.json",
        json.dumps(scores, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
    )
    write_text(folder / "scores.csv", csv_text(rows))
    write_text(folder / "report.md", _markdown(title, corpus, systems, shown, notes, provenance))
    return folder / "report.md"


def read_scores(path: Path) -> list[Row]:
    """The rows of a `scores.json`, to set beside other systems' in one table. Raises `EvaluationError` if it is not one."""
    hint = "name the run folder that holds the scores.json of `medusa evaluate`"
    try:
        systems = json.loads(path.read_text(encoding="utf-8"))["systems"]
        return [dict(row) | {"system": str(row["system"])} for row in systems]
    except OSError as error:
        raise EvaluationError(
            f"no scores to read: {error.strerror}", where=path, hint=hint
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            "this is not a scores.json of this project", where=path, hint=hint
        ) from error


def _shown(systems: Sequence[SystemScores], name: str | None) -> SystemScores | None:
    names = [system.name for system in systems]
    repeated = {n for n in names if names.count(n) > 1}
    if not names or repeated:
        raise EvaluationError(
            f"two systems are called {min(repeated)!r}"
            if repeated
            else "there are no systems to report on"
        )
    scored = {system.name: system for system in systems if system.classification}
    if name is not None and name not in scored:
        raise EvaluationError(
            f"no system called {name!r} has class scores", hint=f"choose one of {', '.join(scored)}"
        )
    return scored[name] if name is not None else next(reversed(scored.values()), None)


def _confusion(system: SystemScores) -> dict[str, object]:
    assert system.classification is not None, "only systems with class scores are shown"
    return {
        "system": system.name,
        "classes": system.classification.classes,
        "counts": system.classification.confusion,
    }


def _markdown(
    title: str,
    corpus: CorpusFacts,
    systems: Sequence[SystemScores],
    shown: SystemScores | None,
    notes: Sequence[str],
    provenance: Mapping[str, object],
) -> str:
    counts = ", ".join(f"{count:,} {what}" for what, count in corpus.counts.items())
    parts = [f"# {title}", f"Corpus: {corpus.label}; {counts}."]
    parts += [f"**{SYNTHETIC}**"] if corpus.synthetic else []
    parts += ["## Scores", markdown_table(systems).rstrip(), *_notes(systems), *notes]
    if shown and shown.classification:
        parts += [f"## Classes: {shown.name}", _class_table(shown.classification)]
        parts += [f"## Confusion: {shown.name}", _confusion_table(shown.classification)]
    if provenance:
        parts += [
            "## Where the numbers come from",
            "\n".join(f"- {key}: {value}" for key, value in provenance.items()),
        ]
    return "\n\n".join(parts) + "\n"


def _notes(systems: Sequence[SystemScores]) -> list[str]:
    """What a reader of the table must know: what the brackets mean, and which classes had nothing to score."""
    interval = next((system.interval for system in systems if system.interval), None)
    absent = sorted(
        {c for system in systems if system.classification for c in system.classification.absent}
    )
    notes = []
    if interval:
        clusters = (
            f"{interval.clusters:,} speakers (each utterance of an unknown speaker counts as one)"
        )
        notes.append(
            f"In brackets: the {interval.level:.0%} interval of Macro-F1, bootstrap over {clusters}."
        )
    if absent:
        notes.append(f"No example of {', '.join(absent)} among the labels: counted as F1 = 0.")
    return notes


def _class_table(scores: ClassificationScores) -> str:
    head = "| class | F1 | precision | recall | utterances |\n|---|---:|---:|---:|---:|\n"
    rows = zip(
        scores.classes, scores.f1, scores.precision, scores.recall, scores.confusion, strict=True
    )
    return head + "\n".join(
        f"| {c} | {f1:.3f} | {p:.3f} | {r:.3f} | {sum(counts)} |" for c, f1, p, r, counts in rows
    )


def _confusion_table(scores: ClassificationScores) -> str:
    head = f"| true ↓, predicted → | {' | '.join(scores.classes)} |\n|---|{'---:|' * len(scores.classes)}\n"
    return head + "\n".join(
        f"| {c} | {' | '.join(map(str, counts))} |"
        for c, counts in zip(scores.classes, scores.confusion, strict=True)
    )
