"""The scores of a part on disk: `scores.json`, the same as `scores.csv`, and `report.md` to read.

`scores.json` is the only record of a run's scores: tables, report and leaderboard read it here.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from pydantic.dataclasses import dataclass

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.details import Details
from medusa_jax.evaluation.metrics import ClassificationScores
from medusa_jax.evaluation.picked_by_test import PickedByTest, picked_sentences
from medusa_jax.evaluation.published_results import COLUMNS as PUBLISHED
from medusa_jax.evaluation.published_results import NOTE as PUBLISHED_NOTE
from medusa_jax.evaluation.tables import (
    SYNTHETIC,
    Row,
    SystemScores,
    csv_text,
    markdown_rows,
    markdown_table,
    rows_of,
)
from medusa_jax.files import write_text

SCORES = "scores.json"


@dataclass(frozen=True)
class CorpusFacts:
    """The corpus behind the numbers: its name, whether it is generated, and counts by name."""

    name: str
    synthetic: bool
    counts: dict[str, int]

    @property
    def label(self) -> str:
        """The name as it stands beside every number."""
        return f"{self.name} (synthetic)" if self.synthetic else self.name


class SystemLine(BaseModel):
    """A system's scores, further ones (`f1_CLASS`, …) by name; None: not scored."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, int | FiniteFloat | None]

    system: str
    kind: str
    weighted_f1: FiniteFloat | None = None
    weighted_f1_low: FiniteFloat | None = None
    weighted_f1_high: FiniteFloat | None = None
    macro_f1: FiniteFloat | None = None
    macro_f1_low: FiniteFloat | None = None
    macro_f1_high: FiniteFloat | None = None
    micro_f1: FiniteFloat | None = None
    accuracy: FiniteFloat | None = None
    uar: FiniteFloat | None = None
    ccc_mean: FiniteFloat | None = None
    utterances: int | None = None


