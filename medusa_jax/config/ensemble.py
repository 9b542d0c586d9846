"""How members are combined, and the challenge files that come of it."""

from typing import Literal

from pydantic import Field

from medusa_jax.config.section import Config


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
