"""The runs of a folder and their scores, checked before they stand beside others."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medusa_jax.config.run import RunConfig
from medusa_jax.config.yaml_file import load_config
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.scores_file import SCORES, ScoresFile, SystemLine, read_scores
from medusa_jax.runs.evaluate import FOLDS, predictions_digest
from medusa_jax.runs.run import OUTPUTS

PARTS = ("development", "test1", "test2", "test3", FOLDS)
"""Every part, the most important one last."""


@dataclass(frozen=True)
class RunScores:
    """A run's checked scores on one part."""

    folder: Path
    config: RunConfig
    part: str
    file: ScoresFile

    @property
    def submitted(self) -> str:
        """The system that the run submits; the ensemble's result without a submission."""
        return self.config.system

    def systems(self, every: bool) -> list[SystemLine]:
        """The submitted system, or `every` one. Raises `EvaluationError` if it has no scores."""
        lines = [line for line in self.file.systems if every or line.system == self.submitted]
        if not lines:
            raise EvaluationError(
                f"its scores.json has no system {self.submitted}",
                hint=f"medusa evaluate {self.folder}",
            )
        return lines


def run_folders(out: Path) -> list[Path]:
    """The run folders in `out`, or `out` itself. Raises `EvaluationError` if there are none."""
    hint = "name the folder that was --out of your runs, or make one: `medusa demo`"
    try:
        found = [out, *sorted(path for path in out.iterdir() if path.is_dir())]
    except OSError as error:
        raise EvaluationError(
            f"this folder cannot be read: {error.strerror}", where=out, hint=hint
        ) from error
    runs = [folder for folder in found if (folder / "config.yaml").is_file()]
    if not runs:
        raise EvaluationError("there are no runs here", where=out, hint=hint)
    return runs


def scored_parts(folder: Path) -> list[str]:
    """The parts that have a `scores.json`, the most important one last."""
    paths = folder.glob(f"evaluation/*/{SCORES}")
    return sorted((path.parent.name for path in paths), key=_place)


def read_run(folder: Path, part: str | None = None) -> RunScores:
    """The scores of a run on `part`, by default the most important one.

    Raises `MedusaError` if the run has none, or if its configuration or predictions changed since
    they were scored.
    """
    config, parts = load_config(folder / "config.yaml"), scored_parts(folder)
    if not parts:
        raise _unscored(folder, config)
    chosen = part or parts[-1]
    if chosen not in parts:
        raise EvaluationError(f"no scores on {chosen}", hint=f"it has {', '.join(parts)}")
    file, hint = read_scores(folder / "evaluation" / chosen / SCORES), f"medusa evaluate {folder}"
    if file.provenance.get("config") != config.digest():
        raise EvaluationError(
            "its scores are of another configuration than its config.yaml", hint=hint
        )
    if file.provenance.get("predictions") != predictions_digest(folder):
        raise EvaluationError("its predictions are not those that were scored", hint=hint)
    return RunScores(folder, config, chosen, file)


def _unscored(folder: Path, config: RunConfig) -> EvaluationError:
    """The reason why a run has no scores."""
    if config.study_of is not None:
        return EvaluationError(
            f"trains members for a study of {config.study_of}, whose folder studies/ has the table"
        )
    trained = sum(1 for _ in _trained(folder))
    wanted = len(config.members) * config.corpus.splits
    return EvaluationError(
        f"not evaluated yet, {trained} of {wanted} members are trained", hint=f"medusa run {folder}"
    )


def _trained(folder: Path) -> Iterator[Path]:
    yield from folder.glob(f"members/*/{OUTPUTS}")
    yield from folder.glob(f"fold-*/members/*/{OUTPUTS}")


def _place(part: str) -> int:
    return PARTS.index(part) if part in PARTS else -1
