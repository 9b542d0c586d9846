"""How a study's tables look, and where they are."""

from typing import TYPE_CHECKING

from medusa_jax.cli.run import results

if TYPE_CHECKING:
    from medusa_jax.pipeline.studies import Conducted


def show(done: "Conducted", what: str) -> None:
    """Print the tables of the last part and say where all of them are."""
    from medusa_jax.evaluation.study_table import question_table, study_table

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
