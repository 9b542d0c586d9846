"""`model_card.md`: who may use a run's models for what, how good they are and for whom, in the form of the Hugging Face hub.

Made of the same `Findings` as the page, so that it says the same numbers. It names no utterance, for it is made to be published.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medusa_jax.corpus.licences import Licence, licence_of
from medusa_jax.evaluation.format import p_text
from medusa_jax.evaluation.tables import SYNTHETIC, Row, markdown_rows
from medusa_jax.report.contents import Findings
from medusa_jax.studies.study_file import MEAN

_USES = """- Research on speech emotion recognition: as a baseline, for comparing ways to fuse modalities and combine systems.
- Challenges on the same kind of corpus, under their rules.
- Describing collections of speech in the aggregate, where errors of single utterances do not matter and someone checks samples."""

_NOT_FOR = """- **Decisions about people**: hiring, schooling, policing, borders, credit, insurance, health, or any judgement of one person.
  In the European Union, inferring emotions at work and in education is prohibited, but for medical and safety reasons (AI Act, Article 5(1)(f)).
- Finding out what someone *feels*. The system guesses how listeners would *describe* a voice.
- Lie detection, diagnosis, surveillance, or use on people who do not know of it or have not agreed.
- Languages, recordings and kinds of speech other than those of the corpus, unless measured there first."""


def model_card(findings: Findings) -> str:
    """The card as Markdown with its YAML head."""
    licence = licence_of(findings.corpus.name)
    head = yaml.safe_dump(_head(findings, licence), sort_keys=False, allow_unicode=True)
    warning = (
        f"> **Synthetic speech.** {SYNTHETIC} **Do not use these models on people's voices.**\n\n"
        if findings.corpus.synthetic
        else ""
    )
    parts = "\n\n".join(f"## {title}\n\n{make(findings, licence)}" for title, make in _SECTIONS)
    return f"---\n{head}---\n\n# {findings.run}: speech emotion recognition\n\n{warning}{parts}\n"


def _head(findings: Findings, licence: Licence) -> dict[str, Any]:
    """What the hub indexes. Scores on synthetic speech are no results, so they are not listed there."""
    tags = ["speech-emotion-recognition", "medusa", "jax", "flax"] + (
        ["synthetic"] if findings.corpus.synthetic else []
    )
    named = (
        {"license_name": licence.called.lower().replace(" ", "-")} if licence.hub == "other" else {}
    )
    language = {"language": [licence.language]} if licence.language else {}
    dataset = (
        f"{findings.corpus.name}-synthetic" if findings.corpus.synthetic else findings.corpus.name
    )
    head = {
        "license": licence.hub,
        **named,
        **language,
        "library_name": "medusa-jax",
        "pipeline_tag": "audio-classification",
        "tags": tags,
    }
    head |= {"datasets": [dataset], "metrics": ["f1", "accuracy", "recall"]}
    return (
        head if findings.corpus.synthetic else head | {"model-index": [_indexed(findings, dataset)]}
    )


def _indexed(findings: Findings, dataset: str) -> dict[str, Any]:
    score = findings.score
    named = {
        "f1": ("Macro-F1", "macro_f1"),
        "accuracy": ("Accuracy", "accuracy"),
        "recall": ("Unweighted average recall", "uar"),
    }
    metrics = [
        {"type": kind, "name": name, "value": round(float(score[column] or 0), 3)}
        for kind, (name, column) in named.items()
    ]
    data = {"name": findings.corpus.name, "type": dataset, "split": findings.part}
    task = {"type": "audio-classification", "name": "Speech emotion recognition"}
    return {"name": findings.run, "results": [{"task": task, "dataset": data, "metrics": metrics}]}


def _what(findings: Findings, licence: Licence) -> str:
    reads = sorted({name for modalities in findings.members.values() for name in modalities})
    rated, corpus = findings.score.get("ccc_mean") is not None, findings.config["corpus"]
    folds, fold = corpus["folds"], corpus["fold"]  # type: ignore[index]
    lines = [
        f"{findings.about[0].upper()}{findings.about[1:]}." if findings.about else "",
        f"An ensemble of {len(findings.members)} DeepSER member(s) after MEDUSA (arXiv 2506.09556), combined by `{findings.system}`: it gives each "
        f"utterance a distribution over {len(findings.classes)} classes ({', '.join(findings.classes)}), and its arousal, valence and dominance "
        "from 1 to 7"
        + ("." if rated else "; nobody rated those here, so nothing is known of them."),
        f"There are {folds} such ensembles, one a fold, each scored on the speakers that it never heard."
        if folds and not fold
        else "",
        f"It was trained and scored on fold {fold} of {folds} alone." if fold else "",
        f"The members read {', '.join(f'`{name}`' for name in reads)}. The meta-classifier learned from {findings.learned_from}.",
        "Trained and run with medusa-jax; the checkpoints open with plain orbax.",
    ]
    members = [
        {"member": name, "reads": " + ".join(modalities)}
        for name, modalities in findings.members.items()
    ]
    return (
        "\n\n".join(filter(None, lines))
        + "\n\n"
        + _table(members, {"member": "member", "reads": "reads"})
    )


def _uses(findings: Findings, licence: Licence) -> str:
    return (
        "Only to see that the program works: the models know nothing of human voices."
        if findings.corpus.synthetic
        else _USES
    )


def _not_for(findings: Findings, licence: Licence) -> str:
    return _NOT_FOR


def _limits(findings: Findings, licence: Licence) -> str:
    """What holds for every such model, and what this one's own numbers show."""
    found = [
        f"- The corpus is {licence.speech}. Nothing was measured on any other kind of speech.",
        "- Labels are what listeners said they heard, or what actors were told to play, not what was felt.",
        "- Where raters disagree there is no right answer.",
    ]
    rows = [row for row in findings.rows("classes") if row["f1"] is not None]
    if len(rows) > 1:
        low, high = (choose(rows, key=lambda row: float(row["f1"] or 0)) for choose in (min, max))
        found.append(
            f"- Classes differ: F1 of {high['class']} is {high['f1']:.3f}, of {low['class']} {low['f1']:.3f}."
        )
    own = next(
        (row for row in findings.rows("calibration") if row["system"] == findings.system), None
    )
    if own:
        side = "more" if float(own["overconfidence"] or 0) > 0 else "less"
        found.append(
            f"- The first choice is on average {abs(float(own['overconfidence'] or 0)):.3f} {side} confident than it is right."
        )
    found += [
        f"- {findings.missing[table]}"
        for table in ("scores", "comparisons", "classes")
        if table in findings.missing
    ]
    return "\n".join(found)


