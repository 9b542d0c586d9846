"""A study's table for a terminal and as Markdown."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from medusa_jax.evaluation.format import SIGNIFICANT, p_text
from medusa_jax.evaluation.tables import SYNTHETIC, Row, cells, piped
from medusa_jax.studies.study import Study, significant

if TYPE_CHECKING:
    from rich.table import Table

MARK = f"*: p < {SIGNIFICANT} after correction"
_NARROW = {
    "weighted_f1": "weighted F1",
    "macro_f1": "Macro-F1",
    "seed_sd": "sd",
    "ece": "ECE",
    "difference": "difference",
    "p_corrected": "p",
}
"""The columns that fit a terminal."""
_WIDE = {
    "seeds": "seeds",
    "weighted_f1": "weighted F1",
    "macro_f1": "Macro-F1",
    "seed_sd": "sd",
    "accuracy": "accuracy",
    "ece": "ECE",
    "against": "against",
    "difference": "difference",
    "p": "p",
    "p_corrected": "p, corrected",
}
_QUESTION = {"question": "question", "one": "difference of", "other": "to"}


def study_table(study: Study) -> "Table":
    """The table for a terminal of 80 columns; significant rows are bold.

    Rows with the same first word stand below it, with their other words side by side.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    caption = Text("\n".join([MARK, *([SYNTHETIC] if study.corpus.synthetic else [])]))
    table = Table(
        title=Text(study.title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=caption
    )
    first, *others = study.words
    headers, lines = _cells({}, study.rows, _fitting(study))
    table.add_column(Text(", ".join(study.words[name] for name in others)), overflow="fold")
    for header in headers:
        table.add_column(Text(header), justify="right", no_wrap=True)
    above = None
    for row, line in zip(study.rows, lines, strict=True):
        if row[first] != above:
            above = row[first]
            table.add_section()
            table.add_row(Text(str(above)))
        style = "bold" if significant(row) else None
        table.add_row(*map(Text, (f"  {_named(row, others)}", *line)), style=style)
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


def markdown(study: Study) -> str:
    """The table with its questions, notes, published numbers, settings and provenance."""
    counts = ", ".join(f"{count:,} {things}" for things, count in study.corpus.counts.items())
    parts = [f"# {study.title}", f"Corpus: {study.corpus.label}; {counts}."]
    parts += [f"**{SYNTHETIC}**"] if study.corpus.synthetic else []
    parts += [_piped(study.words, study.rows), f"{MARK}."]
    if study.questions:
        parts += ["## Questions", _piped(_QUESTION, study.questions), "## How to read it"]
    parts += [*study.notes, *_beside(study)]
    for title, facts in (
        ("How it was made", study.settings),
        ("Where the numbers come from", study.provenance),
    ):
        lines = [f"- {key}: {value}" for key, value in facts.items()]
        parts += [f"## {title}", "\n".join(lines)] if lines else []
    return "\n\n".join(parts) + "\n"


def _fitting(study: Study) -> dict[str, str]:
    """The columns of a terminal: with a spread over seeds there is no room for the calibration."""
    spread = any(row.get("seed_sd") is not None for row in study.rows)
    left_out = {"ece"} if spread else set()
    left_out |= {"macro_f1"} if study.conversations else set()
    return {name: header for name, header in _NARROW.items() if name not in left_out}


def _named(row: Row, names: Sequence[str]) -> str:
    first, *more = [str(row[name]) for name in names if row[name] is not None]
    return ", ".join([first, *(word.replace("_", " ") for word in more)])


def _piped(words: Mapping[str, str], rows: Sequence[Row]) -> str:
    headers, lines = _cells(words, rows, _WIDE)
    worded = [i < len(words) or header == _WIDE["against"] for i, header in enumerate(headers)]
    return piped(headers, lines, worded).rstrip()


def _beside(study: Study) -> list[str]:
    """The section of published numbers; empty without any."""
    reference = study.reference
    if not reference:
        return []
    headers = list(reference[0])
    lines = [[_number(header, row[header]) for header in headers] for row in reference]
    return [
        "## Beside the published numbers",
        piped(headers, lines, [i == 0 for i in range(len(headers))]).rstrip(),
        study.reference_note,
    ]


def _cells(
    words: Mapping[str, str], rows: Sequence[Row], columns: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Headers and formatted cells of the words and of the `columns` that at least one row fills."""
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


# Only corrected p-values are marked.
_FORMS: dict[str, Callable[[Row], str]] = {
    "difference": _difference,
    "p": lambda row: p_text(row["p"], marked=False) or "",
    "p_corrected": lambda row: p_text(row["p_corrected"]) or "",
}


def _number(header: str, value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:+.2f}" if "%" in header else f"{value:.3f}"
