"""What the commands of studies share: their run trained, how the tables look, and where they are."""

from typing import TYPE_CHECKING

from rich.markup import escape

from medusa_jax.cli.opening import results, say, take_over, tell_failures

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """Train what the study's own run lacks and show the study, or only plan it; `rows` says what there is beside members."""
    run = prepared.run
    say(
        f"[bold]{escape(run.config.name)}[/bold] in {escape(str(run.folder))}: {rows}{len(run.config.members)} members in all"
    )
    tell_failures(prepared)
    take_over(prepared)
    if plan:
        from medusa_jax.cli.plan import plan_training

        plan_training(prepared, speed)
    else:
        show(conduct(), what)


def show(done: "Conducted", what: str) -> None:
    """Print the tables of the last part and say where all of them are."""
    from medusa_jax.studies.tables import question_table, study_table

    last = list(done.studies.values())[-1]
    results().print(study_table(last))
    if last.questions:
        results().print(question_table(last))
    for note in last.notes:
        results().print(note, style="dim", highlight=False, markup=False)
    for part, paths in done.files.items():
        print(f"{what} on {part}:")
        for path in paths:
            print(f"    {path}")
