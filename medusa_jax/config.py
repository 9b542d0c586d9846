"""What a run is: frozen, complete, serialisable. A YAML file, then `--set section.key=value`, becomes a `RunConfig`."""

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medusa_jax.errors import ConfigError


class Config(BaseModel):
    """Parent of every section: unknown keys are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LogMelConfig(Config):
    """Log-mel energies."""

    extractor: Literal["logmel"] = "logmel"
    bands: int = Field(64, ge=8, le=256)
    window_ms: float = Field(25.0, ge=1, le=1000)
    hop_ms: float = Field(10.0, ge=1, le=1000)
    dtype: Literal["float16", "float32", "int8"] = "float16"


class OpenSmileConfig(Config):
    """openSMILE descriptors: a frame each 10 ms (`lld`; `lld_delta` appends each one's slope) or one vector an utterance (`functionals`)."""

    extractor: Literal["opensmile"] = "opensmile"
    feature_set: Literal["eGeMAPSv02", "ComParE_2016"] = "eGeMAPSv02"
    level: Literal["lld", "lld_delta", "functionals"] = "lld"
    parts: int = Field(1, ge=1, le=32, description="functionals of so many overlapping parts of the utterance, a frame each")
    dtype: Literal["float16", "float32", "int8"] = Field("float32", description="ComParE reaches 1e11: float16 and int8 would cut it at 65504")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.parts > 1 and self.level != "functionals":
            raise ValueError("parts is for the level functionals")
        if self.level == "lld_delta" and self.feature_set == "eGeMAPSv02":
            raise ValueError("openSMILE has no deltas for eGeMAPSv02: use level lld, or ComParE_2016")
        return self


class HashedTextConfig(Config):
    """Words and character n-grams hashed to signed vectors: text features that need no download."""

    extractor: Literal["hashed_text"] = "hashed_text"
    width: int = Field(128, ge=16, le=4096)
    ngrams: tuple[int, int] = Field((3, 5), description="shortest and longest character n-gram")
    dtype: Literal["float16", "float32", "int8"] = "float16"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not 1 <= self.ngrams[0] <= self.ngrams[1] <= 16:
            raise ValueError(f"ngrams must be two numbers 1 <= shortest <= longest <= 16, not {self.ngrams}")
        return self


class HuggingFaceConfig(Config):
    """A pretrained encoder, by local folder or hub id (spec section 1)."""

    extractor: Literal["huggingface"] = "huggingface"
    model: str = Field(min_length=1, description="an entry of `medusa models list`; or `hf:` and a folder or hub id")
    revision: str | None = Field(None, description="of the hub id: a branch, tag or commit; none: the entry's commit")
    layers: Literal["last", "sum_last_4", "mean_last_4", "all"] | None = Field(None, description="none: the entry's; without one, sum_last_4")
    compute: Literal["float32", "bfloat16", "float16"] = Field("float32", description="precision of the model; layers are summed in float32")
    window: Literal["full", "real"] = Field(
        "full", description="Whisper: encode each window padded to 30 s, or its real length alone: cheaper, other numbers"
    )
    chunk_seconds: float = Field(60.0, ge=1, description="WavLM, HuBERT and their like: longer audio is encoded in chunks of this length")
    overlap_seconds: float = Field(4.0, ge=0, description="which chunks share; half of it at each edge is context alone")
    batch_seconds: float | None = Field(
        None, gt=0, description="audio in a batch with its padding, for memory and speed alone (text: 50 tokens a second); none: 8, on CUDA 240"
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: CUDA where there is one")
    offline: bool = Field(True, description="false: the model may be downloaded")
    dtype: Literal["float16", "float32", "int8"] = "float16"

    @model_validator(mode="after")
    def _overlaps(self) -> Self:
        if self.overlap_seconds > self.chunk_seconds / 2:
            raise ValueError(f"overlap_seconds ({self.overlap_seconds:g}) may be half of chunk_seconds ({self.chunk_seconds:g}) at most")
        return self


class StoreConfig(Config):
    """A feature store that is there already: imported, converted, or extracted elsewhere."""

    extractor: Literal["store"] = "store"
    path: str = Field(min_length=1, description="its folder, the one that holds store.json")
    digest: str | None = Field(None, pattern=r"^[0-9a-f]{8,64}$", description="what `medusa features inspect` must show, or its beginning")


ExtractorConfig = LogMelConfig | OpenSmileConfig | HashedTextConfig | HuggingFaceConfig
FeatureConfig = Annotated[ExtractorConfig | StoreConfig, Field(discriminator="extractor")]


class CorpusConfig(Config):
    """Which corpus, and which of its utterances play which part."""

    source: Literal["generated", "msp-podcast", "ravdess", "medusa-csv", "table"]
    path: str | None = Field(None, description="the corpus folder or file; the generated corpus makes its own if none is given")
    soft_labels: Literal["primary", "primary+secondary", "with_other"] = "primary"
    transcripts: str | None = Field(None, description="in place of the corpus's own: a folder of <stem>.txt, or what `medusa transcribe` made")
    size: int = Field(800, ge=100, description="utterances to generate")
    test_per_class: int = Field(20, ge=5, description="utterances a class in the generated test3")
    seed: int = Field(0, ge=0, description="of the generator, and of the hold-out's choice of speakers")
    hold_out: float = Field(0.1, gt=0, lt=0.5, description="share of the training part kept for model selection, speaker-disjoint")
    max_failures: float = Field(0.01, ge=0, le=1, description="share of the utterances whose features may be missing, for unreadable audio")
    folds: int | None = Field(None, ge=2, description="speaker-disjoint folds in place of the corpus's own splits")


class TranscriptionConfig(Config):
    """Who heard the words: Whisper, the same in every split (spec section 1); or the corpus's own transcripts, as they are."""

    backend: Literal["transformers", "faster-whisper", "corpus"] = "transformers"
    model: str = Field("whisper-large-v3", min_length=1, description="as of the extractor huggingface; for faster-whisper a folder of CTranslate2's")
    revision: str | None = Field(None, description="of the hub id; none: the entry's commit")
    language: str = Field("en", pattern=r"^[a-z]{2,3}$", description="never guessed; a model that knows English alone is not asked")
    beams: int = Field(1, ge=1, le=32, description="1: the likeliest token each time")
    max_tokens: int = Field(224, ge=1, le=444, description="of 30 seconds of speech")
    compute: Literal["float32", "bfloat16", "float16"] = Field("float32", description="precision of the model")
    batch_seconds: float | None = Field(
        None, gt=0, description="audio in a batch, each window counting for its 30 s; for memory and speed alone. None: 120, on CUDA 720"
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: CUDA where there is one")
    offline: bool = Field(True, description="false: the model may be downloaded")

    @property
    def dtype(self) -> Literal["uint8"]:
        """What transcripts are stored as: bytes of UTF-8."""
        return "uint8"


class ModelConfig(Config):
    """DeepSER (spec section 2); the defaults are the paper's."""

    hidden: int = Field(1024, ge=8)
    feedforward: int = Field(2048, ge=8)
    layers: int = Field(2, ge=1, le=12)
    heads: int = Field(1, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    fusion: Literal["deep", "late"] = "deep"
    stack: dict[str, Annotated[int, Field(ge=1, le=64)]] = Field(
        default_factory=dict, description="by modality: neighbouring frames joined into one, s times shorter and s times wider; 1 where not named"
    )
    standardise: bool = Field(False, description="shift and scale every feature to mean 0 and deviation 1 on the training part")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of what is multiplied; weights, sums, norms and softmax are float32")
    remat: bool = Field(False, description="compute each layer again for its gradient, to save memory; XLA for CPUs undoes it")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of heads ({self.heads})")
        return self


class StageConfig(Config):
    """One training stage of a member."""

    epochs: int = Field(ge=0)
    learning_rate: float = Field(1e-5, gt=0)
    schedule: Literal["constant", "cosine"] = Field("constant", description="cosine: the rate falls to 0 over the stage's epochs")
    warmup: int = Field(0, ge=0, description="steps over which the rate rises from 0")


class TrainingConfig(Config):
    """Stages 1 and 2 (spec sections 3 to 6); the defaults are the paper's, or where it is silent its code's."""

    batch_size: int = Field(16, ge=1)
    stage1: StageConfig = StageConfig(epochs=4)
    stage2: StageConfig = StageConfig(epochs=40)
    weight_decay: float = Field(0.01, ge=0)
    clip: float | None = Field(None, gt=0, description="largest norm of all gradients together")
    ema: float | None = Field(None, gt=0, lt=1, description="decay of a running mean of the weights, which is then scored and kept in their place")
    micro_batches: int = Field(1, ge=1, description="parts that a batch is computed in, to save memory: the same gradient, a third slower")
    patience: int = Field(8, ge=1, description="epochs without a better held-out score: Stage 1 hands over to Stage 2, Stage 2 ends")
    mixup_probability: float = Field(0.3, ge=0, le=1)
    mixup_alpha: float = Field(0.2, gt=0)
    class_loss: float = Field(1.5, ge=0, description="λ1")
    attribute_loss: float = Field(0.4, ge=0, description="λ2")
    targets: Literal["soft", "one_hot"] = "soft"
    no_consensus: bool = Field(False, description="Stage 2 also draws as many utterances without consensus as one class has (as the published code)")
    selection_draws: int = Field(5, ge=1, description="balanced held-out samples whose mean Macro-F1 chooses the epoch")
    shapes: int = Field(6, ge=1, le=16, description="padded shapes; each is compiled once, more of them waste less on padding")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.batch_size % self.micro_batches:
            raise ValueError(f"batch_size ({self.batch_size}) must be a multiple of micro_batches ({self.micro_batches})")
        return self


class MemberConfig(Config):
    """One DeepSER of the ensemble; `model` and `training` are the run's where they say nothing else."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    modalities: tuple[str, ...] = Field(min_length=1)
    seed: int = Field(0, ge=0)
    model: ModelConfig
    training: TrainingConfig


class TrackingConfig(Config):
    """Where metrics go besides each member's `metrics.jsonl`; changes no number, so that another choice is no other run."""

    tensorboard: bool = False
    wandb: Literal["offline", "online"] | None = Field(None, description="Weights & Biases; offline: below the run folder, for `wandb sync`")
    wandb_project: str = Field("medusa-jax", min_length=1)


class EngineConfig(Config):
    """How members are trained; changes no number beyond rounding, so that another choice is no other run."""

    side_by_side: Literal["auto", "vmap", "loop"] = Field(
        "auto", description="members of equal structure in one program (vmap) or one after the other on each batch (loop); auto: vmap unless on a CPU"
    )
    devices: Annotated[int, Field(ge=1)] | Literal["all"] = Field(1, description="of this machine, that share every batch evenly")
    save_minutes: float = Field(10.0, ge=0, description="a killed run loses at most so much; 0: saved after every step")
    memory_gb: float | None = Field(None, gt=0, description="of the device, for the members that train together; none: 80 % of what it has")


class EnsembleConfig(Config):
    """Stages 3 and 4 (spec section 6)."""

    fit_on: Literal["train", "held_out"] = Field("train", description="whose member outputs the meta-classifier learns from; the paper's: train")
    attributes: bool = Field(True, description="feed the members' attributes beside their posteriors")
    seeds: int = Field(6, ge=1, description="meta-classifiers in the soup")
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)


class SubmissionConfig(Config):
    """The challenge whose files the run ends in."""

    challenge: Literal["interspeech2025", "odyssey2024"] = "interspeech2025"
    system: Literal["soup", "meta_classifier", "soft_vote", "majority_vote"] = "soup"


class RunConfig(Config):
    """A whole run: from a corpus to submission files."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    about: str = Field("", description="what the run is for")
    seed: int = Field(0, ge=0)
    corpus: CorpusConfig
    features: dict[str, FeatureConfig] = Field(min_length=1, description="by name; members list these names as their modalities")
    transcription: TranscriptionConfig | None = Field(None, description="none: the corpus's own transcripts")
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    members: tuple[MemberConfig, ...] = Field(min_length=1)
    engine: EngineConfig = EngineConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    tracking: TrackingConfig = TrackingConfig()
    submission: SubmissionConfig | None = Field(None, description="none: the run writes no challenge files")

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
        if self.corpus.transcripts and self.transcription and self.transcription.backend != "corpus":
            raise ValueError("corpus.transcripts and transcription both say where the words come from: leave one out (--set transcription=null)")
        for member in self.members:
            for modality in member.modalities:
                if modality not in self.features:
                    raise ValueError(f"member {member.id}: no features are called {modality!r} (there are: {', '.join(self.features)})")
        return self

    def digest(self) -> str:
        """SHA-256 of what determines the numbers: not what the run is for, how it is computed, or where metrics go."""
        outside = {"offline", "device", "batch_seconds"}
        exclude: Any = {"about": True, "engine": True, "tracking": True, "features": {"__all__": outside}, "transcription": outside}
        return digest_of(self.model_dump(mode="json", exclude=exclude))


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with every key that `over` sets replaced, section by section."""
    result = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def digest_of(value: object) -> str:
    """Hex SHA-256 of a JSON-serialisable value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def load_config(path: Path, settings: Sequence[str] = ()) -> RunConfig:
    """Read a YAML file and apply `section.key=value` settings over it.

    A list is reached by position (`members.0.seed=3`). Raises `ConfigError` naming file, key and the nearest known key.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration cannot be read: {error}", where=path, mend="see configs/ for the shipped ones") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=path, mend="correct that line; configs/demo.yaml shows the form") from error
    if not isinstance(raw, dict):
        raise ConfigError("a configuration is a mapping of sections", where=path, mend="configs/demo.yaml shows the form")
    for setting in settings:
        _apply(raw, setting)
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(_explain(error), where=path, mend="correct this in the file, or with --set section.key=value") from error


def _apply(raw: Any, setting: str) -> None:
    """Change one value in place."""
    name, equals, text = setting.partition("=")
    if not equals:
        raise ConfigError(f"{setting!r} is not a setting", where="--set", mend="write --set section.key=value, such as --set training.batch_size=32")
    *parents, last = name.split(".")
    node = raw
    try:
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        value = yaml.safe_load(text)
        if isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        mend = "name a section and a key, or a position in a list: training.batch_size, members.0.seed"
        raise ConfigError(f"there is no {name!r} in this configuration", where=f"--set {setting}", mend=mend) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not a YAML value: {text!r}", where=f"--set {setting}") from error


def _explain(error: ValidationError) -> str:
    """One line a mistake, with the key's path and, for an unknown key, the known one it looks like."""
    lines = []
    errors = error.errors()
    places = {item["loc"] for item in errors}
    for item in errors:
        place = item["loc"]
        if place[:1] == ("members",) and (place[2:] in places or (item["type"] == "too_short" and len(errors) > 1)):
            continue  # every member repeats what is wrong with the run's own model and training
        if place[:1] == ("features",):
            place = place[:2] + place[3:]  # pydantic puts the extractor's name in between
        path = ".".join(map(str, place))
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(item["loc"][-1]), _known_keys(), n=1)
            lines.append(f"unknown key {path!r}" + (f": did you mean {near[0]!r}?" if near else ""))
        else:
            lines.append(f"{path}: {item['msg'].removeprefix('Value error, ')}" if path else item["msg"].removeprefix("Value error, "))
    return "the configuration is not valid:\n    " + "\n    ".join(dict.fromkeys(lines))


def _known_keys() -> list[str]:
    """Every key of every section."""
    found: list[str] = []
    pending: list[type[BaseModel]] = [Config]
    while pending:
        model = pending.pop()
        found += model.model_fields
        pending += model.__subclasses__()
    return found
