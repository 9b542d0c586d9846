"""Training and tables that the commands of studies share."""

from typing import TYPE_CHECKING

from rich.markup import escape

from medusa_jax.cli.opening import results, reuse_members, say, warn_of_failures
from medusa_jax.cli.plan import plan_training

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.table import Table

    from medusa_jax.evaluation.tables import Row
    from medusa_jax.runs.prepare import Prepared
    from medusa_jax.studies.derived_run import Conducted


def train_and_show(
    prepared: "Prepared",
    rows: str,
    conduct: "Callable[[], Conducted]",
    what: str,
    plan: bool,
    speed: float | None,
) -> None:
    """Conduct the study and show it, or only plan its training; `rows` goes before the count."""
    config, folder = prepared.run.config, prepared.run.folder
    count = f"{rows}{len(config.members)} members in all"
    say(f"[bold]{escape(config.name)}[/bold] in {escape(str(folder))}: {count}")
    warn_of_failures(prepared)
    reuse_members(prepared)
    if plan:
        plan_training(prepared, speed)
    else:
        show(conduct(), what)


def plain_table(title: str, rows: "Sequence[Row]", columns: "Mapping[str, str]") -> "Table":
    """The `columns` (name → header) of the rows for a terminal; words wrap."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from medusa_jax.evaluation.tables import cells

    headers, lines = cells(rows, columns)
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in headers:
        table.add_column(Text(header))
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def show(done: "Conducted", what: str) -> None:
    """Print the tables of the last part and the paths of all tables."""
    from medusa_jax.studies.tables import question_table, study_table

    last = list(done.studies.values())[-1]
    results().print(study_table(last))
    if last.questions:
        results().print(question_table(last))
    if last.conversations and last.reference:
        columns = {name: name for name in last.reference[0] if name not in ("reads", "source")}
        results().print(plain_table("Beside the published results", last.reference, columns))
    for note in last.notes:
        results().print(note, style="dim", highlight=False, markup=False)
    for part, paths in done.files.items():
        print(f"{what} on {part}:")
        for path in paths:
            print(f"    {path}")
