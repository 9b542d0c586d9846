"""Contents of page and model card of a run on conversations, beside its scores.

Epochs that test labels would pick stand apart from the scores, named as no results.
"""

from medusa_jax.evaluation.picked_by_test import WARNING, shown
from medusa_jax.evaluation.published_results import COLUMNS, NOTE
from medusa_jax.evaluation.tables import markdown_rows
from medusa_jax.report import html as page
from medusa_jax.report.contents import Findings

CARD_SCORES = {
    "system": "system",
    "kind": "reads",
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "macro_f1": "Macro-F1",
    "uar": "UAR",
}
"""The columns of the model card's scores."""
_PICKED = {
    "member": "member",
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "test_epoch": "epoch picked by test",
    "test_weighted_f1": "its weighted F1",
}


def not_a_result(findings: Findings) -> list[str]:
    """The sentence of the page's head on the epochs that test labels would pick; may be none."""
    rows = findings.rows("picked_by_test")
    if not rows:
        return []
    scores = [float(row["test_weighted_f1"] or 0) for row in rows]
    ends = " to ".join(dict.fromkeys(shown(one) for one in (min(scores), max(scores))))
    return [page.paragraph(f"Epoch picked by test: {ends} ({WARNING}).", "faint")]


def picked(findings: Findings) -> str:
    """Each member's own score beside that of the epoch that test labels would pick."""
    rows: list[list[page.Cell]] = []
    for row in findings.rows("picked_by_test"):
        rows.append([row[name] for name in _PICKED])
    if not rows:
        return ""
    note = f"The last two columns are {WARNING}. Most published numbers are of this kind."
    table = page.table("Epochs picked by test labels", list(_PICKED.values()), rows)
    return table + page.paragraph(note, "faint")


def published(findings: Findings) -> str:
    """Published results on the same corpus."""
    rows: list[list[page.Cell]] = []
    for row in findings.rows("published"):
        rows.append([row[name] for name in COLUMNS])
    if not rows:
        return ""
    title = f"Published results on {findings.corpus.label}"
    return page.table(title, list(COLUMNS.values()), rows) + page.paragraph(NOTE, "faint")


def card_parts(findings: Findings) -> list[str]:
    """The same in the model card, as Markdown; may be none."""
    chosen, theirs = findings.rows("picked_by_test"), findings.rows("published")
    parts = []
    if chosen:
        table = markdown_rows(chosen, _PICKED).rstrip()
        parts += [f"Epochs picked by test ({WARNING}):", table]
    if theirs:
        table = markdown_rows(theirs, COLUMNS).rstrip()
        parts += ["Published results on this corpus:", table, NOTE]
    return parts
