"""What a run is: frozen, complete, serialisable."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from medusa_jax.config.features import FeatureConfig, TranscriptionConfig
from medusa_jax.config.section import Config


class CorpusConfig(Config):
    """Which corpus, and which of its utterances play which part."""

    source: Literal["generated", "msp-podcast", "ravdess", "medusa-csv", "table"]
    path: str | None = Field(
        None,
        description="the corpus folder or file; the generated corpus makes its own if none is given",
    )
    soft_labels: Literal["primary", "primary+secondary", "with_other"] = "primary"
    transcripts: str | None = Field(
        None,
        description="in place of the corpus's own: a folder of <stem>.txt, or what `medusa transcribe` made",
    )
    size: int = Field(800, ge=100, description="utterances to generate")
    test_per_class: int = Field(20, ge=5, description="utterances a class in the generated test3")
    seed: int = Field(
        0, ge=0, description="of the generator, and of the hold-out's choice of speakers"
    )
    hold_out: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="share of the training part kept for model selection, speaker-disjoint",
    )
    max_failures: float = Field(
        0.01,
        ge=0,
        le=1,
        description="share of the utterances whose features may be missing, for unreadable audio",
    )
    folds: int | None = Field(
        None, ge=2, description="speaker-disjoint folds in place of the corpus's own splits"
    )
    fold: int | None = Field(
        None,
        ge=1,
        description="the one of them, from 1, that is trained and tested; none: each in turn, pooled",
    )

    @property
    def tested(self) -> range:
        """The folds, from 0, that are each trained and tested; the corpus's own splits are one."""
        return range(self.folds or 1) if self.fold is None else range(self.fold - 1, self.fold)

    @property
    def splits(self) -> int:
        """How often everything is trained."""
        return len(self.tested)

    @model_validator(mode="after")
    def _is_a_fold(self) -> Self:
        if self.fold is not None and self.fold > (self.folds or 0):
            raise ValueError(
                f"fold ({self.fold}) must be one of the folds (folds: {self.folds or 'none'})"
            )
        return self


class ModelConfig(Config):
    """DeepSER (spec section 2); the defaults are the paper's."""

    hidden: int = Field(1024, ge=8)
    feedforward: int = Field(2048, ge=8)
    layers: int = Field(2, ge=1, le=12)
    heads: int = Field(1, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    fusion: Literal["deep", "late"] = "deep"
    stack: dict[str, Annotated[int, Field(ge=1, le=64)]] = Field(
        default_factory=dict,
        description="by modality: neighbouring frames joined into one, s times shorter and s times wider; 1 where not named",
    )
    standardise: bool = Field(
        False,
        description="shift and scale every feature to mean 0 and deviation 1 on the training part",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of what is multiplied; weights, sums, norms and softmax are float32"
    )
    remat: bool = Field(
        False,
        description="compute each layer again for its gradient, to save memory; XLA for CPUs undoes it",
    )

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of heads ({self.heads})")
        return self


class StageConfig(Config):
    """One training stage of a member."""

    epochs: int = Field(ge=0)
    learning_rate: float = Field(1e-5, gt=0)
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="cosine: the rate falls to 0 over the stage's epochs"
    )
    warmup: int = Field(0, ge=0, description="steps over which the rate rises from 0")


class TrainingConfig(Config):
    """Stages 1 and 2 (spec sections 3 to 6); the defaults are the paper's, or where it is silent its code's."""

    batch_size: int = Field(16, ge=1)
    stage1: StageConfig = StageConfig(epochs=4)
    stage2: StageConfig = StageConfig(epochs=40)
    weight_decay: float = Field(0.01, ge=0)
    clip: float | None = Field(None, gt=0, description="largest norm of all gradients together")
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of a running mean of the weights, which is then scored and kept in their place",
    )
    micro_batches: int = Field(
        1,
        ge=1,
        description="parts that a batch is computed in, to save memory: the same gradient, a third slower",
    )
    patience: int = Field(
        8,
        ge=1,
        description="epochs without a better held-out score: Stage 1 hands over to Stage 2, Stage 2 ends",
    )
    mixup_probability: float = Field(0.3, ge=0, le=1)
    mixup_alpha: float = Field(0.2, gt=0)
    class_loss: float = Field(1.5, ge=0, description="λ1")
    attribute_loss: float = Field(0.4, ge=0, description="λ2")
    targets: Literal["soft", "one_hot"] = "soft"
    no_consensus: bool = Field(
        False,
        description="Stage 2 also draws as many utterances without consensus as one class has (as the published code)",
    )
    selection_draws: int = Field(
        5, ge=1, description="balanced held-out samples whose mean Macro-F1 chooses the epoch"
    )
    shapes: int = Field(
        6,
        ge=1,
        le=16,
        description="padded shapes; each is compiled once, more of them waste less on padding",
    )

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.batch_size % self.micro_batches:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of micro_batches ({self.micro_batches})"
            )
        return self


class MemberConfig(Config):
    """One DeepSER of the ensemble; `model` and `training` are the run's where they say nothing else."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    modalities: tuple[str, ...] = Field(min_length=1)
    seed: int = Field(0, ge=0)
    model: ModelConfig
    training: TrainingConfig


class TrackingConfig(Config):
    """Where metrics go besides each member's `metrics.jsonl`; changes no number, so that another choice is no other run."""

    tensorboard: bool = False
    wandb: Literal["offline", "online"] | None = Field(
        None, description="Weights & Biases; offline: below the run folder, for `wandb sync`"
    )
    wandb_project: str = Field("medusa-jax", min_length=1)


