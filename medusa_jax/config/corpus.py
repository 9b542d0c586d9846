"""Choice of the corpus, its labels, its hold-out and its folds."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from medusa_jax.config.section import Config

OPTIONAL = ("fold", "hold_out_list", "annotator_dropout", "reweight", "transcript_store", "genders")
"""Keys outside a run's digest while they are not set: without them the numbers are the same."""

TRANSCRIPTS = ("transcripts", "transcript_store")
"""Keys that replace the corpus's own transcripts; only one of them may be set."""


class CorpusConfig(Config):
    """The corpus, its labels, its hold-out and its folds."""

    added: ClassVar = frozenset(
        {"conversations", "label_set", "merge_excited", "speakers", "epoch_by"}
    )
    source: Literal["generated", "msp-podcast", "ravdess", "meld", "iemocap", "medusa-csv", "table"]
    path: str | None = Field(
        None,
        description="corpus folder or file; none: the generated corpus makes its own",
    )
    soft_labels: Literal["primary", "primary+secondary", "with_other"] = "primary"
    annotator_dropout: float = Field(
        0,
        ge=0,
        lt=1,
        description="share of the votes left out of the soft labels to train on, drawn once",
    )
    reweight: bool = Field(
        False, description="divide the soft labels to train on by the frequency of each class"
    )
    transcripts: str | None = Field(
        None,
        description="folder of <stem>.txt files in place of the corpus's own transcripts",
    )
    transcript_store: str | None = Field(
        None,
        description="output of `medusa transcribe` in place of the corpus's own transcripts",
    )
    genders: str | None = Field(
        None,
        description="table of genders (CSV: id, gender) for utterances whose gender the corpus "
        "hides, as `medusa gender` writes it",
    )
    conversations: bool = Field(
        False, description="generate dialogues of two to four speakers, with a visual stream"
    )
    label_set: Literal[4, 5, 6] = Field(
        6,
        description="IEMOCAP's classes: angry, happy, neutral, sad; 5: and frustrated; "
        "6: and excited",
    )
    merge_excited: bool = Field(
        False, description="IEMOCAP: excited counts as happy; not with label_set 6"
    )
    speakers: Literal["disjoint", "shared"] = Field(
        "disjoint",
        description="shared: speakers of the training part may be in the others too, as MELD's "
        "main characters are; the run warns of it",
    )
    epoch_by: Literal["hold_out", "development"] = Field(
        "hold_out", description="part that chooses the epoch: held out of training, or development"
    )
    size: int = Field(800, ge=100, description="utterances to generate")
    test_per_class: int = Field(20, ge=5, description="utterances a class in the generated test3")
    seed: int = Field(
        0,
        ge=0,
        description="of the generator, the choice of speakers to hold out, and annotator dropout",
    )
    hold_out: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="share of the training part kept for model selection, speaker-disjoint",
    )
    hold_out_list: str | None = Field(
        None,
        description="file of the utterances to hold out, in place of a drawn share: "
        "one id a line, or a table of MEDUSA's authors",
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
        description="the only fold to train and test, from 1; none: each in turn, pooled",
    )

    @property
    def tested(self) -> range:
        """Folds to train and test, from 0; the corpus's own splits count as one."""
        return range(self.folds or 1) if self.fold is None else range(self.fold - 1, self.fold)

    @property
    def splits(self) -> int:
        """Number of times that everything is trained."""
        return len(self.tested)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fold is not None and self.fold > (self.folds or 0):
            raise ValueError(
                f"fold ({self.fold}) must be one of the folds (folds: {self.folds or 'none'})"
            )
        if self.merge_excited and self.label_set == 6:
            raise ValueError("label_set 6 has a class excited: remove merge_excited, or choose 4")
        if self.folds is not None and self.epoch_by == "development":
            raise ValueError("epoch_by development goes with the corpus's own splits, not folds")
        if self.hold_out_list is not None and self.epoch_by == "development":
            raise ValueError("epoch_by development and hold_out_list exclude each other")
        if self.transcripts and self.transcript_store:
            raise ValueError("transcripts and transcript_store exclude each other")
        if self.folds is not None and self.hold_out_list is not None:
            raise ValueError("hold_out_list goes with the corpus's own splits, not with folds")
        return self
