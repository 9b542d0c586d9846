"""`medusa evaluate` and `medusa report`: scores, and the page on a finished run."""

from typing import TYPE_CHECKING

from medusa_jax.cli.opening import prepared_run, results
from medusa_jax.cli.options import RUNS, Config, Out, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from medusa_jax.evaluation.tables import SystemScores
    from medusa_jax.runs.prepare import Prepared


def evaluate(config: Config, settings: Settings = None, out: Out = RUNS) -> None:
    """Score every member and ensemble on each labelled part not trained on, and write reports."""
    with prepared_run(config, settings, out, features=False) as prepared:
        from medusa_jax.runs.evaluate import evaluate as score_all

        show_scores(prepared, score_all(prepared))


def report(config: Config, settings: Settings = None, out: Out = RUNS) -> None:
    """Write a finished run's report.html, its model card, and the same numbers as JSON and CSV.

    The page has scores, tests, curves, studies and provenance.
    """
    with prepared_run(config, settings, out, features=False) as prepared:
        from medusa_jax.report.report import report as write

        written = write(prepared)
        print(f"open in a browser:\n    {written.page}")
        print(f"the model card, to publish with the models:\n    {written.card}")
        print(f"the same numbers:\n    {written.numbers}\n    {written.tables}/*.csv")


def _show_beside(path: "Path") -> None:
    """Print the epochs that test labels would pick, and published results."""
    from medusa_jax.cli.studies import plain_table
    from medusa_jax.evaluation.picked_by_test import picked_sentences
    from medusa_jax.evaluation.published_results import NOTE, SHORT
    from medusa_jax.evaluation.scores_file import read_scores

    found = read_scores(path)
    for line in picked_sentences(found.picked_by_test, found.rows):
        results().print(line, highlight=False, markup=False)
    if found.published:
        results().print(plain_table("Published results", found.published, SHORT))
        results().print(NOTE, style="dim", highlight=False, markup=False)


def show_scores(prepared: "Prepared", scored: "dict[str, list[SystemScores]]") -> None:
    """Print the table of the last part and the path of each part's report."""
    from medusa_jax.evaluation.tables import rich_table

    run, corpus = prepared.run, prepared.corpus
    for part, systems in list(scored.items())[-1:]:
        title = f"{run.config.name}: {part} of {corpus.name}"
        results().print(rich_table(systems, title, synthetic=corpus.synthetic))
        if corpus.conversational:
            _show_beside(run.scores_file(part))
    for part in scored:
        print(f"report on {part}:\n    {run.evaluation_folder(part) / 'report.md'}")
