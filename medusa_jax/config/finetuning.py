"""Fine-tuning of pretrained speech encoders."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from medusa_jax.config.section import Config

Condition = Literal["none", "sum", "multiply"]


class FinetuningConfig(Config):
    """A pretrained encoder, pooled over time and classified; the defaults are WavLM adaptation's.

    Learning rate, batches, targets, MixUp and the losses' weights are `training`'s; phases of 0
    epochs are left out.
    """

    added: ClassVar = frozenset({"secondary_loss"})
    backbones: dict[str, str] = Field(
        min_length=1,
        description="by modality, an entry of `medusa models list`, or `hf:` and a folder. The "
        "modality holds waveforms (extractor waveform) or the same model's convolutional frames "
        "(layers conv). The member's other modalities condition on their mean frame",
    )
    window: Literal["full", "real"] = Field(
        "real", description="Whisper: frames attend to 30 s, or to the utterance's real length"
    )
    crop_seconds: float = Field(
        12.0, ge=0.1, le=60, description="longest audio of a step: a random part in training"
    )
    evaluation: Literal["first", "windows"] = Field(
        "first",
        description="longer audio: the first crop_seconds, or windows of them whose posteriors are "
        "averaged by their length",
    )
    pooling: Literal["mean", "std", "mean_std", "attention", "attention_mean"] = Field(
        "attention",
        description="over time. attention: weighted mean and deviation; attention_mean: the mean "
        "alone",
    )
    gender: Condition = Field(
        "none", description="an embedding of the speaker's gender (female, male, unknown)"
    )
    text: Condition = Field("none", description="the projected mean frame of other modalities")
    width: int = Field(1024, ge=8, description="of the projection before the heads")
    dropout: float = Field(0.5, ge=0, lt=1, description="behind that projection")
    noise: bool = Field(
        True, description="dropouts, skipped layers and SpecAugment as the model was published with"
    )
    loss: Literal["cross_entropy", "kl", "focal"] = "cross_entropy"
    focal: float = Field(2.0, ge=0, description="γ of the focal loss")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: bool = Field(
        False, description="weigh classes of Stage 1 as MEDUSA does (its α_c)"
    )
    logit_adjustment: float = Field(
        0.0, ge=0, description="τ: log priors of the training part are added to logits in Stage 1"
    )
    gender_loss: float = Field(0.0, ge=0, description="weight of a head that predicts gender")
    secondary_loss: float = Field(
        0.0,
        ge=0,
        description="weight of a head that predicts, for each class, the share of raters who named "
        "it among the secondary emotions",
    )
    top_layers: int | None = Field(
        None, ge=0, description="layers that are trained, from the top; none: all"
    )
    head_factor: float = Field(
        1.0, gt=0, description="learning rate of all but the backbone, in multiples of the stage's"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="factor of the learning rate from a layer to the one below"
    )
    unfreeze_epochs: float = Field(
        0.0, ge=0, description="epochs until one more layer from the top is trained; 0: all at once"
    )
    lora: int = Field(
        0, ge=0, le=256, description="rank of low-rank parts, trained in place of the backbone"
    )
    precision: Literal["float32", "bfloat16", "tf32"] = "float32"
    remat: bool = Field(True, description="compute each layer again for its gradient: saves memory")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.lora and (self.top_layers is not None or self.unfreeze_epochs):
            raise ValueError("lora trains no layer itself: remove top_layers and unfreeze_epochs")
        if self.unfreeze_epochs and self.top_layers is not None:
            raise ValueError("unfreeze_epochs and top_layers exclude each other")
        return self
