"""`scores.json`, as `report.write_report` writes it, read back to compare runs: every number checked before it stands beside another."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from medusa_jax.errors import EvaluationError


class SystemLine(BaseModel):
    """A system's scores; None where it was not scored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    system: str
    kind: str
    macro_f1: FiniteFloat | None = None
    macro_f1_low: FiniteFloat | None = None
    macro_f1_high: FiniteFloat | None = None
    accuracy: FiniteFloat | None = None
    ccc_mean: FiniteFloat | None = None
    utterances: int | None = None


class ScoredCorpus(BaseModel):
    """What the systems were scored on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    synthetic: bool


class ScoresFile(BaseModel):
    """The file; `provenance` holds the digests of the run's configuration (`config`) and of the corpus (`corpus`)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    corpus: ScoredCorpus
    systems: tuple[SystemLine, ...] = Field(min_length=1)
    provenance: dict[str, Any]


def read_scores_file(path: Path) -> ScoresFile:
    """Read and check it. Raises `EvaluationError` that says what is wrong with it."""
    hint = "run `medusa evaluate` on that run's folder again"
    try:
        return ScoresFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise EvaluationError(
            f"no scores to read: {error.strerror}", where=path, hint=hint
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise EvaluationError(
            f"its scores.json is damaged ({place + ': ' if place else ''}{first['msg']})",
            where=path,
            hint=hint,
        ) from error
