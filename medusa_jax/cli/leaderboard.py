"""`medusa leaderboard`: all runs of a folder beside the published scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from medusa_jax.cli.opening import results

if TYPE_CHECKING:
    from rich.table import Table

    from medusa_jax.report.leaderboard import Group


def leaderboard(
    out: Annotated[
        Path, typer.Argument(help="The folder of your runs (their --out), or one run's folder.")
    ] = Path("runs"),
    part: Annotated[
        str | None,
        typer.Option(
            help="development, test1, test2, test3, folds or fold-1; by default each run's last one."
        ),
    ] = None,
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="Every member and ensemble of a run, not only the system that it submits."
        ),
    ] = False,
    published: Annotated[
        bool,
        typer.Option(
            "--published", help="Show the published scores also where no run compares with them."
        ),
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(help="Also write all numbers to this CSV file.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the tables to this Markdown file.")
    ] = None,
) -> None:
    """Set all runs of a folder side by side, with intervals, and the published scores beside those on the same test set."""
    from medusa_jax.evaluation.tables import csv_text
    from medusa_jax.files import write_text
    from medusa_jax.report.leaderboard import leaderboard as collect

    board, console = collect(out, part=part, every=every, published=published), results()
    for group in board.groups:
        console.print(_table(group))
    console.print(
        escape(f"In brackets: 95 % intervals, by bootstrap over speakers. {board.published}"),
        highlight=False,
    )
    for run, why in board.left_out.items():
        console.print(
            f"[yellow]left out:[/yellow] {escape(f'{run}: {why}')}", highlight=False, soft_wrap=True
        )
    if csv is not None:
        write_text(csv, csv_text(board.rows))
    if markdown is not None:
        write_text(markdown, board.markdown())
    for path in filter(None, (csv, markdown)):
        console.print(escape(f"written: {path}"), highlight=False, soft_wrap=True)


def _table(group: "Group") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from medusa_jax.evaluation.tables import cells

    headers, lines = cells(group.rows, group.columns)
    table = Table(
        title=Text(group.title),
        caption=Text("\n".join(group.notes)) if group.notes else None,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for i, header in enumerate(headers):
        table.add_column(
            Text(header), justify="left" if i < 2 else "right", overflow="fold", no_wrap=i == 2
        )
    for line in lines:
        table.add_row(*map(Text, line))
    return table
