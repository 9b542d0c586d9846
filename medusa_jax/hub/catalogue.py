"""The catalogue of the paper's pretrained encoders: exact weights and expected shape.

Revisions are commits of each repository's main branch. A configuration names an entry, or
`hf:<hub id or folder>` for any other model of these architectures.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medusa_jax.errors import ConfigError

Layers = Literal["last", "sum_last_4", "mean_last_4", "all"]
PREFIX = "hf:"


@dataclass(frozen=True)
class Encoder:
    """One pretrained encoder."""

    name: str
    hub_id: str
    revision: str
    """Full commit."""
    kind: str
    """transformers' model type."""
    reads: Literal["audio", "text"]
    width: int
    depth: int
    """Number of encoder layers."""
    frames_per_second: int | None
    """None: one frame per token."""
    layers: Layers
    """Hidden states that make the features by default."""
    normalised: bool
    """Each waveform is scaled to mean 0 and deviation 1."""
    pickled: bool = False
    """The commit has only PyTorch's pickled weights; they are converted before use."""

    def contradictions(
        self, settings: Mapping[str, Any], preprocessing: Mapping[str, Any]
    ) -> list[str]:
        """List what a config.json and preprocessor_config.json have different from this entry."""
        found = {
            "kind": settings.get("model_type"),
            "width": settings.get("d_model", settings.get("hidden_size")),
            "layers": settings.get("encoder_layers", settings.get("num_hidden_layers")),
        }
        wanted = {"kind": self.kind, "width": self.width, "layers": self.depth}
        if self.reads == "audio" and self.kind != "whisper":
            found["do_normalize"] = preprocessing.get("do_normalize")
            wanted["do_normalize"] = self.normalised
        differing = [key for key in wanted if found[key] != wanted[key]]
        return [f"{key} is {found[key]}, not {wanted[key]}" for key in differing]


ENCODERS: dict[str, Encoder] = {
    entry.name: entry
    for entry in (
        Encoder(
            name="wavlm-large",
            hub_id="microsoft/wavlm-large",
            revision="c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c",
            kind="wavlm",
            reads="audio",
            width=1024,
            depth=24,
            frames_per_second=50,
            layers="sum_last_4",
            normalised=True,
            pickled=True,
        ),
        Encoder(
            name="hubert-large",
            hub_id="facebook/hubert-large-ls960-ft",
            revision="ece5fabbf034c1073acae96d5401b25be96709d8",
            kind="hubert",
            reads="audio",
            width=1024,
            depth=24,
            frames_per_second=50,
            layers="sum_last_4",
            normalised=True,
            pickled=True,
        ),
        Encoder(
            name="whisper-large-v3",
            hub_id="openai/whisper-large-v3",
            revision="06f233fe06e710322aca913c1bc4249a0d71fce1",
            kind="whisper",
            reads="audio",
            width=1280,
            depth=32,
            frames_per_second=50,
            layers="last",
            normalised=False,
        ),
        Encoder(
            name="roberta-large",
            hub_id="FacebookAI/roberta-large",
            revision="722cf37b1afa9454edce342e7895e588b6ff1d59",
            kind="roberta",
            reads="text",
            width=1024,
            depth=24,
            frames_per_second=None,
            layers="sum_last_4",
            normalised=False,
        ),
        Encoder(
            name="modernbert-large",
            hub_id="answerdotai/ModernBERT-large",
            revision="45bb4654a4d5aaff24dd11d4781fa46d39bf8c13",
            kind="modernbert",
            reads="text",
            width=1024,
            depth=28,
            frames_per_second=None,
            layers="sum_last_4",
            normalised=False,
        ),
    )
}


def short_name(model: str) -> str:
    """Return a model's name for folder names: the entry, or the last part of its hub id or path."""
    return Path(model.removeprefix(PREFIX)).name


def hub_id_of(model: str) -> tuple[str, str | None]:
    """Return hub id and pinned commit of an entry; any other name is a hub id without a commit.

    Raises `ConfigError` for a name that looks like a mistyped entry.
    """
    entry = ENCODERS.get(model)
    if entry is not None:
        return entry.hub_id, entry.revision
    if "/" not in model and not model.startswith(PREFIX):
        near = difflib.get_close_matches(model, ENCODERS, n=1, cutoff=0.8)
        if near:
            raise ConfigError(
                "there is no encoder of this name",
                where=model,
                hint=f"did you mean {near[0]!r}? `medusa models list` shows all entries; "
                f"for a model of the hub write {PREFIX}{model}",
            )
    return model.removeprefix(PREFIX), None


def default_layers(model: str) -> Layers:
    """Return the hidden states that make the features of `model` by default."""
    return ENCODERS[model].layers if model in ENCODERS else "sum_last_4"
