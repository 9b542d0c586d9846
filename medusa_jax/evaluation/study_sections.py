"""The ablation and the ensemble study in `report.html`: tables with significance marks, and the differences drawn."""

from collections.abc import Sequence

from medusa_jax.evaluation import figures, page
from medusa_jax.evaluation.findings import SIGNIFICANT, Findings, interval_text, p_text
from medusa_jax.evaluation.studies import MEAN
from medusa_jax.evaluation.tables import Row

_NOTE = (
    "Macro-F1 is the mean over the seeds; its interval comes from drawing speakers, sd is the spread of the seeds alone. p: predictions exchanged "
    f"speaker by speaker, corrected by Holm over the study. *: p below {SIGNIFICANT}; without it, the difference cannot be told from chance here."
)
_MEASURED = ["Macro-F1", "95 % interval", "sd", "accuracy"]
_TESTED = ["difference", "95 % interval", "p"]


def ablation(findings: Findings) -> str:
    """Each row of the ablation against the full system: means over the members, their lines folded."""
    html = ""
    for part, rows in _by_part(findings.rows("ablation")):
        means = [row for row in rows if row["member"] == MEAN] or rows
        title = f"Difference to the full system on {part} of {findings.corpus.label}"
        lines: list[list[page.Cell]] = [[row["row"], *_measured(row), *_tested(row)] for row in means]
        html += _drawn([(str(row["row"]), row) for row in means], title)
        html += page.table(f"Means over the members on {part}, {_seeds(rows)}", ["row", *_MEASURED, *_TESTED], lines)
        if len(rows) > len(means):
            every: list[list[page.Cell]] = [[row["row"], row["member"], *_measured(row), *_tested(row)] for row in rows]
            html += page.folded("Each member", page.table(f"Each member on {part}, {_seeds(rows)}", ["row", "member", *_MEASURED, *_TESTED], every))
    return html + _explained(findings.notes.get("ablation", ())) if html else ""


def ensembles(findings: Findings) -> str:
    """Each way to combine the members, and what it is compared with."""
    html = ""
    asked = dict(_by_part(findings.rows("questions")))
    for part, rows in _by_part(findings.rows("ensembles")):
        answers: list[list[page.Cell]] = [[row["question"], *_tested(row)] for row in asked.get(part, ())]
        html += page.table(f"Questions and answers on {part}", ["question", *_TESTED], answers) if answers else ""
        title = f"Difference to what each is compared with on {part} of {findings.corpus.label}"
        html += _drawn([(", ".join(filter(None, (row["system"], row["members"], _taught(rows, row)))), row) for row in rows], title)  # type: ignore[arg-type]
        who: list[list[page.Cell]] = [[row["system"], row["members"]] for row in rows]
        scored = [[*names, row["learned_from"], *_measured(row), row["ece"]] for names, row in zip(who, rows, strict=True)]
        tested = [
            [*names, row["learned_from"], row["against"], *_tested(row)]
            for names, row in zip(who, rows, strict=True)
            if row["difference"] is not None
        ]
        best = max(range(len(rows)), key=lambda i: float(rows[i]["macro_f1"] or 0))
        headers = ["system", "members", "learned from", *_MEASURED, "ECE"]
        html += page.table(f"Ways to combine the members on {part}, {_seeds(rows)}", headers, scored, best)
        html += page.table(f"Against what each is compared with on {part}", ["system", "members", "learned from", "against", *_TESTED], tested)
    return html + _explained(findings.notes.get("ensembles", ())) if html else ""


def _taught(rows: Sequence[Row], row: Row) -> page.Cell:
    """What a system learned from, where the table has it with the same members twice."""
    twins = [one for one in rows if (one["system"], one["members"]) == (row["system"], row["members"])]
    return row["learned_from"] if len(twins) > 1 else None


def _explained(notes: Sequence[str]) -> str:
    return "".join(page.paragraph(note, "faint") for note in (_NOTE, *notes))


def _by_part(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    parts = dict.fromkeys(str(row["part"]) for row in rows)
    return [(part, [row for row in rows if row["part"] == part]) for part in parts]


def _seeds(rows: Sequence[Row]) -> str:
    """`3 seeds`; `2 to 3 seeds` where they differ."""
    counts = sorted({int(row["seeds"]) for row in rows if row["seeds"] is not None})
    return " to ".join(map(str, dict.fromkeys((*counts[:1], *counts[-1:])))) + (" seed" if counts == [1] else " seeds")


def _measured(row: Row) -> list[page.Cell]:
    return [row["macro_f1"], interval_text(row, "macro_f1"), row["seed_sd"], row["accuracy"]]


def _tested(row: Row) -> list[page.Cell]:
    return [row["difference"], interval_text(row, "difference", "+z.3f"), p_text(row["p_corrected"])]


def _drawn(named: Sequence[tuple[str, Row]], title: str) -> str:
    """The differences that were tested, with their intervals."""
    bars = [
        figures.Bar(name + ("*" if _significant(row) else ""), float(row["difference"] or 0), row["difference_low"], row["difference_high"])  # type: ignore[arg-type]
        for name, row in named
        if row["difference"] is not None
    ]
    return page.figure(figures.differences(bars, title, "difference in Macro-F1, 95 % intervals"), title) if bars else ""


def _significant(row: Row) -> bool:
    return row["p_corrected"] is not None and float(row["p_corrected"]) < SIGNIFICANT