def _data(findings: Findings, licence: Licence) -> str:
    stored = [
        f"- `{name}`: {settings.get('model') or settings.get('feature_set') or settings['extractor']}"
        + _revision(settings)
        for name, settings in findings.config["features"].items()  # type: ignore[attr-defined]
    ]
    return (
        f"Corpus: **{findings.corpus.label}**, {licence.speech}.\n\n"
        f"**Licence of the corpus: {licence.called}.** {licence.terms} (Source: {licence.source}.)\n\n"
        "The features come from these, each with its own licence where it is a pretrained model (see its own card):\n\n"
        + "\n".join(stored)
    )


def _revision(settings: Mapping[str, Any]) -> str:
    return f" at {settings['revision']}" if settings.get("revision") else ""


def _evaluation(findings: Findings, licence: Licence) -> str:
    counts = ", ".join(
        f"{count:,} {what}" for what, count in findings.corpus.counts.items() if count
    )
    rows = [row for row in findings.rows("scores") if row["part"] == findings.part]
    text = [
        f"On **{findings.part}** of {findings.corpus.label} ({counts}). In brackets: 95 % intervals, by bootstrap over speakers.",
        _table(rows, _SCORES),
    ]
    if findings.rows("comparisons"):
        text += [
            f"`{findings.system}` against the others ({_P}):",
            _table(_tested(findings.rows("comparisons")), _TESTS),
        ]
    return "\n\n".join(
        [
            *text,
            f"By class, `{findings.system}`:",
            _table(findings.rows("classes"), _CLASSES),
            *_studies(findings),
        ]
    )