class ScoresFile(BaseModel):
    """A `scores.json`.

    `details` analyses one system; only the part that matters most has them. `provenance` holds the
    digests of configuration (`config`), `corpus` and `predictions`. Of conversations alone:
    `picked_by_test`, the epochs that test labels would pick, and `published` results.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str = ""
    corpus: CorpusFacts
    systems: tuple[SystemLine, ...] = Field(min_length=1)
    notes: tuple[str, ...] = ()
    picked_by_test: tuple[PickedByTest, ...] = ()
    published: tuple[dict[str, str | FiniteFloat | None], ...] = ()
    details: Details | None = None
    provenance: dict[str, Any]

    @property
    def rows(self) -> list[Row]:
        """The systems as rows of a table."""
        return [system.model_dump(exclude_unset=True) for system in self.systems]


def write_scores(
    folder: Path,
    title: str,
    corpus: CorpusFacts,
    systems: Sequence[SystemScores],
    *,
    shown: str | None = None,
    details: Details | None = None,
    notes: Sequence[str] = (),
    picked: Sequence[PickedByTest] = (),
    published: Sequence[Row] = (),
    provenance: Mapping[str, object] | None = None,
) -> Path:
    """Write `scores.json`, `scores.csv` and `report.md` into `folder`, each whole or not at all.

    `shown` names the system whose classes and confusion `report.md` shows (default: the last one
    with class scores). `notes` are sentences for its reader; `picked` are no results, and named
    so; `published` results stand beside ours; `provenance` is JSON-serialisable. Returns the path
    of `report.md`. Raises `EvaluationError` for no systems, two of one name, or an unknown `shown`.
    """
    chosen = _shown(systems, shown)
    rows, provenance = rows_of(systems), dict(provenance or {})
    found = ScoresFile.model_validate(
        {
            "title": title,
            "corpus": corpus,
            "systems": rows,
            "notes": notes,
            "picked_by_test": picked,
            "published": list(map(dict, published)),
            "details": details,
            "provenance": provenance,
        }
    )
    record = found.model_dump(mode="json") | {"systems": rows}
    for name in ("picked_by_test", "published"):
        if not record[name]:
            del record[name]
    write_text(
        folder / SCORES, json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    )
    labelled: list[Row] = [{**row, "corpus": corpus.label} for row in rows]
    write_text(folder / "scores.csv", csv_text(labelled))
    write_text(folder / "report.md", _markdown(found, systems, chosen))
    return folder / "report.md"


def read_scores(path: Path) -> ScoresFile:
    """Read and check a `scores.json`. Raises `EvaluationError` if it is missing or damaged."""
    hint = "run `medusa evaluate` on that run's folder again"
    try:
        return ScoresFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise EvaluationError(
            f"no scores to read: {error.strerror}", where=path, hint=hint
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{part}." for part in first["loc"]).rstrip(".")
        raise EvaluationError(
            f"its scores.json is damaged ({place + ': ' if place else ''}{first['msg']})",
            where=path,
            hint=hint,
        ) from error


def _shown(systems: Sequence[SystemScores], name: str | None) -> SystemScores | None:
    names = [system.name for system in systems]
    if not names:
        raise EvaluationError("there are no systems to report on")
    if repeated := {n for n in names if names.count(n) > 1}:
        raise EvaluationError(f"two systems are called {min(repeated)!r}")
    scored = {system.name: system for system in systems if system.classification}
    if name is None:
        return next(reversed(scored.values()), None)
    if name not in scored:
        raise EvaluationError(
            f"no system called {name!r} has class scores", hint=f"choose one of {', '.join(scored)}"
        )
    return scored[name]


def _markdown(
    found: ScoresFile, systems: Sequence[SystemScores], shown: SystemScores | None
) -> str:
    counts = ", ".join(f"{count:,} {things}" for things, count in found.corpus.counts.items())
    parts = [f"# {found.title}", f"Corpus: {found.corpus.label}; {counts}."]
    parts += [f"**{SYNTHETIC}**"] if found.corpus.synthetic else []
    parts += ["## Scores", markdown_table(systems).rstrip(), *_notes(systems), *found.notes]
    parts += _beside(found)
    if shown and shown.classification:
        parts += [f"## Classes: {shown.name}", _class_table(shown.classification)]
        parts += [f"## Confusion: {shown.name}", _confusion_table(shown.classification)]
    if found.provenance:
        facts = "\n".join(f"- {key}: {value}" for key, value in found.provenance.items())
        parts += ["## Where the numbers come from", facts]
    return "\n\n".join(parts) + "\n"


def _notes(systems: Sequence[SystemScores]) -> list[str]:
    """The meaning of the brackets, and the classes without an example."""
    notes = []
    shown = next((system for system in systems if system.interval), None)
    if shown and shown.interval:
        interval, headline = shown.interval, shown.headline
        several = [title for name, title in _TITLES.items() if name in shown.intervals]
        whose = f"interval of {several[0]}" if len(several) == 1 else "intervals"
        notes.append(
            f"In brackets: the {interval.level:.0%} {whose}, bootstrap over "
            f"{interval.clusters:,} {headline.cluster}s{headline.unknown()}."
        )
    classes = [system.classification for system in systems if system.classification]
    if absent := sorted({name for scores in classes for name in scores.absent}):
        notes.append(f"No example of {', '.join(absent)} among the labels: counted as F1 = 0.")
    return notes


_TITLES = {"weighted_f1": "weighted F1", "accuracy": "accuracy", "macro_f1": "Macro-F1"}


def _beside(found: ScoresFile) -> list[str]:
    """The epochs picked by test labels, and published results, beside the scores; may be none."""
    parts = []
    if found.picked_by_test:
        lines = picked_sentences(found.picked_by_test, found.rows)
        parts += ["## Not results", "\n".join(f"- {line}" for line in lines)]
    if found.published:
        table = markdown_rows(found.published, PUBLISHED).rstrip()
        parts += ["## Published results", table, PUBLISHED_NOTE]
    return parts


def _class_table(scores: ClassificationScores) -> str:
    head = "| class | F1 | precision | recall | utterances |\n|---|---:|---:|---:|---:|\n"
    rows = zip(
        scores.classes, scores.f1, scores.precision, scores.recall, scores.confusion, strict=True
    )
    return head + "\n".join(
        f"| {c} | {f1:.3f} | {p:.3f} | {r:.3f} | {sum(counts)} |" for c, f1, p, r, counts in rows
    )


def _confusion_table(scores: ClassificationScores) -> str:
    head = f"| true ↓, predicted → | {' | '.join(scores.classes)} |\n"
    head += f"|---|{'---:|' * len(scores.classes)}\n"
    return head + "\n".join(
        f"| {c} | {' | '.join(map(str, counts))} |"
        for c, counts in zip(scores.classes, scores.confusion, strict=True)
    )
