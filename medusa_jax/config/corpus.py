"""Which corpus, and which of its utterances play which part."""

from typing import Literal, Self

from pydantic import Field, model_validator

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
