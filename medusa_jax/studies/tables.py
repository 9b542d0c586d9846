"""The table of a study: systems with their scores over seeds and what each is compared with, for a terminal and as Markdown, CSV and JSON.

A row is a mapping of `words` (who it is about), `score_columns` and `difference_columns`; the four forms show the same rows.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medusa_jax.evaluation.format import SIGNIFICANT, p_text
from medusa_jax.evaluation.report import CorpusFacts
from medusa_jax.evaluation.seeds import SeedScores
from medusa_jax.evaluation.significance import Comparison
from medusa_jax.evaluation.tables import SYNTHETIC, Row, cells, csv_text, piped
from medusa_jax.files import write_text

if TYPE_CHECKING:
    from rich.table import Table

MARK = f"*: p < {SIGNIFICANT} after correction"
_NARROW = {
    "macro_f1": "Macro-F1",
    "seed_sd": "sd",
    "ece": "ECE",
    "difference": "difference",
    "p_corrected": "p",
}
"""What a terminal has room for."""
_WIDE = {
    "seeds": "seeds",
    "macro_f1": "Macro-F1",
    "seed_sd": "sd",
    "accuracy": "accuracy",
    "ece": "ECE",
    "against": "against",
    "difference": "difference",
    "p": "p",
    "p_corrected": "p, corrected",
}


_ASKED = {"question": "question", "one": "difference of", "other": "to"}


@dataclass(frozen=True)
class Study:
    """`words` maps the two or more columns that say who a row is about to their headers; `notes` are sentences that a reader must know.

    `reference` are lines of published numbers beside ours, one mapping of headers a line; `settings` says how the study was made.
    `questions` are lines of `question`, `one`, `other` and `difference_columns`: what the table is read for, each tested.
    """

    title: str
    corpus: CorpusFacts
    words: Mapping[str, str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    reference: Sequence[Row] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    questions: Sequence[Row] = ()


def score_columns(scores: SeedScores) -> dict[str, str | float | None]:
    """What a system scored: mean over its seeds, interval over speakers, spread over seeds."""
    return {
        "seeds": scores.seeds,
        "macro_f1": scores.macro_f1,
        "macro_f1_low": scores.interval.low,
        "macro_f1_high": scores.interval.high,
        "seed_sd": scores.seed_sd,
        "accuracy": scores.accuracy,
    }


def difference_columns(found: Comparison | None) -> dict[str, str | float | None]:
    """How a system compares with another; all None where it is compared with none."""
    names = ("difference", "difference_low", "difference_high", "p", "p_corrected")
    if found is None:
        return dict.fromkeys(names)
    values = (found.difference, found.interval.low, found.interval.high, found.p, found.corrected)
    return dict(zip(names, values, strict=True))


def write_study(folder: Path, name: str, study: Study) -> list[Path]:
    """Write `NAME.csv`, `NAME.json` and `NAME.md` into `folder`, each whole or not at all; returns their paths."""
    about = {
        "name": study.corpus.name,
        "synthetic": study.corpus.synthetic,
        "counts": dict(study.corpus.counts),
    }
    record = {
        "title": study.title,
        "corpus": about,
        "rows": list(map(dict, study.rows)),
        "questions": list(map(dict, study.questions)),
        "notes": list(study.notes),
        "reference": list(map(dict, study.reference)),
        "settings": dict(study.settings),
        "provenance": dict(study.provenance),
    }
    texts = {
        "csv": csv_text(study.rows),
        "json": json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        "md": _markdown(study),
    }
    paths = [folder / f"{name}.{form}" for form in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def study_table(study: Study) -> "Table":
    """The table for a terminal of 80 columns: rows of the same first word stand below it, further words side by side; what is significant is bold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    caption = "\n".join([MARK, *([SYNTHETIC] if study.corpus.synthetic else [])])
    table = Table(
        title=Text(study.title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=Text(caption)
    )
    first, *others = study.words
    spread = any(
        row.get("seed_sd") is not None for row in study.rows
    )  # beside it there is no room for the calibration
    headers, lines = _cells(
        {},
        study.rows,
        {name: header for name, header in _NARROW.items() if name != "ece" or not spread},
    )
    table.add_column(Text(", ".join(study.words[name] for name in others)), overflow="fold")
    for header in headers:
        table.add_column(Text(header), justify="right", no_wrap=True)
    above = None
    for row, line in zip(study.rows, lines, strict=True):
        if row[first] != above:
            above = row[first]
            table.add_section()
            table.add_row(Text(str(above)))
        who, *more = [str(row[name]) for name in others if row[name] is not None]
        said = ", ".join([who, *(word.replace("_", " ") for word in more)])
        table.add_row(*map(Text, (f"  {said}", *line)), style="bold" if significant(row) else None)
    return table


def question_table(study: Study) -> "Table":
    """The questions and their answers for a terminal of 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=Text(MARK))
    headers, lines = _cells({"question": "question"}, study.questions, _NARROW)
    for i, header in enumerate(headers):
        table.add_column(Text(header), justify="right" if i else "left", no_wrap=i > 0)
    for row, line in zip(study.questions, lines, strict=True):
        table.add_row(*map(Text, line), style="bold" if significant(row) else None)
    return table


def significant(row: Row) -> bool:
    """Whether the row's difference is, after correction."""
    p = row.get("p_corrected")
    return isinstance(p, float | int) and p < SIGNIFICANT


def _markdown(study: Study) -> str:
    counts = ", ".join(f"{count:,} {what}" for what, count in study.corpus.counts.items())
    parts = [f"# {study.title}", f"Corpus: {study.corpus.label}; {counts}."]
    parts += [f"**{SYNTHETIC}**"] if study.corpus.synthetic else []
    headers, lines = _cells(study.words, study.rows, _WIDE)
    worded = [
        i < len(study.words) or header == _WIDE["against"] for i, header in enumerate(headers)
    ]
    parts += [piped(headers, lines, worded).rstrip(), f"{MARK}."]
    if study.questions:
        headers, lines = _cells(_ASKED, study.questions, _WIDE)
        parts += [
            "## Questions",
            piped(headers, lines, [i < len(_ASKED) for i in range(len(headers))]).rstrip(),
            "## How to read it",
        ]
    parts += study.notes
    if study.reference:
        headers = list(study.reference[0])
        lines = [[_number(header, row[header]) for header in headers] for row in study.reference]
        parts += [
            "## Beside the published numbers",
            piped(headers, lines, [i == 0 for i in range(len(headers))]).rstrip(),
        ]
        parts += [
            "The published numbers were measured on MSP-Podcast; on another corpus only the directions can be set side by side."
        ]
    for title, told in (
        ("How it was made", study.settings),
        ("Where the numbers come from", study.provenance),
    ):
        if told:
            parts += [f"## {title}", "\n".join(f"- {key}: {value}" for key, value in told.items())]
    return "\n\n".join(parts) + "\n"


def _cells(
    words: Mapping[str, str], rows: Sequence[Row], columns: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Headers and formatted cells of the words and of those `columns` that at least one row fills."""
    headers, lines = cells(rows, {**words, **columns})
    for name, form in _FORMS.items():
        if columns.get(name) in headers:
            place = headers.index(columns[name])
            for row, line in zip(rows, lines, strict=True):
                line[place] = form(row)
    return headers, lines


def _difference(row: Row) -> str:
    """With signs, and its interval."""
    values = [row.get(name) for name in ("difference", "difference_low", "difference_high")]
    signed = [f"{value:+z.3f}" for value in values if isinstance(value, int | float)]
    return f"{signed[0]} [{signed[1]}, {signed[2]}]" if signed else ""


_FORMS: dict[str, Callable[[Row], str]] = {
    "difference": _difference,
    "p": lambda row: (
        p_text(row["p"], marked=False) or ""
    ),  # only what holds after correction is marked
    "p_corrected": lambda row: p_text(row["p_corrected"]) or "",
}


def _number(header: str, value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:+.2f}" if "%" in header else f"{value:.3f}"
