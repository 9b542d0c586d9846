"""Training of a member."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.config.finetuning import FinetuningConfig
from medusa_jax.config.model import ModelConfig
from medusa_jax.config.section import Config


class StageConfig(Config):
    """One training stage of a member."""

    epochs: int = Field(ge=0)
    learning_rate: float = Field(1e-5, gt=0)
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="cosine: the rate falls to 0 over the stage's epochs"
    )
    warmup: int = Field(0, ge=0, description="steps over which the rate rises from 0")


class TrainingConfig(Config):
    """Stages 1 and 2; the defaults are the paper's, or where it is silent its code's."""

    added: ClassVar = frozenset({"selection", "stream"})
    batch_size: int = Field(16, ge=1)
    stage1: StageConfig = StageConfig(epochs=4)
    stage2: StageConfig = StageConfig(epochs=40)
    weight_decay: float = Field(0.01, ge=0)
    clip: float | None = Field(None, gt=0, description="largest norm of all gradients together")
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of a running mean of the weights, which is scored and kept instead of "
        "them",
    )
    micro_batches: int = Field(
        1,
        ge=1,
        description="parts in which a batch is computed, to save memory: the same gradient, a "
        "third slower",
    )
    patience: int = Field(
        8,
        ge=1,
        description="epochs without a better selection score that end a stage",
    )
    mixup_probability: float = Field(0.3, ge=0, le=1)
    mixup_alpha: float = Field(0.2, gt=0)
    class_loss: float = Field(1.5, ge=0, description="λ1")
    attribute_loss: float = Field(0.4, ge=0, description="λ2")
    targets: Literal["soft", "one_hot"] = "soft"
    no_consensus: bool = Field(
        False,
        description="Stage 2 also draws as many utterances without consensus as one class has, as "
        "the published code",
    )
    selection: Literal["balanced_draws", "class_weighted"] = Field(
        "balanced_draws",
        description="the held-out Macro-F1 that chooses the epoch. balanced_draws, as the paper: "
        "the mean over class-balanced samples; class_weighted: of the confusion matrix that such "
        "samples have on average, without their noise",
    )
    selection_draws: int = Field(5, ge=1, description="samples of balanced_draws")
    stream: Literal["shared", "own"] = Field(
        "shared",
        description="batches and balanced subsets: the same for all members of a run, or each "
        "member's own, from its seed",
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
                f"batch_size ({self.batch_size}) must be a multiple of "
                f"micro_batches ({self.micro_batches})"
            )
        return self


class MemberConfig(Config):
    """One member of the ensemble; keys missing in its `model` and `training` are the run's."""

    added: ClassVar = frozenset({"task", "finetuning", "conversation"})
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    modalities: tuple[str, ...] = Field(min_length=1)
    seed: int = Field(0, ge=0)
    task: Literal["deepser", "finetuning", "conversation"] = Field(
        "deepser",
        description="deepser: MEDUSA's network on stored features (`model`); finetuning: a "
        "pretrained encoder trained further (`finetuning`); conversation: SUMMER on dialogues "
        "(`conversation`)",
    )
    model: ModelConfig
    training: TrainingConfig
    finetuning: FinetuningConfig | None = None
    conversation: ConversationConfig | None = None

    @model_validator(mode="after")
    def _has_streams(self) -> Self:
        if self.task != "conversation":
            return self
        if self.conversation is None:
            raise ValueError("the task conversation needs a section `conversation`, {} at least")
        if self.training.micro_batches != 1:
            raise ValueError(
                "batches of dialogues are not divided: set training.micro_batches to 1, and "
                "training.batch_size lower to save memory"
            )
        unknown = sorted(set(self.conversation.teacher) - set(self.modalities))
        if unknown:
            raise ValueError(
                f"conversation.teacher names {unknown[0]!r}, which is no modality of the member"
            )
        return self

    @model_validator(mode="after")
    def _has_encoders(self) -> Self:
        if self.task != "finetuning":
            return self
        if self.finetuning is None:
            raise ValueError("the task finetuning needs a section `finetuning` with `backbones`")
        unknown = sorted(set(self.finetuning.backbones) - set(self.modalities))
        if unknown:
            raise ValueError(
                f"finetuning.backbones names {unknown[0]!r}, which is no modality of the member"
            )
        if set(self.modalities) > set(self.finetuning.backbones) and self.finetuning.text == "none":
            raise ValueError(
                "modalities without a backbone condition on their text: set finetuning.text, or "
                "remove them"
            )
        if (
            set(self.modalities) == set(self.finetuning.backbones)
            and self.finetuning.text != "none"
        ):
            raise ValueError(
                "finetuning.text conditions on modalities without a backbone, and this member has "
                "none: add one, or set text: none"
            )
        return self


class TrackingConfig(Config):
    """Destinations of metrics besides each member's `metrics.jsonl`; changes no number."""

    tensorboard: bool = False
    wandb: Literal["offline", "online"] | None = Field(
        None, description="Weights & Biases; offline: below the run folder, for `wandb sync`"
    )
    wandb_project: str = Field("medusa-jax", min_length=1)


class EngineConfig(Config):
    """The engine's settings; they change no number beyond rounding."""

    side_by_side: Literal["auto", "vmap", "loop"] = Field(
        "auto",
        description="members of equal structure step in one program (vmap) or one after the other "
        "on each batch (loop); auto: vmap on a GPU if they are small",
    )
    devices: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        1, description="devices of this machine that share every batch evenly"
    )
    save_minutes: float = Field(
        10.0, ge=0, description="time between saves; 0: every step. A killed run loses at most that"
    )
    memory_gb: float | None = Field(
        None,
        gt=0,
        description="memory of a device for the members that train together; none: 80 % of it",
    )