def _studies(findings: Findings) -> list[str]:
    rows = [row for row in findings.rows("ablation") if row["member"] == MEAN]
    if not rows:
        return []
    return [f"Ablation, means over members ({_P}):", _table(_tested(rows), _ABLATION)]


def _tested(rows: Sequence[Row]) -> list[Row]:
    """The rows with the corrected p-value, marked, as text."""
    return [{**row, "p": p_text(row["p_corrected"])} for row in rows]


def _groups(findings: Findings, licence: Licence) -> str:
    rows = [{**row, "group": f"{row['by']}: {row['group']}"} for row in findings.rows("groups")]
    missing = findings.missing.get("groups", "")
    note = "Macro-F1 over the classes that a group has; groups with other classes compare only loosely."
    return "\n\n".join(
        filter(None, [_table(rows, _GROUPS) if rows else "", note if rows else "", missing])
    )


def _calibration(findings: Findings, licence: Licence) -> str:
    rows, agreed = findings.rows("calibration"), findings.rows("agreement")
    text = [
        _table(
            rows,
            {
                "system": "system",
                "ece": "expected calibration error",
                "overconfidence": "confidence − accuracy",
            },
        )
    ]
    if agreed:
        text += [
            "Agreement with the distribution of the raters' votes (KL in nats, lower is better):",
            _table(agreed, {"system": "system", "kl": "KL"}),
        ]
    return "\n\n".join([*text, *filter(None, [findings.missing.get("agreement", "")])])


def _provenance(findings: Findings, licence: Licence) -> str:
    facts = "\n".join(f"- {name}: {value}" for name, value in findings.provenance.items())
    config = yaml.safe_dump(_public(findings.config), sort_keys=False, allow_unicode=True)
    return f"{facts}\n\n<details><summary>The whole configuration</summary>\n\n```yaml\n{config}```\n\n</details>"


def _public(value: Any) -> Any:
    """A configuration without the folders of the machine that it ran on."""
    if isinstance(value, Mapping):
        return {name: _public(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_public(one) for one in value]
    local = isinstance(value, str) and Path(value.removeprefix("hf:")).expanduser().is_absolute()
    return "(a local folder)" if local else value


def _table(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    return markdown_rows(rows, columns).rstrip()


_AGREEMENT = {"system": "system", "kl": "KL", "utterances": "utterances"}
_P = "p corrected by Holm; *: below 0.05"
_SCORES = {
    "system": "system",
    "kind": "reads",
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "accuracy": "accuracy",
    "uar": "UAR",
    "ccc_mean": "mean CCC",
}
_TESTS = {"against": "against", "difference": "difference", "p": "p"}
_CLASSES = {
    "class": "class",
    "utterances": "utterances",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
}
_GROUPS = {
    "group": "group",
    "utterances": "utterances",
    "macro_f1": "Macro-F1",
    "accuracy": "accuracy",
}
_ABLATION = {"row": "row", "macro_f1": "Macro-F1", "difference": "difference", "p": "p"}
_SECTIONS: tuple[tuple[str, Callable[[Findings, Licence], str]], ...] = (
    ("What it is", _what),
    ("Intended use", _uses),
    ("Not for", _not_for),
    ("Limits", _limits),
    ("Training data", _data),
    ("Evaluation", _evaluation),
    ("Subgroups", _groups),
    ("Calibration", _calibration),
    ("Where the numbers come from", _provenance),
)
