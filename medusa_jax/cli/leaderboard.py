"""`medusa leaderboard`: all runs of a folder beside the published scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from medusa_jax.cli.opening import results

if TYPE_CHECKING:
    from rich.table import Table

    from medusa_jax.report.leaderboard import Group, Leaderboard

Runs = Annotated[
    Path, typer.Argument(help="The folder of your runs (their --out), or one run's folder.")
]
Part = Annotated[
    str | None,
    typer.Option(
        help="development, test1, test2, test3, folds or fold-1; default: each run's last part."
    ),
]
Every = Annotated[
    bool,
    typer.Option(
        "--all", help="Every member and ensemble of a run, not only the system it submits."
    ),
]
Published = Annotated[
    bool,
    typer.Option("--published", help="Show published scores even where no run compares with them."),
]
Csv = Annotated[Path | None, typer.Option(help="Also write all numbers to this CSV file.")]
Markdown = Annotated[Path | None, typer.Option(help="Also write the tables to this Markdown file.")]


def leaderboard(
    out: Runs = Path("runs"),
    part: Part = None,
    every: Every = False,
    published: Published = False,
    csv: Csv = None,
    markdown: Markdown = None,
) -> None:
    """Compare all runs of a folder, with intervals and published scores on the same test set."""
    from medusa_jax.report.leaderboard import leaderboard as collect

    board, console = collect(out, part=part, every=every, published=published), results()
    _show(board, console)
    for path in _written(board, csv, markdown):
        console.print(escape(f"written: {path}"), highlight=False, soft_wrap=True)


def _show(board: "Leaderboard", console: Console) -> None:
    """Print each group of runs, then the runs left out."""
    for group in board.groups:
        console.print(_table(group))
    console.print(escape(board.note), highlight=False)
    for run, reason in board.left_out.items():
        line = f"[yellow]left out:[/yellow] {escape(f'{run}: {reason}')}"
        console.print(line, highlight=False, soft_wrap=True)


def _written(board: "Leaderboard", csv: Path | None, markdown: Path | None) -> list[Path]:
    """Write the files that were asked for and return their paths."""
    from medusa_jax.evaluation.tables import csv_text
    from medusa_jax.files import write_text

    if csv is not None:
        write_text(csv, csv_text(board.rows))
    if markdown is not None:
        write_text(markdown, board.markdown())
    return [path for path in (csv, markdown) if path is not None]


def _table(group: "Group") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from medusa_jax.evaluation.tables import cells

    headers, lines = cells(group.rows, group.columns)
    caption = Text("\n".join(group.notes)) if group.notes else None
    table = Table(
        title=Text(group.title), caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for i, header in enumerate(headers):
        table.add_column(
            Text(header), justify="left" if i < 2 else "right", overflow="fold", no_wrap=i == 2
        )
    for line in lines:
        table.add_row(*map(Text, line))
    return table
