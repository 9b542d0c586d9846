"""Write the tables of docs/configuration.md from the configuration models.

python docs/configuration.py
"""

import html
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from medusa_jax.config import (
    ablation,
    conversation,
    corpus,
    ensemble,
    finetuning,
    model,
    run,
    training,
    transcription,
)
from medusa_jax.config import features as feature_config

PAGE = Path(__file__).with_suffix(".md")
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
FEATURES = (
    feature_config.LogMelConfig,
    feature_config.WaveformConfig,
    feature_config.OpenSmileConfig,
    feature_config.HashedTextConfig,
    feature_config.FramesConfig,
    feature_config.HuggingFaceConfig,
    feature_config.StoreConfig,
)
SECTIONS: dict[str, type[BaseModel]] = {
    "(top)": run.RunConfig,
    "corpus": corpus.CorpusConfig,
    **{
        f"features.NAME, extractor {section.model_fields['extractor'].default}": section
        for section in FEATURES
    },
    "transcription": transcription.TranscriptionConfig,
    "model": model.ModelConfig,
    "training": training.TrainingConfig,
    "training.stage1, training.stage2": training.StageConfig,
    "members.N": training.MemberConfig,
    "finetuning": finetuning.FinetuningConfig,
    "conversation": conversation.ConversationConfig,
    "engine": training.EngineConfig,
    "ensemble": ensemble.EnsembleConfig,
    "tracking": training.TrackingConfig,
    "submission": ensemble.SubmissionConfig,
    "ablation": ablation.AblationConfig,
    "ablation.rows.NAME": ablation.AblationRowConfig,
}
_KINDS = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true, false",
    "array": "list",
    "object": "mapping",
    "null": "null",
}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def tables() -> str:
    """Markdown: one table a section, one row a key."""
    return "\n".join(_table(name, model) for name, model in SECTIONS.items())


def page() -> str:
    """The whole page with fresh tables."""
    text = PAGE.read_text(encoding="utf-8")
    return text[: text.index(BEGIN) + len(BEGIN)] + "\n" + tables() + "\n" + text[text.index(END) :]


def _table(section: str, model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    about = " ".join((model.__doc__ or "").split())
    rows = [
        _row(key, schema["properties"][key], key in schema.get("required", ()))
        for key in model.model_fields
    ]
    return (
        f"### {section}\n\n{about}\n\n| key | values | default | meaning |\n|---|---|---|---|\n"
        + "".join(rows)
    )


def _row(key: str, field: dict[str, Any], required: bool) -> str:
    default = "required" if required else _default(field)
    description = html.escape(field.get("description", ""), quote=False)
    return f"| `{key}` | {_values(field)} | {default} | {description} |\n"


def _default(field: dict[str, Any]) -> str:
    """As YAML would say it; a section's defaults stand in its own table."""
    value = field.get("default", {})
    if isinstance(value, dict):
        return (
            "`{" + ", ".join(f"{key}: {inner}" for key, inner in value.items()) + "}`"
            if len(value) < 3
            else "see its table"
        )
    return f"`{json.dumps(value)}`" if not isinstance(value, str) or not value else f"`{value}`"


def _values(field: dict[str, Any]) -> str:
    """What a key may be, in words."""
    if "anyOf" in field:
        return " or ".join(_values(option) for option in field["anyOf"])
    if "$ref" in field:
        return "a section"
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    kind = _KINDS[field["type"]]
    return " ".join(
        [kind, *(f"{sign} {field[bound]}" for bound, sign in _BOUNDS.items() if bound in field)]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