class EngineConfig(Config):
    """How members are trained; changes no number beyond rounding, so that another choice is no other run."""

    side_by_side: Literal["auto", "vmap", "loop"] = Field(
        "auto",
        description="members of equal structure in one program (vmap) or one after the other on each batch (loop); auto: vmap unless on a CPU",
    )
    devices: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        1, description="of this machine, that share every batch evenly"
    )
    save_minutes: float = Field(
        10.0, ge=0, description="a killed run loses at most so much; 0: saved after every step"
    )
    memory_gb: float | None = Field(
        None,
        gt=0,
        description="of the device, for the members that train together; none: 80 % of what it has",
    )


class EnsembleConfig(Config):
    """Stages 3 and 4 (spec section 6)."""

    fit_on: Literal["train", "out_of_fold", "held_out"] = Field(
        "train",
        description="whose member outputs the meta-classifier learns from. train, as the paper: of those that the members were trained on; "
        "out_of_fold: of the same, each predicted by members trained without its speaker; held_out: of those that chose the epochs",
    )
    inner_folds: int = Field(
        3,
        ge=2,
        le=20,
        description="with out_of_fold: speaker-disjoint folds, for each of which every member is trained again",
    )
    attributes: bool = Field(
        True, description="feed the members' attributes beside their posteriors"
    )
    seeds: int = Field(6, ge=1, description="meta-classifiers in the soup")
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)

    @property
    def learned_from(self) -> str:
        """What the meta-classifier learned from, in words; every report says it."""
        return {
            "train": "the members' outputs on the utterances that they were trained on (in-sample, as in the paper)",
            "out_of_fold": f"out-of-fold outputs of the training part ({self.inner_folds} speaker-disjoint folds)",
            "held_out": "the members' outputs on the held-out part, which also chose their epochs",
        }[self.fit_on]


class SubmissionConfig(Config):
    """The challenge whose files the run ends in."""

    challenge: Literal["interspeech2025", "odyssey2024"] = "interspeech2025"
    system: Literal["soup", "meta_classifier", "soft_vote", "majority_vote"] = "soup"


class AblationRowConfig(Config):
    """One more row of `medusa ablate`: what it changes of every member."""

    about: str = Field("", description="the row in words")
    model: dict[str, Any] = Field(
        default_factory=dict, description="keys of `model` with other values"
    )
    training: dict[str, Any] = Field(
        default_factory=dict, description="keys of `training` with other values"
    )


class AblationConfig(Config):
    """Rows of `medusa ablate` beside its own; changes no number of the run, so that another choice is no other run."""

    rows: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], AblationRowConfig] = (
        Field(default_factory=dict, description="by name")
    )


class RunConfig(Config):
    """A whole run: from a corpus to submission files."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    about: str = Field("", description="what the run is for")
    seed: int = Field(0, ge=0)
    corpus: CorpusConfig
    features: dict[str, FeatureConfig] = Field(
        min_length=1, description="by name; members list these names as their modalities"
    )
    transcription: TranscriptionConfig | None = Field(
        None, description="none: the corpus's own transcripts"
    )
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    members: tuple[MemberConfig, ...] = Field(min_length=1)
    engine: EngineConfig = EngineConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    tracking: TrackingConfig = TrackingConfig()
    submission: SubmissionConfig | None = Field(
        None, description="none: the run writes no challenge files"
    )
    ablation: AblationConfig = AblationConfig()
    study_of: str | None = Field(
        None,
        description="the run for a study of which this one trains members; set by the study, not by hand",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_members(cls, raw: Any) -> Any:
        """Give every member the run's `model` and `training` for what it does not set itself."""
        if not isinstance(raw, dict) or not isinstance(raw.get("members"), list | tuple):
            return raw
        shared = {key: raw.get(key) or {} for key in ("model", "training")}
        members = [merged(shared, m) if isinstance(m, dict) else m for m in raw["members"]]
        return {**raw, "members": members}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ids = [m.id for m in self.members]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"member id(s) given twice: {', '.join(twice)}")
        if (
            self.corpus.transcripts
            and self.transcription
            and self.transcription.backend != "corpus"
        ):
            raise ValueError(
                "corpus.transcripts and transcription both say where the words come from: leave one out (--set transcription=null)"
            )
        for member in self.members:
            for modality in member.modalities:
                if modality not in self.features:
                    raise ValueError(
                        f"member {member.id}: no features are called {modality!r} (there are: {', '.join(self.features)})"
                    )
        return self

    def digest(self) -> str:
        """SHA-256 of what determines the numbers: not what the run is for, how it is computed, or where metrics go."""
        outside = {"offline", "device", "batch_seconds"}
        exclude: Any = {
            "about": True,
            "engine": True,
            "tracking": True,
            "features": {"__all__": outside},
            "transcription": outside,
        }
        exclude |= dict.fromkeys(("ablation", "study_of"), True)
        if self.ensemble.fit_on != "out_of_fold":
            exclude["ensemble"] = {"inner_folds"}
        if self.corpus.fold is None:
            exclude["corpus"] = {"fold"}
        return digest_of(self.model_dump(mode="json", exclude=exclude))


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with every key that `over` sets replaced, section by section."""
    result = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def digest_of(value: object) -> str:
    """Hex SHA-256 of a JSON-serialisable value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
