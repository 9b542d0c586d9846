"""The ablation and the ensemble study in `report.html`: tables with significance marks, and the differences drawn."""

from collections.abc import Callable, Sequence

from medusa_jax.evaluation.format import SIGNIFICANT, interval_text, p_text, signed_text
from medusa_jax.evaluation.tables import Row
from medusa_jax.report import figures
from medusa_jax.report import html as page
from medusa_jax.report.contents import Findings
from medusa_jax.studies.study_file import MEAN
from medusa_jax.studies.tables import significant

_NOTE = (
    "Macro-F1 is the mean over the seeds; its interval comes from drawing speakers, sd is the spread of the seeds alone. p: predictions exchanged "
    f"speaker by speaker, corrected by Holm over the study. *: p below {SIGNIFICANT}; without it, the difference cannot be told from chance here."
)
_MEASURED = ["Macro-F1", "95 % interval", "sd", "accuracy"]
_TESTED = ["difference", "95 % interval", "p"]


def ablation(findings: Findings) -> str:
    """Each row of the ablation against the full system, part by part."""
    return _by_part(findings, "ablation", _ablation)


def ensembles(findings: Findings) -> str:
    """Each way to combine the members, and what it is compared with, part by part."""
    return _by_part(findings, "ensembles", _ensembles)


def _by_part(
    findings: Findings, table: str, make: Callable[[Findings, str, Sequence[Row]], str]
) -> str:
    """What `make` makes of each part's rows, the part that the page is about first, others folded; and how to read it."""
    of_part: dict[str, list[Row]] = {}
    for row in findings.rows(table):
        of_part.setdefault(str(row["part"]), []).append(row)
    pieces: list[str] = []
    for part, rows in sorted(of_part.items(), key=lambda item: item[0] != findings.part):
        notes = "".join(page.paragraph(note) for note in findings.notes.get(f"{table}-{part}", ()))
        html = (
            make(findings, part, rows)
            + page.paragraph(_NOTE, "faint")
            + (page.folded("How to read it", notes) if notes else "")
        )
        pieces.append(page.folded(f"The same on {part}", html) if pieces else html)
    return "".join(pieces)


def _ablation(findings: Findings, part: str, rows: Sequence[Row]) -> str:
    """Means over the members; their lines folded."""
    means = [row for row in rows if row["member"] == MEAN] or rows
    title = f"Difference to the full system on {part} of {findings.corpus.label}"
    lines: list[list[page.Cell]] = [[row["row"], *_measured(row), *_tested(row)] for row in means]
    html = _drawn([(str(row["row"]), row) for row in means], title)
    html += page.table(
        f"Means over the members on {part}, {_seeds(rows)}", ["row", *_MEASURED, *_TESTED], lines
    )
    if len(rows) == len(means):
        return html
    every: list[list[page.Cell]] = [
        [row["row"], row["member"], *_measured(row), *_tested(row)] for row in rows
    ]
    return html + page.folded(
        "Each member",
        page.table(
            f"Each member on {part}, {_seeds(rows)}", ["row", "member", *_MEASURED, *_TESTED], every
        ),
    )


def _ensembles(findings: Findings, part: str, rows: Sequence[Row]) -> str:
    """The questions first, then the systems, then every comparison."""
    answers: list[list[page.Cell]] = [
        [row["question"], *_tested(row)]
        for row in findings.rows("questions")
        if row["part"] == part
    ]
    html = (
        page.table(f"Questions and answers on {part}", ["question", *_TESTED], answers)
        if answers
        else ""
    )
    title = f"Difference to what each is compared with on {part} of {findings.corpus.label}"
    html += _drawn([(_name(rows, row), row) for row in rows], title)
    who = {id(row): [row["system"], row["members"], row["learned_from"]] for row in rows}
    scored: list[list[page.Cell]] = [[*who[id(row)], *_measured(row), row["ece"]] for row in rows]
    tested: list[list[page.Cell]] = [
        [*who[id(row)], row["against"], *_tested(row)]
        for row in rows
        if row["difference"] is not None
    ]
    best = max(range(len(rows)), key=lambda i: float(rows[i]["macro_f1"] or 0))
    headers = ["system", "members", "learned from"]
    html += page.table(
        f"Ways to combine the members on {part}, {_seeds(rows)}",
        [*headers, *_MEASURED, "ECE"],
        scored,
        best,
    )
    return html + page.table(
        f"Against what each is compared with on {part}", [*headers, "against", *_TESTED], tested
    )


def _name(rows: Sequence[Row], row: Row) -> str:
    """A system and its members; and what it learned from, where the table has the two twice."""
    twins = [
        one for one in rows if (one["system"], one["members"]) == (row["system"], row["members"])
    ]
    return ", ".join(
        str(word)
        for word in (row["system"], row["members"], row["learned_from"] if len(twins) > 1 else None)
        if word
    )


def _seeds(rows: Sequence[Row]) -> str:
    """`3 seeds`; `2 to 3 seeds` where they differ."""
    counts = sorted({int(row["seeds"]) for row in rows if row["seeds"] is not None})
    return " to ".join(map(str, dict.fromkeys((*counts[:1], *counts[-1:])))) + (
        " seed" if counts == [1] else " seeds"
    )


def _measured(row: Row) -> list[page.Cell]:
    return [row["macro_f1"], interval_text(row, "macro_f1"), row["seed_sd"], row["accuracy"]]


def _tested(row: Row) -> list[page.Cell]:
    return [
        signed_text(row["difference"]),
        interval_text(row, "difference", "+z.3f"),
        p_text(row["p_corrected"]),
    ]


def _drawn(named: Sequence[tuple[str, Row]], title: str) -> str:
    """The differences that were tested, with their intervals."""
    bars = [
        figures.Bar(
            name + ("*" if significant(row) else ""),
            float(row["difference"] or 0),
            row["difference_low"],
            row["difference_high"],
        )  # type: ignore[arg-type]
        for name, row in named
        if row["difference"] is not None
    ]
    return (
        page.figure(
            figures.differences(bars, title, "difference in Macro-F1, 95 % intervals"), title
        )
        if bars
        else ""
    )
