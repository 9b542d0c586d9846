"""`report.html`: a run on one page, from the same numbers as its `scores.csv`; what is missing is said, not hidden."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.special import softmax

from medusa_jax.ensemble.meta import MetaClassifiers
from medusa_jax.errors import CheckpointError
from medusa_jax.evaluation import figures, page
from medusa_jax.evaluation.calibration import agreement, calibration
from medusa_jax.evaluation.intervals import macro_f1_interval
from medusa_jax.evaluation.paired import compare
from medusa_jax.evaluation.subgroups import subgroup_scores
from medusa_jax.evaluation.tables import SYNTHETIC
from medusa_jax.files import write_text
from medusa_jax.pipeline.evaluate import Part, System, facts_of, scored_parts
from medusa_jax.pipeline.run_folder import provenance
from medusa_jax.pipeline.steps import ENSEMBLES, SOFT, SOUP, Prepared
from medusa_jax.training.selection import f1_of

WORST = 12  # surely wrong utterances that are shown


def report(prepared: Prepared) -> Path:
    """Write `report.html` into the run folder and return its path.

    Raises `EvaluationError` where the run cannot be scored, `DependencyError` without matplotlib.
    """
    parts = scored_parts(prepared)
    part, config = parts[-1], prepared.run.config
    shown = _shown(prepared, part)
    sections = [
        page.Section("Members and ensembles", "".join(_scores_table(one) for one in reversed(parts))),
        page.Section("Which differences are real", _comparisons(part, shown)),
        page.Section("Classes", _classes(part, shown)),
        page.Section("Confusion", _confusion(part, shown)),
        page.Section("Training", _training(prepared)),
        page.Section("What the meta-classifier listens to", _weights(prepared)),
        page.Section("How far the posteriors can be believed", _belief(part, shown)),
        page.Section("Groups", _groups(part, shown)),
        page.Section("Most surely wrong", _worst(part, shown)),
        page.Section("Where the numbers come from", _provenance(prepared)),
    ]
    path = prepared.run.folder / "report.html"
    write_text(path, page.page(f"{config.name}: speech emotion recognition on {part.corpus.name}", _lead(prepared, part, shown), sections))
    return path


def _shown(prepared: Prepared, part: Part) -> System:
    """The system that the page is about: the one that is submitted, else the soup."""
    wanted = prepared.run.config.submission.system if prepared.run.config.submission else SOUP
    return next(system for system in part.systems if system.name == wanted)


def _lead(prepared: Prepared, part: Part, shown: System) -> str:
    """What was run, on what, with what result."""
    config, facts, scores = prepared.run.config, facts_of(part), shown.scores
    assert scores.classification is not None
    assert scores.interval is not None
    over = f"{scores.interval.clusters} speakers" if facts.counts["speakers"] else f"{scores.interval.clusters} utterances whose speakers are unknown"
    interval = f"95 % interval {scores.interval.low:.3f} to {scores.interval.high:.3f} over {over}"
    counts = ", ".join(f"{count:,} {what}" for what, count in facts.counts.items() if count)
    rated = f", mean CCC {scores.attributes.mean:.3f}" if scores.attributes else "; no attribute ratings to compare with"
    html = page.paragraph(SYNTHETIC, "warn") if part.corpus.synthetic else ""
    html += page.paragraph(
        f"{config.about or config.name}: {len(config.members)} member(s), combined by {shown.name}, on {part.name} of {facts.label} ({counts})."
    )
    html += f'<p class="key">Macro-F1 {scores.classification.macro_f1:.3f}</p>'
    return html + page.paragraph(f"{interval}; accuracy {scores.classification.accuracy:.3f}{rated}.")


def _scores_table(part: Part) -> str:
    """Every system of a part; folded but for the last part."""
    rows: list[list[page.Cell]] = []
    for system in part.systems:
        classes, interval, rated = system.scores.classification, system.scores.interval, system.scores.attributes
        assert classes is not None
        bounds = f"{interval.low:.3f} to {interval.high:.3f}" if interval else None
        means = [classes.macro_f1, bounds, classes.micro_f1, classes.accuracy, classes.uar, rated.mean if rated else None]
        rows.append([system.name, system.kind, *means])
    best = max(range(len(rows)), key=lambda i: float(rows[i][2] or 0))
    headers = ["system", "reads", "Macro-F1", "95 % interval", "Micro-F1", "accuracy", "UAR", "mean CCC"]
    return page.table(f"{part.name} of {part.corpus.name}; the interval is a bootstrap over speakers", headers, rows, best)


def _comparisons(part: Part, shown: System) -> str:
    """The shown system against every other, corrected together."""
    guesses = {system.name: system.outputs.logits.argmax(axis=1) for system in part.systems}
    pairs = [(shown.name, name) for name in guesses if name != shown.name]
    found = compare(part.corpus.labels, guesses, pairs, part.corpus.classes, part.corpus.frame["speaker"])
    rows: list[list[page.Cell]] = [
        [
            one.other,
            one.difference,
            f"{one.interval.low:+.3f} to {one.interval.high:+.3f}",
            one.p,
            one.corrected,
            "yes" if one.corrected < 0.05 else "no",
        ]
        for one in found
    ]
    headers = ["against", "difference", "95 % interval", "p", "p, corrected", "significant"]
    note = "Macro-F1 differences on the same utterances. p: the systems' predictions exchanged speaker by speaker; corrected for this table by Holm."
    return page.table(f"{shown.name} against each other system", headers, rows) + page.paragraph(note, "faint")


def _classes(part: Part, shown: System) -> str:
    """F1 of each class with its interval."""
    corpus, guess_n = part.corpus, shown.outputs.logits.argmax(axis=1)
    assert shown.scores.classification is not None
    rows = []
    for c, (name, value) in enumerate(zip(corpus.classes, shown.scores.classification.f1, strict=True)):
        if name not in shown.scores.classification.absent:
            one = macro_f1_interval(corpus.labels, guess_n, corpus.classes, corpus.frame["speaker"], metric=lambda x, c=c: f1_of(x)[..., c])  # type: ignore[misc]
            rows.append(figures.Bar(name, value, one.low, one.high))
    absent = shown.scores.classification.absent
    note = page.paragraph(f"No labelled example of {', '.join(absent)}: counted as F1 = 0 in the means.") if absent else ""
    return page.figure(figures.bars(rows, f"F1 of each class, {shown.name}", "F1, with 95 % intervals over speakers")) + note


def _confusion(part: Part, shown: System) -> str:
    """Counts, and shares of each true class."""
    assert shown.scores.classification is not None
    classes, counts = part.corpus.classes, np.array(shown.scores.classification.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return page.heat_table("Share of each true class", "true ↓ predicted →", classes, classes, shares) + page.heat_table(
        "Utterances", "true ↓ predicted →", classes, classes, counts, "{:.0f}"
    )


def _training(prepared: Prepared) -> str:
    """Held-out score and loss of every member by epoch, for the first fold."""
    run = prepared.run
    scores, losses, lacking = [], [], []
    for member in run.config.members:
        path = run.member_folder(0, member.id) / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        if not lines:
            lacking.append(member.id)
            continue
        epochs = list(range(1, len(lines) + 1))
        scores.append(figures.Curve(member.id, epochs, [line["held_out_macro_f1"] for line in lines]))
        losses.append(figures.Curve(member.id, epochs, [line["loss"] for line in lines]))
    html = page.paragraph(f"No metrics of {', '.join(lacking)}.") if lacking else ""
    if not scores:
        return html
    where = " (first fold)" if len(prepared.folds) > 1 else ""
    html += page.figure(figures.curves(scores, f"Held-out Macro-F1 by epoch{where}", "epoch", "Macro-F1, balanced"))
    return html + page.figure(figures.curves(losses, f"Training loss by epoch{where}", "epoch", "loss"))


def _weights(prepared: Prepared) -> str:
    """The soup's weight of each member's posterior of a class for that same class: the reliability of model and class."""
    run, classes = prepared.run, prepared.corpus.classes
    try:
        weights_fc = np.asarray(MetaClassifiers.load(run.fold_folder(0) / "ensemble" / "checkpoints").soup()["w"])
    except CheckpointError as error:
        return page.paragraph(f"The meta-classifier cannot be shown: {error.what}.")
    members = [member.id for member in run.config.members]
    per_member = weights_fc.reshape(len(members), -1, weights_fc.shape[1])[:, : len(classes), : len(classes)]
    own_mc = np.einsum("mcc->mc", per_member)
    note = f"How much the soup's score of a class rises with a member's posterior of that class. It learned from {run.config.ensemble.learned_from}."
    return page.heat_table("Weight of each member for each class", "member", members, classes, own_mc) + page.paragraph(note, "faint")


def _belief(part: Part, shown: System) -> str:
    """Reliability diagram; agreement with the votes."""
    chosen = {system.name: system for system in part.systems if system.name in {shown.name, SOFT}}
    found = {name: calibration(part.corpus.labels, _posteriors(system)) for name, system in chosen.items()}
    html = page.figure(figures.reliability(found, "Confidence and accuracy"))
    soft_nc = np.nan_to_num(part.corpus.soft[:, : len(part.corpus.classes)])
    total_n = soft_nc.sum(axis=1, keepdims=True)
    if not total_n.any():
        return html + page.paragraph("These utterances have no votes, so agreement with the raters cannot be measured.")
    votes_nc = np.divide(soft_nc, total_n, out=np.zeros_like(soft_nc), where=total_n > 0)
    rows: list[list[page.Cell]] = []
    for system in part.systems:
        one = agreement(votes_nc, _posteriors(system))
        rows.append([system.name, one.kl, one.cross_entropy, one.entropy_correlation if np.isfinite(one.entropy_correlation) else None])
    best = min(range(len(rows)), key=lambda i: float(rows[i][1] or 0))
    headers = ["system", "KL(votes ‖ posterior)", "cross-entropy", "ρ of entropies"]
    note = "Soft targets are trained on for this: KL in nats, lower is better; ρ: is the system unsure where the raters were?"
    return html + page.table("Agreement with the raters' votes", headers, rows, best) + page.paragraph(note, "faint")


def _groups(part: Part, shown: System) -> str:
    """Scores by group."""
    rows: list[list[page.Cell]] = [
        [
            f"{one.by}: {one.group}",
            one.utterances,
            one.macro_f1,
            f"{one.interval.low:.3f} to {one.interval.high:.3f}" if one.interval else None,
            one.accuracy,
        ]
        for one in subgroup_scores(part.corpus, _posteriors(shown))
    ]
    if not rows:
        return page.paragraph("The corpus knows no gender, length or votes of these utterances.")
    note = "Macro-F1 over the classes that a group has; groups with other classes compare only loosely."
    return page.table(f"{shown.name} by group", ["group", "utterances", "Macro-F1", "95 % interval", "accuracy"], rows) + page.paragraph(
        note, "faint"
    )


def _worst(part: Part, shown: System) -> str:
    """The utterances with the most confident wrong choices, playable where their audio is on this machine."""
    corpus, posteriors_nc = part.corpus, _posteriors(shown)
    guess_n = posteriors_nc.argmax(axis=1)
    wrong = np.flatnonzero((corpus.labels >= 0) & (guess_n != corpus.labels))
    worst = wrong[np.argsort(-posteriors_nc[wrong, guess_n[wrong]], kind="stable")][:WORST]
    if not len(worst):
        return page.paragraph("There is none.")
    rows: list[list[page.Cell]] = []
    players = []
    for n in worst:
        text = corpus.frame["transcript"].iat[n]
        said = str(text) if isinstance(text, str) else None
        rows.append(
            [str(corpus.frame["id"].iat[n]), corpus.classes[corpus.labels[n]], corpus.classes[guess_n[n]], float(posteriors_nc[n, guess_n[n]]), said]
        )
        path = corpus.audio_path(int(n))
        players.append(page.player(str(corpus.frame["id"].iat[n]), path.resolve().as_uri()) if path.is_file() else None)
    headers = ["utterance", "label", "prediction", "confidence", "transcript"]
    if not any(players):
        return page.table("Confident and wrong", headers, rows) + page.paragraph("Their audio is not on this machine.", "faint")
    return page.table("Confident and wrong", headers, rows, players=players) + page.paragraph(
        "The audio is linked, not copied: it plays on this machine only.", "faint"
    )


def _provenance(prepared: Prepared) -> str:
    """Everything that made it."""
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    made = provenance(prepared.run) | {"corpus digest": prepared.corpus.digest(), "systems": ", ".join(ENSEMBLES), "written": written}
    config = json.dumps(prepared.run.config.model_dump(mode="json"), indent=1, ensure_ascii=False)
    return page.facts(list(made.items())) + page.folded("The whole configuration", page.verbatim(config))


def _posteriors(system: System) -> np.ndarray:
    """`[n, c]`, float64: sums to 1 as exactly as calibration wants it."""
    return softmax(system.outputs.logits.astype(np.float64), axis=1)
