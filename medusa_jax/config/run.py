"""The configuration of a run: frozen, complete, serialisable."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from medusa_jax.config.ablation import AblationConfig
from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.config.corpus import OPTIONAL, TRANSCRIPTS, CorpusConfig
from medusa_jax.config.ensemble import WEIGHTED, EnsembleConfig, SubmissionConfig
from medusa_jax.config.features import FeatureConfig
from medusa_jax.config.finetuning import FinetuningConfig
from medusa_jax.config.model import ModelConfig
from medusa_jax.config.section import DIGEST, Config, merged
from medusa_jax.config.training import EngineConfig, MemberConfig, TrackingConfig, TrainingConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.files import digest_of

SHARED = ("model", "training", "finetuning", "conversation")
"""Sections of the run that every member inherits key by key."""

_PLACEMENT = {"offline", "device", "batch_seconds"}
CHANGES_NO_NUMBER: dict[str, Any] = {
    "about": True,
    "engine": True,
    "tracking": True,
    "ablation": True,
    "study_of": True,
    "features": {"__all__": _PLACEMENT},
    "transcription": _PLACEMENT,
}
"""The keys outside a run's digest, in pydantic's form of `exclude`: they change no result."""


class RunConfig(Config):
    """A whole run: from a corpus to submission files."""

    added: ClassVar = frozenset({"finetuning", "conversation"})
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    about: str = Field("", description="purpose of the run")
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
    finetuning: FinetuningConfig | None = Field(None, description="of members of that task")
    conversation: ConversationConfig | None = Field(None, description="of members of that task")
    members: tuple[MemberConfig, ...]
    engine: EngineConfig = EngineConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    tracking: TrackingConfig = TrackingConfig()
    submission: SubmissionConfig | None = Field(
        None, description="none: the run writes no challenge files"
    )
    ablation: AblationConfig = AblationConfig()
    study_of: str | None = Field(
        None, description="the run studied by this one; set by the study, not by hand"
    )

    @field_validator("members", mode="wrap")
    @classmethod
    def _resolve(cls, raw: Any, validate: Callable[[Any], Any], info: ValidationInfo) -> Any:
        """Complete each member with the run's validated sections of the same name.

        If either is invalid the run is refused for it, so members are not checked.
        """
        if not all(key in info.data for key in SHARED):
            return ()
        if not isinstance(raw, list | tuple):
            return validate(raw)
        if not raw:
            raise ValueError("a run needs at least one member")
        given = {key: info.data[key] for key in SHARED if info.data[key] is not None}
        shared = {key: section.model_dump() for key, section in given.items()}
        return validate([_completed(shared, one) if isinstance(one, dict) else one for one in raw])

    @field_validator("submission", mode="before")
    @classmethod
    def _submit_the_result(cls, raw: Any, info: ValidationInfo) -> Any:
        """Submit the weighted vote by default where there is no soup."""
        ensemble = info.data.get("ensemble")
        if isinstance(raw, dict) and ensemble and WEIGHTED in ensemble.systems:
            return {"system": WEIGHTED, **raw}
        return raw

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_ids()
        self._check_system()
        self._check_transcripts()
        self._check_modalities()
        return self

    def _check_ids(self) -> None:
        ids = [member.id for member in self.members]
        repeated = sorted({name for name in ids if ids.count(name) > 1})
        if repeated:
            raise ValueError(f"duplicate member id(s): {', '.join(repeated)}")

    def _check_system(self) -> None:
        if self.system not in self.ensemble.systems:
            raise ValueError(
                f"submission.system {self.system!r} is not made by ensemble.kind "
                f"{self.ensemble.kind!r}: choose one of {', '.join(self.ensemble.systems)}"
            )

    def _check_transcripts(self) -> None:
        transcribed = self.transcription and self.transcription.backend != "corpus"
        given = [key for key in TRANSCRIPTS if getattr(self.corpus, key)]
        if given and transcribed:
            raise ValueError(
                f"corpus.{given[0]} and transcription both provide transcripts: "
                "remove one of them (--set transcription=null)"
            )

    def _check_modalities(self) -> None:
        for member in self.members:
            for modality in member.modalities:
                if modality not in self.features:
                    raise ValueError(
                        f"member {member.id}: unknown modality {modality!r} "
                        f"(features: {', '.join(self.features)})"
                    )

    @property
    def system(self) -> str:
        """The system that is submitted and reported: the ensemble's result without a submission."""
        return self.submission.system if self.submission else self.ensemble.systems[-1]

    def digest(self) -> str:
        """SHA-256 of every key that can change a result: all but `CHANGES_NO_NUMBER`.

        `ensemble.inner_folds` counts only out of fold, the `OPTIONAL` keys of the corpus only
        where they are set, keys `added` to a section only where they are not the default.
        """
        exclude = dict(CHANGES_NO_NUMBER)
        if self.ensemble.fit_on != "out_of_fold":
            exclude["ensemble"] = {"inner_folds"}
        exclude["corpus"] = {key for key in OPTIONAL if not getattr(self.corpus, key)}
        return digest_of(self.model_dump(mode="json", exclude=exclude, context=DIGEST))


def _completed(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """A member's keys over the run's; its encoders replace the run's, which may be of modalities
    that it does not have.
    """
    found, section = merged(shared, own), own.get("finetuning")
    if isinstance(section, dict) and "backbones" in section:
        found["finetuning"] = {**found["finetuning"], "backbones": section["backbones"]}
    return found
