"""The sections of `report.html`, each made of a run's `Findings` alone; what is missing stands at a section's head."""

import json
from collections.abc import Callable, Sequence

import numpy as np

from medusa_jax.evaluation.format import interval_text, p_text, signed_text
from medusa_jax.evaluation.tables import SYNTHETIC, Row
from medusa_jax.report import figures
from medusa_jax.report import html as page
from medusa_jax.report.contents import Findings
from medusa_jax.report.study_sections import ablation, ensembles


def report_page(findings: Findings) -> str:
    """The whole page. Raises `DependencyError` without matplotlib."""
    sections = [
        page.Section(title, _absences(findings, tables) + make(findings))
        for title, tables, make in _SECTIONS
    ]
    title = f"{findings.run}: speech emotion recognition on {findings.corpus.label}"
    return page.page(title, _lead(findings), [section for section in sections if section.html])


def _absences(findings: Findings, tables: Sequence[str]) -> str:
    return "".join(
        page.paragraph(findings.missing[name]) for name in tables if name in findings.missing
    )


def _lead(findings: Findings) -> str:
    """What was run, on what, with what result."""
    counts, score = findings.corpus.counts, findings.score
    described = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    html = page.paragraph(SYNTHETIC, "warn") if findings.corpus.synthetic else ""
    about = findings.about or findings.run
    what = f"{about[0].upper()}{about[1:]}: {len(findings.members)} member(s), combined by {findings.system}"
    html += page.paragraph(f"{what}, on {findings.part} of {findings.corpus.label} ({described}).")
    html += f'<p class="key">Macro-F1 {score["macro_f1"]:.3f}</p>'
    over = (
        f"{counts['speakers']} speakers"
        if counts.get("speakers")
        else "utterances, whose speakers are unknown"
    )
    bounds = interval_text(score, "macro_f1")
    interval = (
        f"95 % interval {bounds}, over {over}"
        if bounds
        else "no interval: there are fewer than two speakers"
    )
    rated = (
        f", mean CCC {score['ccc_mean']:.3f}"
        if score.get("ccc_mean") is not None
        else "; no attribute ratings to compare with"
    )
    html += page.paragraph(f"{interval}; accuracy {score['accuracy']:.3f}{rated}.")
    return html + page.paragraph(f"The meta-classifier learned from {findings.learned_from}.")


def _scores(findings: Findings) -> str:
    """Every system of every part; folded but for the part that the page is about."""
    parts = list(dict.fromkeys(str(row["part"]) for row in findings.rows("scores")))
    tables = [_scores_table(findings, part) for part in parts]
    return tables[0] + "".join(
        page.folded(f"The same on {part}", html)
        for part, html in zip(parts[1:], tables[1:], strict=True)
    )


def _scores_table(findings: Findings, part: str) -> str:
    rows: list[list[page.Cell]] = []
    for row in (row for row in findings.rows("scores") if row["part"] == part):
        means = [row["micro_f1"], row["accuracy"], row["uar"], row.get("ccc_mean")]
        rows.append(
            [row["system"], row["kind"], row["macro_f1"], interval_text(row, "macro_f1"), *means]
        )
    best = max(range(len(rows)), key=lambda i: float(rows[i][2] or 0))
    headers = [
        "system",
        "reads",
        "Macro-F1",
        "95 % interval",
        "Micro-F1",
        "accuracy",
        "UAR",
        "mean CCC",
    ]
    return page.table(
        f"{part} of {findings.corpus.label}; the best Macro-F1 stands out", headers, rows, best
    )


def _comparisons(findings: Findings) -> str:
    rows: list[list[page.Cell]] = []
    for row in findings.rows("comparisons"):
        told = signed_text(row["difference"]), interval_text(row, "difference", "+z.3f")
        rows.append(
            [row["against"], *told, p_text(row["p"], marked=False), p_text(row["p_corrected"])]
        )
    if not rows:
        return ""
    headers = ["against", "difference", "95 % interval", "p", "p, corrected"]
    note = (
        "Macro-F1 differences on the same utterances. p: the systems' predictions exchanged speaker by speaker; corrected for this table by Holm. "
        "*: corrected p below 0.05."
    )
    return page.table(
        f"{findings.system} against each other system", headers, rows
    ) + page.paragraph(note, "faint")


def _classes(findings: Findings) -> str:
    rows = findings.rows("classes")
    bars = [
        figures.Bar(str(row["class"]), _number(row["f1"]), row.get("f1_low"), row.get("f1_high"))
        for row in rows
    ]  # type: ignore[arg-type]
    cells: list[list[page.Cell]] = [
        [
            row["class"],
            row["utterances"],
            row["f1"],
            interval_text(row, "f1"),
            row["precision"],
            row["recall"],
        ]
        for row in rows
    ]
    title = f"F1 of each class, {findings.system}"
    drawn = page.figure(figures.bars(bars, title, "F1, with 95 % intervals over speakers"), title)
    headers = ["class", "utterances", "F1", "95 % interval", "precision", "recall"]
    return drawn + page.folded(
        "The same in numbers", page.table(f"{findings.system} by class", headers, cells)
    )


def _confusion(findings: Findings) -> str:
    classes, rows = findings.classes, findings.rows("confusion")
    shape = len(classes), len(classes)
    shares = np.reshape([_number(row["share"]) for row in rows], shape)
    counts = np.reshape([_number(row["utterances"]) for row in rows], shape)
    corner = "true ↓ predicted →"
    return page.heat_table(
        "Share of each true class", corner, classes, classes, shares
    ) + page.heat_table("Utterances", corner, classes, classes, counts, "{:.0f}")


