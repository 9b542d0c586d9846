"""Combining members, and the challenge files that come of it."""

from typing import ClassVar, Literal

from pydantic import Field

from medusa_jax.config.section import Config


class EnsembleConfig(Config):
    """Stages 3 and 4 (paper sections 3.5 and 3.6); the loss and its targets are `training`'s."""

    added: ClassVar = frozenset({"updates", "select"})
    fit_on: Literal["train", "out_of_fold", "held_out"] = Field(
        "train",
        description="the members' predictions that the meta-classifier learns from. train, as the "
        "paper: of the utterances that they were trained on; out_of_fold: of the same, each "
        "predicted by members trained without its speaker; held_out: of the part that chose "
        "the members' epochs",
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

    @property
    def learned_from(self) -> str:
        """The source of what the meta-classifier learned, in words for reports."""
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
    system: Literal["soup", "meta_classifier", "soft_vote", "majority_vote"] = "soup"
