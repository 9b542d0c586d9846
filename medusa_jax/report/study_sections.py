"""The ablation and the ensemble study in `report.html`: tables, and the differences drawn."""

from collections.abc import Callable, Sequence

from medusa_jax.evaluation.format import SIGNIFICANT, interval_text, p_text, signed_text
from medusa_jax.evaluation.headline import headline_of_row
from medusa_jax.evaluation.tables import Row
from medusa_jax.report import figures
from medusa_jax.report import html as page
from medusa_jax.report.contents import Findings
from medusa_jax.studies.study import significant
from medusa_jax.studies.study_file import MEAN

_TESTED = ["difference", "95 % interval", "p"]
_VARIANT = {"system": "system", "members": "members", "learned_from": "learned from"}


def ablation(findings: Findings) -> str:
    """Each row of the ablation against the full system, part by part."""
    return _by_part(findings, "ablation", _ablation)


def ensembles(findings: Findings) -> str:
    """Each way to combine the members and its rival, part by part."""
    return _by_part(findings, "ensembles", _ensembles)


def _by_part(
    findings: Findings, table: str, make: Callable[[Findings, str, Sequence[Row]], str]
) -> str:
    """Each part's rows as `make` shows them; the page's own part first, the others folded."""
    of_part: dict[str, list[Row]] = {}
    for row in findings.rows(table):
        of_part.setdefault(str(row["part"]), []).append(row)
    pieces: list[str] = []
    for part, rows in sorted(of_part.items(), key=lambda item: item[0] != findings.part):
        notes = "".join(page.paragraph(note) for note in findings.notes.get(f"{table}-{part}", ()))
        html = make(findings, part, rows) + page.paragraph(_note(rows), "faint")
        html += page.folded("How to read it", notes) if notes else ""
        pieces.append(page.folded(f"The same on {part}", html) if pieces else html)
    return "".join(pieces)


def _note(rows: Sequence[Row]) -> str:
    """The meaning of the columns."""
    headline = headline_of_row(rows[0])
    cluster = headline.cluster
    return (
        f"{headline.title} is the mean over the seeds; its interval comes from drawing {cluster}s, "
        f"sd is the standard deviation over the seeds. p: predictions exchanged {cluster} by "
        f"{cluster}, corrected by Holm over the study. *: p below {SIGNIFICANT}; other differences "
        "may be chance."
    )


def _headers(rows: Sequence[Row]) -> list[str]:
    """The headers of `_measured`."""
    return [headline_of_row(rows[0]).title, "95 % interval", "sd", "accuracy"]


def _ablation(findings: Findings, part: str, rows: Sequence[Row]) -> str:
    """Means over the members; their lines folded."""
    means = [row for row in rows if row["member"] == MEAN] or rows
    title = f"Difference to the full system on {part} of {findings.corpus.label}"
    html = _drawn([(str(row["row"]), row) for row in means], title)
    title, columns = (
        f"Means over the members on {part}, {_seeds(rows)}",
        [*_headers(rows), *_TESTED],
    )
    lines: list[list[page.Cell]] = [[row["row"], *_measured(row), *_tested(row)] for row in means]
    html += page.table(title, ["row", *columns], lines)
    if len(rows) == len(means):
        return html
    lines = [[row["row"], row["member"], *_measured(row), *_tested(row)] for row in rows]
    title = f"Each member on {part}, {_seeds(rows)}"
    return html + page.folded("Each member", page.table(title, ["row", "member", *columns], lines))


def _ensembles(findings: Findings, part: str, rows: Sequence[Row]) -> str:
    """The questions, then the scores, then every comparison."""
    title = f"Difference to each system's rival on {part} of {findings.corpus.label}"
    html = _questions(findings, part) + _drawn([(_name(rows, row), row) for row in rows], title)
    title, headers = (
        f"Ways to combine the members on {part}, {_seeds(rows)}",
        list(_VARIANT.values()),
    )
    name = headline_of_row(rows[0]).name
    best = max(range(len(rows)), key=lambda i: float(rows[i][name] or 0))
    scored: list[list[page.Cell]] = [[*_variant(row), *_measured(row), row["ece"]] for row in rows]
    html += page.table(title, [*headers, *_headers(rows), "ECE"], scored, best)
    rivals = [row for row in rows if row["difference"] is not None]
    tested: list[list[page.Cell]] = [
        [*_variant(row), row["against"], *_tested(row)] for row in rivals
    ]
    title = f"Each system against its rival on {part}"
    return html + page.table(title, [*headers, "against", *_TESTED], tested)


def _questions(findings: Findings, part: str) -> str:
    """The table of questions; empty without any."""
    rows = [row for row in findings.rows("questions") if row["part"] == part]
    answers: list[list[page.Cell]] = [[row["question"], *_tested(row)] for row in rows]
    title = f"Questions and answers on {part}"
    return page.table(title, ["question", *_TESTED], answers) if answers else ""


def _variant(row: Row) -> list[page.Cell]:
    return [row[name] for name in _VARIANT]


def _name(rows: Sequence[Row], row: Row) -> str:
    """A system and its members; also `learned from`, where it tells two rows apart."""
    own = _variant(row)
    twins = [one for one in rows if _variant(one)[:2] == own[:2]]
    return ", ".join(str(word) for word in (own if len(twins) > 1 else own[:2]) if word)


def _seeds(rows: Sequence[Row]) -> str:
    """`3 seeds`; `2 to 3 seeds` where they differ."""
    counts = sorted({int(row["seeds"]) for row in rows if row["seeds"] is not None})
    ends = dict.fromkeys((*counts[:1], *counts[-1:]))
    return " to ".join(map(str, ends)) + (" seed" if counts == [1] else " seeds")


def _measured(row: Row) -> list[page.Cell]:
    name = headline_of_row(row).name
    return [row[name], interval_text(row, name), row["seed_sd"], row["accuracy"]]


def _tested(row: Row) -> list[page.Cell]:
    bounds = interval_text(row, "difference", "+z.3f")
    return [signed_text(row["difference"]), bounds, p_text(row["p_corrected"])]


def _drawn(named: Sequence[tuple[str, Row]], title: str) -> str:
    """The differences that were tested, with their intervals."""
    bars = [
        figures.Bar.of(name + ("*" if significant(row) else ""), row, "difference")
        for name, row in named
        if row["difference"] is not None
    ]
    if not bars:
        return ""
    label = f"difference in {headline_of_row(named[0][1]).title}, 95 % intervals"
    svg = figures.differences(bars, title, label)
    return page.figure(svg, title)
