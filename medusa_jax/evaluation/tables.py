"""Scores of several systems side by side, for a terminal, as Markdown and as CSV."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from medusa_jax.evaluation.headline import CONVERSATIONS, SPEECH, Headline, headline_of_row
from medusa_jax.evaluation.intervals import Interval
from medusa_jax.evaluation.metrics import AttributeScores, ClassificationScores

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, str | float | None]

SYNTHETIC = (
    "These numbers were measured on generated, synthetic speech. They show that the program works; "
    "they say nothing about human emotion, and may not be compared with published results."
)

_COLUMNS = {
    "system": "system",
    "kind": "kind",
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "accuracy": "accuracy",
    "uar": "UAR",
    "ccc_arousal": "CCC arousal",
    "ccc_valence": "CCC valence",
    "ccc_dominance": "CCC dominance",
    "ccc_mean": "CCC mean",
}
_NARROW = {
    name: header
    for name, header in _COLUMNS.items()
    if name not in ("kind", "ccc_arousal", "ccc_valence", "ccc_dominance")
}
_CONVERSATIONS = {
    "system": "system",
    "kind": "kind",
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "macro_f1": "Macro-F1",
    "uar": "UAR",
    "ccc_mean": "CCC mean",
}
"""Micro-F1 is left out: with one label an utterance it is the accuracy."""
_CONVERSATIONS_NARROW = {
    name: _CONVERSATIONS[name] for name in ("system", "weighted_f1", "accuracy", "macro_f1")
}


@dataclass(frozen=True)
class SystemScores:
    """One line of a table: a system's name, its kind (modalities or `ensemble`) and its scores.

    `interval` is that of Macro-F1, `others` are those of further scores by name.
    """

    name: str
    kind: str
    classification: ClassificationScores | None = None
    attributes: AttributeScores | None = None
    interval: Interval | None = None
    others: Mapping[str, Interval] = field(default_factory=dict)
    headline: Headline = SPEECH

    @property
    def intervals(self) -> dict[str, Interval]:
        """The intervals by the name of their score, that of the headline first."""
        own = {"macro_f1": self.interval} if self.interval else {}
        return {**self.others, **own}

    def row(self) -> dict[str, str | float | None]:
        """All scores under flat names; NaN becomes None, as JSON has no NaN."""
        row: dict[str, str | float | None] = {"system": self.name, "kind": self.kind}
        scores, intervals = self._class_scores(), self.intervals
        for name, value in scores.items():
            row[name] = value
            if name in intervals:
                low, high = intervals[name].low, intervals[name].high
                row |= {f"{name}_low": low, f"{name}_high": high}
        row |= self.attributes.as_dict() if self.attributes else {}
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }

    def _class_scores(self) -> dict[str, float]:
        """The scores of the classes; of conversations weighted F1 and accuracy come first."""
        found = self.classification
        if found is None:
            return {}
        if self.headline is SPEECH:
            return found.as_dict()
        first = {"weighted_f1": found.weighted_f1, "accuracy": found.accuracy}
        return first | found.as_dict()


def rows_of(systems: Sequence[SystemScores | Row]) -> list[Row]:
    """The row of each system; rows read back from a `scores.json` stay as they are."""
    return [system.row() if isinstance(system, SystemScores) else system for system in systems]


def rich_table(
    systems: Sequence[SystemScores | Row], title: str, *, synthetic: bool = False
) -> "Table":
    """The table for a terminal of 80 columns, the best headline score in bold.

    `synthetic` adds the warning that the corpus is generated.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = rows_of(systems)
    best = _best(rows)
    headers, lines = cells(*_narrow(rows))
    table = Table(
        title=Text(title),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption=Text(SYNTHETIC) if synthetic else None,
    )
    for i, header in enumerate(headers):
        table.add_column(Text(header), justify="right" if i else "left", no_wrap=i > 0)
    for i, line in enumerate(lines):
        table.add_row(*map(Text, line), style="bold" if i == best else None)
    return table


def markdown_table(systems: Sequence[SystemScores | Row]) -> str:
    """The same table in Markdown, ending in a newline."""
    rows = rows_of(systems)
    columns = _CONVERSATIONS if _headline(rows) is CONVERSATIONS else _COLUMNS
    return markdown_rows(rows, columns, _best(rows))


def markdown_rows(rows: Sequence[Row], columns: Mapping[str, str], best: int | None = None) -> str:
    """The `columns` (name → header) of any rows as a Markdown table; the row `best` in bold.

    A number has three digits, and behind it its interval in brackets where the row has `NAME_low`
    and `NAME_high`.
    """
    headers, lines = cells(rows, columns)
    worded = [
        all(isinstance(row.get(name), str | None) for row in rows)
        for name in columns
        if columns[name] in headers
    ]
    return piped(headers, lines, worded, best)


def piped(
    headers: Sequence[str],
    lines: Sequence[Sequence[str]],
    worded: Sequence[bool],
    best: int | None = None,
) -> str:
    """Formatted cells as a Markdown table; `worded` columns stand left, the line `best` in bold."""
    shown = [
        [f"**{cell}**" if i == best and cell else cell for cell in map(_escaped, line)]
        for i, line in enumerate(lines)
    ]
    rule = ["---" if words else "---:" for words in worded]
    return "".join(f"| {' | '.join(line)} |\n" for line in (headers, rule, *shown))


def csv_text(systems: Sequence[SystemScores | Row]) -> str:
    """Every number of every row, unrounded, one column a name; missing scores are empty."""
    return pd.DataFrame([dict(row) for row in rows_of(systems)], dtype=object).to_csv(
        index=False, lineterminator="\n"
    )


def cells(rows: Sequence[Row], columns: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Headers and formatted cells of the `columns` (name → header) that at least one row fills."""
    used = [name for name in columns if any(row.get(name) is not None for row in rows)]
    lines = [[_cell(row, name) for name in used] for row in rows]
    return [columns[name] for name in used], lines


def _cell(row: Row, name: str) -> str:
    value = row.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int):
        return f"{value:,}"
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    # Three digits: on a few thousand utterances the fourth is noise.
    return f"{value:z.3f}" + (f" [{low:z.3f}, {high:z.3f}]" if low is not None else "")


def _best(rows: Sequence[Row]) -> int | None:
    name = _headline(rows).name
    scored = [(row[name], -i) for i, row in enumerate(rows) if row.get(name) is not None]
    return -max(scored)[1] if len(scored) > 1 else None  # type: ignore[type-var]


def _headline(rows: Sequence[Row]) -> Headline:
    """The headline of rows that were scored on one corpus."""
    found = [headline_of_row(row) for row in rows]
    return CONVERSATIONS if CONVERSATIONS in found else SPEECH


def _narrow(rows: Sequence[Row]) -> tuple[Sequence[Row], dict[str, str]]:
    """Rows and columns that fit 80 columns: two intervals at the most."""
    if _headline(rows) is SPEECH:
        return rows, _NARROW
    short = [{k: v for k, v in row.items() if k != "macro_f1_low"} for row in rows]
    return short, _CONVERSATIONS_NARROW


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
