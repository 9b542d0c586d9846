"""What a run is: frozen, complete, serialisable."""

from typing import Any, Self

from pydantic import Field, model_validator

from medusa_jax.config.ablation import AblationConfig
from medusa_jax.config.corpus import CorpusConfig
from medusa_jax.config.ensemble import EnsembleConfig, SubmissionConfig
from medusa_jax.config.features import FeatureConfig, TranscriptionConfig
from medusa_jax.config.model import ModelConfig
from medusa_jax.config.section import Config, merged
from medusa_jax.config.training import EngineConfig, MemberConfig, TrackingConfig, TrainingConfig
from medusa_jax.files import digest_of


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
