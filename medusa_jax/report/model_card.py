"""`model_card.md`: use, limits, data and scores of a run's models, in the Hugging Face hub's form.

It is made from the same `Findings` as the page, so the numbers agree. It is meant to be published,
so it quotes no utterance.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medusa_jax.corpus.licences import Licence, licence_of
from medusa_jax.evaluation.format import p_text
from medusa_jax.evaluation.headline import SPEECH, headline_of_row
from medusa_jax.evaluation.tables import SYNTHETIC, Row, markdown_rows
from medusa_jax.report.contents import GROUPS_NOTE, Findings
from medusa_jax.report.conversation_sections import CARD_SCORES, card_parts
from medusa_jax.studies.study_file import MEAN

_USES = """\
- Research on speech emotion recognition: as a baseline, for comparing ways to fuse modalities and
  combine systems.
- Challenges on the same kind of corpus, under their rules.
- Describing collections of speech in the aggregate, where errors on single utterances do not
  matter and someone checks samples."""

_NOT_FOR = """\
- **Decisions about people**: hiring, schooling, policing, borders, credit, insurance, health, or
  any judgement of one person. In the European Union, inferring emotions at work and in education
  is prohibited except for medical and safety reasons (AI Act, Article 5(1)(f)).
- Finding out what someone *feels*. The system predicts how listeners would *describe* a voice.
- Lie detection, diagnosis, surveillance, or use on people who do not know of it or have not agreed.
- Languages, recordings and kinds of speech other than those of the corpus, unless measured there
  first."""


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
    """The metadata for the hub; it lists no scores on synthetic speech, as they are no results."""
    corpus, head = findings.corpus, {"license": licence.hub}
    dataset = f"{corpus.name}-synthetic" if corpus.synthetic else corpus.name
    tags = ["speech-emotion-recognition", "medusa", "jax", "flax"]
    if licence.hub == "other":
        head["license_name"] = licence.called.lower().replace(" ", "-")
    return {
        **head,
        **({"language": [licence.language]} if licence.language else {}),
        "library_name": "medusa-jax",
        "pipeline_tag": "audio-classification",
        "tags": [*tags, "synthetic"] if corpus.synthetic else tags,
        "datasets": [dataset],
        "metrics": ["f1", "accuracy", "recall"],
        **({} if corpus.synthetic else {"model-index": [_indexed(findings, dataset)]}),
    }


def _indexed(findings: Findings, dataset: str) -> dict[str, Any]:
    score = findings.score
    weighted = () if findings.headline is SPEECH else (("f1", "Weighted F1", "weighted_f1"),)
    metrics = [
        {"type": kind, "name": name, "value": round(float(score[column] or 0), 3)}
        for kind, name, column in (
            *weighted,
            ("f1", "Macro-F1", "macro_f1"),
            ("accuracy", "Accuracy", "accuracy"),
            ("recall", "Unweighted average recall", "uar"),
        )
    ]
    data = {"name": findings.corpus.name, "type": dataset, "split": findings.part}
    task = {"type": "audio-classification", "name": "Speech emotion recognition"}
    return {"name": findings.run, "results": [{"task": task, "dataset": data, "metrics": metrics}]}


def _what(findings: Findings, licence: Licence) -> str:
    reads = sorted({name for modalities in findings.members.values() for name in modalities})
    members: list[Row] = [
        {"member": name, "reads": " + ".join(modalities)}
        for name, modalities in findings.members.items()
    ]
    lines = [
        f"{findings.about[0].upper()}{findings.about[1:]}." if findings.about else "",
        _predicts(findings),
        _folds(findings.config["corpus"]),
        f"The members read {', '.join(f'`{name}`' for name in reads)}. "
        f"The {findings.learner} learned from {findings.learned_from}.",
        *findings.notes.get("weights", ()),
        "Trained and run with medusa-jax; the checkpoints open with plain orbax.",
        _table(members, {"member": "member", "reads": "reads"}),
    ]
    return "\n\n".join(filter(None, lines))


def _predicts(findings: Findings) -> str:
    members, classes = len(findings.members), findings.classes
    unrated = "; the attributes have no ratings here, so they were not scored"
    kind = "DeepSER member(s) after MEDUSA (arXiv 2506.09556)"
    if findings.headline is not SPEECH:
        kind = "member(s) on whole conversations after SUMMER (arXiv 2503.23721)"
    return (
        f"An ensemble of {members} {kind}, combined by "
        f"`{findings.system}`: it predicts a distribution over {len(classes)} classes "
        f"({', '.join(classes)}) for each utterance, and its arousal, valence and dominance from "
        f"1 to 7{unrated if findings.score.get('ccc_mean') is None else ''}."
    )


def _folds(corpus: Any) -> str:
    """The folds of a configuration's `corpus` section; empty without folds."""
    folds, fold = corpus["folds"], corpus["fold"]
    if fold:
        return f"It was trained and scored on fold {fold} of {folds} alone."
    if folds:
        return f"There are {folds} such ensembles, one a fold, each scored on unseen speakers."
    return ""


def _uses(findings: Findings, licence: Licence) -> str:
    synthetic = "Only to test the program: the models were trained on no human voice."
    return synthetic if findings.corpus.synthetic else _USES


def _not_for(findings: Findings, licence: Licence) -> str:
    return _NOT_FOR


