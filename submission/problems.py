"""Problems of a submission file, line by line, and the error that carries them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medusa_jax.errors import SubmissionError

SHOWN = 12


@dataclass(frozen=True)
class Problem:
    """One fault that the challenge would refuse: line (from 1; None: the file), message, hint."""

    line: int | None
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{'file' if self.line is None else f'line {self.line}'}: {self.message}"


class RefusedSubmissionError(SubmissionError):
    """A file that is not a valid submission; `problems` has all, the text one a kind."""

    def __init__(self, problems: Sequence[Problem], where: str | Path, called: str) -> None:
        self.problems = tuple(problems)
        first, count = self.problems[0], len(self.problems)
        lines = "".join(f"\n  - {text}" for text in summary(self.problems))
        counted = f"{count} problem{'s' if count > 1 else ''}"
        super().__init__(
            f"not a valid submission for {called}: {counted}{lines}", where=where, hint=first.hint
        )


def grouped(problems: Sequence[Problem]) -> list[tuple[Problem, int]]:
    """The first problem of each kind and their number; problems with the same hint are a kind."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.hint, []).append(problem)
    return [(found[0], len(found)) for found in kinds.values()]


def summary(problems: Sequence[Problem]) -> list[str]:
    """One text a kind of problem, at most `SHOWN`."""
    texts = [
        f"{first}{f' (and {count - 1:,} more like it)' if count > 1 else ''}"
        for first, count in grouped(problems)
    ]
    return texts[:SHOWN] + ([f"and {len(texts) - SHOWN} more kinds"] if len(texts) > SHOWN else [])


def short(text: str, width: int = 60) -> str:
    """`text` quoted, cut to `width` characters, control characters made visible."""
    return repr(text if len(text) <= width else f"{text[: width - 1]}…")
