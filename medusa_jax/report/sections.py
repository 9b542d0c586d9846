"""The sections of `report.html`, made from `Findings` alone; gaps are named at a section's head."""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from medusa_jax.evaluation.format import interval_text, p_text, signed_text
from medusa_jax.evaluation.headline import SPEECH
from medusa_jax.evaluation.tables import SYNTHETIC, Row
from medusa_jax.report import figures
from medusa_jax.report import html as page
from medusa_jax.report.contents import GROUPS_NOTE, Findings
from medusa_jax.report.conversation_sections import not_a_result, picked, published
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
    """The run, its data and its result in four sentences."""
    counts, score, headline = findings.corpus.counts, findings.score, findings.headline
    described = ", ".join(f"{count:,} {things}" for things, count in counts.items() if count)
    about = findings.about or findings.run
    combined = f"{len(findings.members)} member(s), combined by {findings.system}"
    data = f"{findings.part} of {findings.corpus.label} ({described})"
    return "".join(
        [
            page.paragraph(SYNTHETIC, "warn") if findings.corpus.synthetic else "",
            page.paragraph(f"{about[0].upper()}{about[1:]}: {combined}, on {data}."),
            f'<p class="key">{headline.title} {score[headline.name]:.3f}</p>',
            page.paragraph(
                f"{_interval(findings)}; accuracy {score['accuracy']:.3f}{_ccc(score)}."
            ),
            *not_a_result(findings),
            page.paragraph(f"The {findings.learner} learned from {findings.learned_from}."),
        ]
    )


def _interval(findings: Findings) -> str:
    headline = findings.headline
    many = f"{headline.cluster}s"
    count, bounds = findings.corpus.counts.get(many), interval_text(findings.score, headline.name)
    if not bounds:
        return f"no interval: there are fewer than two {many}"
    over = f"{count} {many}" if count else "utterances, whose speakers are unknown"
    return f"95 % interval {bounds}, over {over}"


def _ccc(score: Row) -> str:
    if score.get("ccc_mean") is None:
        return "; no attribute ratings to compare with"
    return f", mean CCC {score['ccc_mean']:.3f}"


def _scores(findings: Findings) -> str:
    """Every system of every part; parts other than the page's own are folded."""
    parts = list(dict.fromkeys(str(row["part"]) for row in findings.rows("scores")))
    tables = [_scores_table(findings, part) for part in parts]
    return tables[0] + "".join(
        page.folded(f"The same on {part}", html)
        for part, html in zip(parts[1:], tables[1:], strict=True)
    )


def _scores_table(findings: Findings, part: str) -> str:
    rows: list[list[page.Cell]] = []
    headline = findings.headline
    columns = _MEANS if headline is SPEECH else _MEANS_OF_CONVERSATIONS
    for row in (row for row in findings.rows("scores") if row["part"] == part):
        first = [row[headline.name], interval_text(row, headline.name)]
        rows.append([row["system"], row["kind"], *first, *(row.get(name) for name in columns)])
    best = max(range(len(rows)), key=lambda i: float(rows[i][2] or 0))
    headers = ["system", "reads", headline.title, "95 % interval", *columns.values()]
    title = f"{part} of {findings.corpus.label}; the best {headline.title} stands out"
    return page.table(title, headers, rows, best)


def _comparisons(findings: Findings) -> str:
    rows: list[list[page.Cell]] = []
    for row in findings.rows("comparisons"):
        p, corrected = p_text(row["p"], marked=False), p_text(row["p_corrected"])
        bounds = interval_text(row, "difference", "+z.3f")
        rows.append([row["against"], signed_text(row["difference"]), bounds, p, corrected])
    if not rows:
        return ""
    headers = ["against", "difference", "95 % interval", "p", "p, corrected"]
    headline = findings.headline
    note = (
        f"{headline.title} differences on the same utterances. p: the systems' predictions "
        f"exchanged {headline.cluster} by {headline.cluster}; corrected for this table by Holm. "
        "*: corrected p below 0.05."
    )
    title = f"{findings.system} against each other system"
    return page.table(title, headers, rows) + page.paragraph(note, "faint")


def _classes(findings: Findings) -> str:
    rows = findings.rows("classes")
    bars = [figures.Bar.of(str(row["class"]), row, "f1") for row in rows]
    cells: list[list[page.Cell]] = []
    for row in rows:
        f1 = [row["f1"], interval_text(row, "f1"), row["precision"], row["recall"]]
        cells.append([row["class"], row["utterances"], *f1])
    title = f"F1 of each class, {findings.system}"
    label = f"F1, with 95 % intervals over {findings.headline.cluster}s"
    drawn = page.figure(figures.bars(bars, title, label), title)
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
    shared = page.heat_table("Share of each true class", corner, classes, classes, shares)
    return shared + page.heat_table("Utterances", corner, classes, classes, counts, "{:.0f}")


def _curves(findings: Findings) -> str:
    """Selection score and loss of every member by epoch, in the first fold that has them."""
    rows = findings.rows("curves")
    if not rows:
        return ""
    fold, several = rows[0]["fold"], len({row["fold"] for row in rows}) > 1
    of_member: dict[str, list[Row]] = {}
    for row in (row for row in rows if row["fold"] == fold):
        of_member.setdefault(str(row["member"]), []).append(row)
    where = f" (fold {fold})" if several else ""
    drawn = ""
    balanced = "Macro-F1, balanced, held-out part"
    score = balanced if findings.headline is SPEECH else "score that chooses the epoch"
    for name, title, label in (
        ("selection_score", "Selection score by epoch", score),
        ("loss", "Training loss by epoch", "loss"),
    ):
        lines = [_curve(member, own, name) for member, own in of_member.items()]
        svg = figures.curves(lines, title + where, "epoch", label, _stage2(of_member))
        drawn += page.figure(svg, title + where)
    return drawn + page.paragraph(_SELECTION, "faint")


