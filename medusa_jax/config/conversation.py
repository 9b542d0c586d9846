"""Emotion in conversations: SUMMER, a teacher and a student of several streams.

Published in arXiv 2503.23721 without code. Whatever the paper leaves open is a key here.
"""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from medusa_jax.config.section import Config


class ConversationConfig(Config):
    """SUMMER: experts for each stream of a dialogue, fused in order, taught by one stream.

    Stage 1 of `training` trains the teacher, Stage 2 the student; the teacher is the result if
    Stage 2 has no epochs. Batches hold whole dialogues. Of `training`, all keys count but those of
    MixUp, selection, no_consensus, class_loss and micro_batches.
    """

    added: ClassVar = frozenset[str]()
    teacher: tuple[str, ...] = Field(
        (), description="modalities of the teacher, in the order of fusion; none: the first"
    )
    width: int = Field(256, ge=8, multiple_of=2, description="of every stream")
    heads: int = Field(8, ge=1, description="of attention, a divisor of width")
    dropout: float = Field(0.1, ge=0, lt=1)
    standardise: bool = Field(
        True, description="features by their mean and deviation in the training part"
    )
    speakers: Literal["order", "names", "none"] = Field(
        "order",
        description="speaker embedding by order of appearance in the dialogue, or by name, for "
        "the most frequent speakers of the training part",
    )
    speaker_slots: int = Field(
        9, ge=2, description="speakers told apart; all others share the last slot"
    )
    positions: Literal["sinusoidal", "none"] = Field(
        "sinusoidal", description="embedding of an utterance's place in its dialogue"
    )
    context: Literal["both", "past", "none"] = Field(
        "both",
        description="what an utterance sees: the whole dialogue, as published; nothing after it, "
        "for use as it is spoken; or only itself",
    )
    experts: int = Field(8, ge=1, le=64, description="of each stream and of the fusion")
    routing: Literal["dynamic", "top_k", "all", "none"] = Field(
        "dynamic",
        description="experts of an utterance. dynamic: those within alpha standard deviations of "
        "its mean gate weight; top_k: the best; all; none: one GRU in place of the experts",
    )
    alpha: float = Field(2.0, gt=0, description="of dynamic routing; smaller is stricter")
    top_k: int = Field(2, ge=1, description="of routing top_k, at most experts")
    gate: Literal["logits", "softmax"] = Field(
        "logits", description="gate weights that routing looks at: before or after a softmax"
    )
    gumbel: float = Field(
        0.5, ge=0, description="temperature of the Gumbel-softmax in training; 0: plain softmax"
    )
    global_experts: bool = Field(True, description="experts over the fused streams too")
    fusion: Literal["hierarchical", "plain"] = Field(
        "hierarchical",
        description="hierarchical: each stream is queried by the ones before it, and attention is "
        "corrected toward the teacher's (HCMF); plain: every stream queries every other, averaged",
    )
    correction: float = Field(
        0.5, ge=0, le=1, description="φ: share of the way toward the teacher's attention"
    )
    correction_beyond: float = Field(
        0.5, ge=0, description="difference of attention from which it is corrected"
    )
    corrected: Literal["scores", "weights"] = Field(
        "scores", description="attention that is compared: before or after its softmax"
    )
    distillation: float = Field(
        1.0,
        ge=0,
        description="κ1: divergence of the teacher's classifier on the student's "
        "features from the teacher's prediction",
    )
    class_loss: float = Field(1.0, ge=0, description="κ2: cross-entropy")
    smoothed_loss: float = Field(0.1, ge=0, description="κ3: cross-entropy on smoothed labels")
    smoothing: float = Field(0.1, ge=0, lt=1, description="of these labels")
    feature_loss: float = Field(
        0.0, ge=0, description="squared difference of inner features, as an earlier version"
    )
    temperature: float = Field(1.0, gt=0, description="of distillation")
    test_scores: bool = Field(
        True,
        description="score the test part after each epoch, to print the number that choosing the "
        "epoch by it would have given; it chooses nothing",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        if self.routing == "top_k" and self.top_k > self.experts:
            raise ValueError(f"top_k ({self.top_k}) must be at most experts ({self.experts})")
        return self