def _curves(findings: Findings) -> str:
    """Held-out score and loss of every member by epoch, in the first fold that has them."""
    rows = findings.rows("curves")
    if not rows:
        return ""
    fold, several = rows[0]["fold"], len({row["fold"] for row in rows}) > 1
    of_member: dict[str, list[Row]] = {}
    for row in (row for row in rows if row["fold"] == fold):
        of_member.setdefault(str(row["member"]), []).append(row)
    where = f" (fold {fold})" if several else ""
    changes = {
        next((_number(row["epoch"]) for row in lines if row["stage"] == 2), None)
        for lines in of_member.values()
    }
    change = changes.pop() if len(changes) == 1 else None
    marks = {"Stage 2": change - 0.5} if change else {}
    drawn = []
    for name, title, label in (
        ("held_out_macro_f1", "Held-out Macro-F1 by epoch", "Macro-F1, balanced"),
        ("loss", "Training loss by epoch", "loss"),
    ):
        lines = [
            figures.Curve(
                member,
                [_number(row["epoch"]) for row in kept],
                [_number(row[name]) for row in kept],
            )
            for member, kept in of_member.items()
        ]
        drawn.append(
            page.figure(figures.curves(lines, title + where, "epoch", label, marks), title + where)
        )
    return "".join(drawn)


def _weights(findings: Findings) -> str:
    rows = findings.rows("weights")
    if not rows:
        return ""
    values = np.reshape(
        [_number(row["weight"]) for row in rows], (len(findings.members), len(findings.classes))
    )
    note = (
        "How much the soup's score of a class rises with a member's posterior of that class (of the first fold, where there are folds). "
        f"It learned from {findings.learned_from}."
    )
    drawn = page.heat_table(
        "Weight of each member for each class",
        "member",
        list(findings.members),
        findings.classes,
        values,
    )
    return drawn + page.paragraph(note, "faint")


def _belief(findings: Findings) -> str:
    """Reliability diagram; agreement with the votes."""
    title = "Confidence and accuracy"
    drawn = page.figure(
        figures.reliability(findings.rows("calibration"), findings.rows("reliability"), title),
        title,
    )
    found = findings.rows("agreement")
    if not found:
        return drawn
    rows: list[list[page.Cell]] = [
        [row["system"], row["kl"], row["cross_entropy"], row["entropy_correlation"]]
        for row in found
    ]
    best = min(range(len(rows)), key=lambda i: _number(rows[i][1]))
    headers = ["system", "KL(votes ‖ posterior)", "cross-entropy", "ρ of entropies"]
    note = "Soft targets are trained on for this: KL in nats, lower is better; ρ: is the system unsure where the raters were?"
    return (
        drawn
        + page.table("Agreement with the raters' votes", headers, rows, best)
        + page.paragraph(note, "faint")
    )


def _groups(findings: Findings) -> str:
    rows: list[list[page.Cell]] = [
        [
            f"{row['by']}: {row['group']}",
            row["utterances"],
            row["macro_f1"],
            interval_text(row, "macro_f1"),
            row["accuracy"],
        ]
        for row in findings.rows("groups")
    ]
    if not rows:
        return ""
    note = "Macro-F1 over the classes that a group has; groups with other classes compare only loosely."
    headers = ["group", "utterances", "Macro-F1", "95 % interval", "accuracy"]
    return page.table(f"{findings.system} by group", headers, rows) + page.paragraph(note, "faint")


def _worst(findings: Findings) -> str:
    found = findings.rows("worst")
    if not found:
        return ""
    rows: list[list[page.Cell]] = [
        [row["utterance"], row["label"], row["prediction"], row["confidence"], row["transcript"]]
        for row in found
    ]
    headers, addresses = (
        ["utterance", "label", "prediction", "confidence", "transcript"],
        findings.players,
    )
    if not addresses:
        return page.table("Confident and wrong", headers, rows)
    names = [str(row["utterance"]) for row in found]
    players = [page.player(name, addresses[name]) if name in addresses else None for name in names]
    note = page.paragraph(
        "The audio is linked, not copied: it plays on this machine only.", "faint"
    )
    return page.table("Confident and wrong", headers, rows, players=players) + note


def _provenance(findings: Findings) -> str:
    config = json.dumps(dict(findings.config), indent=1, ensure_ascii=False)
    return page.facts(list(findings.provenance.items())) + page.folded(
        "The whole configuration", page.verbatim(config)
    )


def _number(value: object) -> float:
    """A cell as a number; 0 where there is none."""
    return float(value) if isinstance(value, int | float) else 0.0


_SECTIONS: tuple[tuple[str, tuple[str, ...], Callable[[Findings], str]], ...] = (
    ("Members and ensembles", ("scores",), _scores),
    ("Which differences are real", ("comparisons",), _comparisons),
    ("Classes", ("classes",), _classes),
    ("Confusion", (), _confusion),
    ("Training", ("curves",), _curves),
    ("What the meta-classifier listens to", ("weights",), _weights),
    ("How far the posteriors can be believed", ("agreement",), _belief),
    ("Groups", ("groups",), _groups),
    ("Ablation: what each part is worth", ("ablation",), ablation),
    ("Ensemble study: which combination is worth it", ("ensembles",), ensembles),
    ("Most surely wrong", ("worst",), _worst),
    ("Where the numbers come from", (), _provenance),
)
