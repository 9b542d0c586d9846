"""Scores of several systems side by side, for a terminal, as Markdown and as CSV."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

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


@dataclass(frozen=True)
class SystemScores:
    """One line of a table: a system's name, its kind (modalities or `ensemble`) and its scores.

    `interval` is that of Macro-F1.
    """

    name: str
    kind: str
    classification: ClassificationScores | None = None
    attributes: AttributeScores | None = None
    interval: Interval | None = None

    def row(self) -> dict[str, str | float | None]:
        """All scores under flat names; NaN becomes None, as JSON has no NaN."""
        row: dict[str, str | float | None] = {"system": self.name, "kind": self.kind}
        scores = self.classification.as_dict() if self.classification else {}
        for name, value in scores.items():
            row[name] = value
            if name == "macro_f1" and self.interval:
                row |= {"macro_f1_low": self.interval.low, "macro_f1_high": self.interval.high}
        row |= self.attributes.as_dict() if self.attributes else {}
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }


def rows_of(systems: Sequence[SystemScores | Row]) -> list[Row]:
    """The row of each system; rows read back from a `scores.json` stay as they are."""
    return [system.row() if isinstance(system, SystemScores) else system for system in systems]


def rich_table(
    systems: Sequence[SystemScores | Row], title: str, *, synthetic: bool = False
) -> "Table":
    """The table for a terminal of 80 columns, the best Macro-F1 in bold.

    `synthetic` adds the warning that the corpus is generated.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    headers, lines = cells(rows_of(systems), _NARROW)
    best = _best(rows_of(systems))
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
    return markdown_rows(rows_of(systems), _COLUMNS, _best(rows_of(systems)))


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
    scored = [
        (row["macro_f1"], -i) for i, row in enumerate(rows) if row.get("macro_f1") is not None
    ]
    return -max(scored)[1] if len(scored) > 1 else None  # type: ignore[type-var]


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
