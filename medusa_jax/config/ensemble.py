"""Combining members, and the challenge files that come of it."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medusa_jax.config.section import Config

WEIGHTED = "weighted_vote"


class EnsembleConfig(Config):
    """Stages 3 and 4 (paper sections 3.5 and 3.6), or the weighted vote in their place.

    The loss of Stage 3 and its targets are `training`'s.
    """

    added: ClassVar = frozenset({"kind", "targets", "updates", "select"})
    kind: Literal["meta_classifier", "weighted"] = Field(
        "meta_classifier",
        description="the system that learns from the members' predictions. meta_classifier: "
        "Stage 3 and its soup; weighted: a weight for each member, none below 0 and 1 in all, of "
        "the least cross-entropy; of the keys below it uses targets, fit_on and inner_folds",
    )
    targets: Literal["one_hot", "soft"] = Field(
        "one_hot",
        description="with kind: weighted: cross-entropy against the consensus (an utterance "
        "without one does not count), or against the raters' distribution",
    )
    fit_on: Literal["train", "out_of_fold", "held_out"] = Field(
        "train",
        description="the members' predictions that the meta-classifier learns from. train, as the "
        "paper: of the utterances that they were trained on; out_of_fold: of the same, each "
        "predicted by members trained without its speaker; held_out: of the part that chose "
        "the members' epochs. With kind: weighted the default is held_out, and train is refused",
    )
    inner_folds: int = Field(
        3,
        ge=2,
        le=20,
        description="with out_of_fold: speaker-disjoint folds; every member is trained once more "
        "for each",
    )
    attributes: bool = Field(
        True,
        description="the meta-classifier reads and predicts attributes beside classes (11·M → 11); "
        "false: posteriors alone (8·M → 8), and the ensemble's attributes are the members' mean",
    )
    seeds: int = Field(6, ge=1, description="meta-classifiers in the soup")
    epochs: int = Field(20, ge=1, description="balanced subsets that each is trained on")
    updates: int | None = Field(
        None,
        ge=1,
        description="least number of optimiser steps, in place of epochs: as many whole epochs as "
        "it takes",
    )
    select: Literal["best", "last", "one_se", "log_loss"] = Field(
        "best",
        description="the epoch that is kept. best: of the highest held-out score (see "
        "training.selection); one_se: the first within one standard error of it; log_loss: of "
        "the least held-out cross-entropy, classes counting alike; last: the last one",
    )
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _default_part(cls, raw: Any) -> Any:
        """Fit weights on the held-out part by default."""
        weighted = isinstance(raw, dict) and raw.get("kind") == "weighted"
        return {"fit_on": "held_out", **raw} if weighted else raw

    @model_validator(mode="after")
    def _fits_on_new_speech(self) -> Self:
        if self.kind == "weighted" and self.fit_on == "train":
            raise ValueError(
                "fit_on: train with kind: weighted would reward the member that overfits most; "
                "use held_out or out_of_fold"
            )
        return self

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems that combine the members; the last one is the ensemble's result."""
        votes = ("majority_vote", "soft_vote")
        learned = ("meta_classifier", "soup") if self.kind == "meta_classifier" else (WEIGHTED,)
        return (*votes, *learned)

    @property
    def learner(self) -> str:
        """The system that learned from the members' predictions, in words for reports."""
        return {"meta_classifier": "meta-classifier", "weighted": "weighted vote"}[self.kind]

    @property
    def learned_from(self) -> str:
        """The source of what the `learner` learned, in words for reports."""
        return {
            "train": "the members' outputs on the utterances that they were trained on "
            "(in-sample, as in the paper)",
            "out_of_fold": "out-of-fold outputs of the training part "
            f"({self.inner_folds} speaker-disjoint folds)",
            "held_out": "the members' outputs on the held-out part, which also chose their epochs",
        }[self.fit_on]


class SubmissionConfig(Config):
    """The challenge whose files the run ends in."""

    challenge: Literal["interspeech2025", "odyssey2024"] = "interspeech2025"
    system: Literal["soup", "meta_classifier", "soft_vote", "majority_vote", "weighted_vote"] = (
        Field(
            "soup",
            description="a system of ensemble.kind; with kind: weighted the default is "
            "weighted_vote",
        )
    )
