"""A finished run's report: a page, a model card, JSON and CSV, all made from the same numbers."""

from dataclasses import dataclass
from pathlib import Path

from medusa_jax.files import write_text
from medusa_jax.report.collect import findings
from medusa_jax.report.contents import write_numbers
from medusa_jax.report.model_card import model_card
from medusa_jax.report.sections import report_page
from medusa_jax.runs.prepare import Prepared


@dataclass(frozen=True)
class Written:
    """Paths of `report.html`, `model_card.md`, `report.json`, and the folder `report` of CSVs."""

    page: Path
    card: Path
    numbers: Path
    tables: Path


def report(prepared: Prepared) -> Written:
    """Write the report into the run folder, each file whole or not at all.

    Raises `EvaluationError` where the run cannot be scored and `DependencyError` without
    matplotlib; then no report is written.
    """
    found = findings(prepared)
    page, card = report_page(found), model_card(found)
    run = prepared.run
    written = Written(run.report_page, run.model_card, run.report_numbers, run.report_tables)
    write_numbers(found, written.numbers, written.tables)
    write_text(written.card, card)
    write_text(written.page, page)
    return written
