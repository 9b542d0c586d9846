"""Typed errors: a user's mistake ends in one of these, never in a traceback.

Each has *what* is wrong, *where* it is and a `hint` to fix it. The command line prints those three
lines and exits with the class's `exit_code`.
"""

from pathlib import Path


class MedusaError(Exception):
    """An error that the user can fix.

    `what` is one sentence, `where` a file, row, key or step, and `hint` the way to fix it.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, where: str | Path | None = None, hint: str | None = None
    ) -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what)

    def __str__(self) -> str:
        where = f"\n  where: {self.where}" if self.where is not None else ""
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{self.what}{where}{hint}"


class ConfigError(MedusaError):
    """An invalid configuration: unknown key, wrong type, impossible combination."""

    exit_code = 2


class CorpusError(MedusaError):
    """A corpus folder or label file that cannot be read, or an inconsistent table of utterances."""

    exit_code = 3


class LabelError(CorpusError):
    """An unknown label, or a line of votes that does not parse."""


class AudioError(CorpusError):
    """An audio file that is missing, empty, truncated, not audio, or has non-finite samples."""


class FeatureError(MedusaError):
    """An extractor that cannot run, or too many utterances that failed."""

    exit_code = 4


class StoreError(FeatureError):
    """A feature store that is damaged, incomplete, a mix of two versions, or being written."""


class DependencyError(MedusaError):
    """An optional package is not installed; `hint` names the extra that installs it."""

    exit_code = 5


class TrainingError(MedusaError):
    """Training cannot start or continue (a non-finite loss, a split without a class, …)."""

    exit_code = 6


class CheckpointError(TrainingError):
    """A checkpoint that is missing, damaged, or belongs to another configuration."""


class RunFolderError(MedusaError):
    """A run folder that belongs to another configuration, or that another process is using."""

    exit_code = 7


class EvaluationError(MedusaError):
    """Scores cannot be computed: no labels, ids that do not match, non-finite posteriors."""

    exit_code = 8


class SubmissionError(MedusaError):
    """A submission file that the challenge would refuse, or that cannot be read."""

    exit_code = 9


class Interrupted(MedusaError):  # noqa: N818 (stopping when asked is no error)
    """The process was asked to stop (SIGTERM, Ctrl-C) and saved its state first.

    The same command resumes.
    """

    exit_code = 75