def _limits(findings: Findings, licence: Licence) -> str:
    """Limits of every such model, then those that this one's own numbers show."""
    found = [
        f"The corpus is {licence.speech}. Nothing was measured on any other kind of speech.",
        "Labels are what listeners heard or what actors were asked to play, not what was felt.",
        "Where raters disagree there is no right answer.",
        *_measured_limits(findings),
    ]
    found += [
        findings.missing[table]
        for table in ("scores", "comparisons", "classes")
        if table in findings.missing
    ]
    return "\n".join(f"- {limit}" for limit in found)


def _measured_limits(findings: Findings) -> Iterator[str]:
    rows = [row for row in findings.rows("classes") if row["f1"] is not None]
    if len(rows) > 1:
        low, *_, high = sorted(rows, key=lambda row: float(row["f1"] or 0))
        yield (
            f"Classes differ: F1 of {high['class']} is {high['f1']:.3f}, "
            f"of {low['class']} {low['f1']:.3f}."
        )
    for row in findings.rows("calibration"):
        if row["system"] == findings.system:
            gap = float(row["overconfidence"] or 0)
            side = "exceeds" if gap > 0 else "falls short of"
            yield f"Mean confidence {side} accuracy by {abs(gap):.3f}."


def _data(findings: Findings, licence: Licence) -> str:
    stored = findings.config["features"].items()  # type: ignore[attr-defined]
    return "\n\n".join(
        [
            f"Corpus: **{findings.corpus.label}**, {licence.speech}.",
            f"**Licence of the corpus: {licence.called}.** {licence.terms} "
            f"(Source: {licence.source}.)",
            "The features come from these; a pretrained model has a licence of its own "
            "(see its card):",
            "\n".join(f"- `{name}`: {_origin(settings)}" for name, settings in stored),
        ]
    )


def _origin(settings: Mapping[str, Any]) -> str:
    """The model, feature set or extractor of a modality, with its revision."""
    name = settings.get("model") or settings.get("feature_set") or settings["extractor"]
    return f"{name} at {settings['revision']}" if settings.get("revision") else str(name)


def _evaluation(findings: Findings, licence: Licence) -> str:
    counts = findings.corpus.counts.items()
    described = ", ".join(f"{count:,} {things}" for things, count in counts if count)
    rows = [row for row in findings.rows("scores") if row["part"] == findings.part]
    tested = _tested(findings.rows("comparisons"))
    text = [
        f"On **{findings.part}** of {findings.corpus.label} ({described}). In brackets: 95 % "
        f"intervals, by bootstrap over {findings.headline.cluster}s.",
        _table(rows, _SCORES if findings.headline is SPEECH else CARD_SCORES),
        *card_parts(findings),
    ]
    if tested:
        text += [f"`{findings.system}` against the others ({_P}):", _table(tested, _TESTS)]
    text += [f"By class, `{findings.system}`:", _table(findings.rows("classes"), _CLASSES)]
    return "\n\n".join([*text, *_studies(findings)])


def _studies(findings: Findings) -> list[str]:
    rows = [row for row in findings.rows("ablation") if row["member"] == MEAN]
    if not rows:
        return []
    headline = headline_of_row(rows[0])
    columns = {"row": "row", headline.name: headline.title, "difference": "difference", "p": "p"}
    return [f"Ablation, means over members ({_P}):", _table(_tested(rows), columns)]


def _tested(rows: Sequence[Row]) -> list[Row]:
    """The rows with the corrected p-value, marked, as text."""
    return [{**row, "p": p_text(row["p_corrected"])} for row in rows]


def _groups(findings: Findings, licence: Licence) -> str:
    rows = [{**row, "group": f"{row['by']}: {row['group']}"} for row in findings.rows("groups")]
    shown = [_table(rows, _GROUPS), GROUPS_NOTE] if rows else []
    return "\n\n".join(filter(None, [*shown, findings.missing.get("groups", "")]))


def _calibration(findings: Findings, licence: Licence) -> str:
    rows, agreed = findings.rows("calibration"), findings.rows("agreement")
    text = [_table(rows, _CALIBRATION)]
    if agreed:
        text += [
            "Agreement with the distribution of the raters' votes (KL in nats, lower is better):",
            _table(agreed, {"system": "system", "kl": "KL"}),
        ]
    return "\n\n".join([*text, *filter(None, [findings.missing.get("agreement", "")])])


def _provenance(findings: Findings, licence: Licence) -> str:
    facts = "\n".join(f"- {name}: {value}" for name, value in findings.provenance.items())
    config = yaml.safe_dump(_public(findings.config), sort_keys=False, allow_unicode=True)
    folded = f"<summary>The whole configuration</summary>\n\n```yaml\n{config}```\n\n"
    return f"{facts}\n\n<details>{folded}</details>"


def _public(value: Any) -> Any:
    """A configuration without local folders."""
    if isinstance(value, Mapping):
        return {name: _public(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_public(one) for one in value]
    local = isinstance(value, str) and Path(value.removeprefix("hf:")).expanduser().is_absolute()
    return "(a local folder)" if local else value


def _table(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    return markdown_rows(rows, columns).rstrip()


_CALIBRATION = {
    "system": "system",
    "ece": "expected calibration error",
    "overconfidence": "confidence − accuracy",
}
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