def _curve(member: str, rows: Sequence[Row], name: str) -> figures.Curve:
    epochs = [_number(row["epoch"]) for row in rows]
    return figures.Curve(member, epochs, [_number(row[name]) for row in rows])


def _stage2(of_member: Mapping[str, Sequence[Row]]) -> dict[str, float]:
    """The first epoch of Stage 2, where it is the same for all members."""
    starts = {
        next((_number(row["epoch"]) for row in rows if row["phase"] == "stage2"), None)
        for rows in of_member.values()
    }
    start = starts.pop() if len(starts) == 1 else None
    return {"Stage 2": start - 0.5} if start else {}


def _weights(findings: Findings) -> str:
    rows = findings.rows("weights")
    if not rows:
        return ""
    if "class" not in rows[0]:
        return _vote_weights(findings)
    values = np.reshape(
        [_number(row["weight"]) for row in rows], (len(findings.members), len(findings.classes))
    )
    note = (
        "How much the soup's score of a class rises with a member's posterior of that class (of "
        f"the first fold, where there are folds). It learned from {findings.learned_from}."
    )
    drawn = page.heat_table(
        "Weight of each member for each class",
        "member",
        list(findings.members),
        findings.classes,
        values,
    )
    return drawn + page.paragraph(note, "faint")


def _vote_weights(findings: Findings) -> str:
    """The weighted vote: a row a member, a column a fold."""
    weights = [_number(row["weight"]) for row in findings.rows("weights")]
    values = np.reshape(weights, (-1, len(findings.members))).T
    folds = [f"fold {n + 1}" for n in range(values.shape[1])] if values.shape[1] > 1 else ["weight"]
    drawn = page.heat_table(
        "Weight of each member in the vote", "member", list(findings.members), folds, values
    )
    notes = findings.notes.get("weights", ())
    return drawn + "".join(page.paragraph(note, "faint") for note in notes)


def _calibration(findings: Findings) -> str:
    """Reliability diagram; agreement with the votes."""
    title = "Confidence and accuracy"
    measured, bins = findings.rows("calibration"), findings.rows("reliability")
    drawn = page.figure(figures.reliability(measured, bins, title), title)
    found = findings.rows("agreement")
    if not found:
        return drawn
    rows: list[list[page.Cell]] = [
        [row["system"], row["kl"], row["cross_entropy"], row["entropy_correlation"]]
        for row in found
    ]
    best = min(range(len(rows)), key=lambda i: _number(rows[i][1]))
    headers = ["system", "KL(votes ‖ posterior)", "cross-entropy", "ρ of entropies"]
    note = (
        "Members train on soft targets for this. KL in nats, lower is better; ρ is high if the "
        "system is unsure where the raters were."
    )
    table = page.table("Agreement with the raters' votes", headers, rows, best)
    return drawn + table + page.paragraph(note, "faint")


def _groups(findings: Findings) -> str:
    rows: list[list[page.Cell]] = []
    for row in findings.rows("groups"):
        scores = [row["macro_f1"], interval_text(row, "macro_f1"), row["accuracy"]]
        rows.append([f"{row['by']}: {row['group']}", row["utterances"], *scores])
    if not rows:
        return ""
    headers = ["group", "utterances", "Macro-F1", "95 % interval", "accuracy"]
    table = page.table(f"{findings.system} by group", headers, rows)
    return table + page.paragraph(GROUPS_NOTE, "faint")


def _worst(findings: Findings) -> str:
    found = findings.rows("worst")
    if not found:
        return ""
    headers = ["utterance", "label", "prediction", "confidence", "transcript"]
    rows: list[list[page.Cell]] = [[row[name] for name in headers] for row in found]
    addresses = findings.players
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
    """A cell as a number; 0 for anything else."""
    return float(value) if isinstance(value, int | float) else 0.0


_SELECTION = (
    "The selection score chooses each member's epoch. Its maximum over epochs is optimistic: "
    "compare members by their scores above."
)
_MEANS = {"micro_f1": "Micro-F1", "accuracy": "accuracy", "uar": "UAR", "ccc_mean": "mean CCC"}
_MEANS_OF_CONVERSATIONS = {
    "accuracy": "accuracy",
    "macro_f1": "Macro-F1",
    "uar": "UAR",
    "ccc_mean": "mean CCC",
}
_SECTIONS: tuple[tuple[str, tuple[str, ...], Callable[[Findings], str]], ...] = (
    ("Members and ensembles", ("scores",), _scores),
    ("Not results: epochs picked by test labels", (), picked),
    ("Published results", (), published),
    ("Significance of the differences", ("comparisons",), _comparisons),
    ("Classes", ("classes",), _classes),
    ("Confusion", (), _confusion),
    ("Training", ("curves",), _curves),
    ("Weights of the members", ("weights",), _weights),
    ("Calibration", ("agreement",), _calibration),
    ("Groups", ("groups",), _groups),
    ("Ablation", ("ablation",), ablation),
    ("Ensemble study", ("ensembles",), ensembles),
    ("Confident and wrong", ("worst",), _worst),
    ("Where the numbers come from", (), _provenance),
)
