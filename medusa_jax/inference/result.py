"""What a system predicts of one stretch of audio, and tables of several."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Result:
    """Of one recording, or of one window of it.

    `start` and `end` in seconds. `probabilities` by class name; `attributes` on 1–7, empty if the
    system was not trained for them. `error`: why there is no prediction; `label` is then None.
    """

    file: str
    start: float
    end: float
    label: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    attributes: dict[str, float] = field(default_factory=dict)
    transcript: str | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None

    @property
    def confidence(self) -> float:
        """The probability of the label; NaN without one."""
        return max(self.probabilities.values(), default=float("nan"))

    def as_dict(self) -> dict[str, Any]:
        """The same in JSON's types: file, start, end, label, confidence, probabilities, and
        whatever else there is.
        """
        found: dict[str, Any] = {"file": self.file, "start": self.start, "end": self.end}
        found |= {"label": self.label}
        if self.label is not None:
            found |= {"confidence": self.confidence, "probabilities": self.probabilities}
        others = {
            "attributes": self.attributes,
            "transcript": self.transcript,
            "warnings": list(self.warnings),
            "error": self.error,
        }
        return found | {name: value for name, value in others.items() if value}

    def table(self) -> pd.DataFrame:
        """As of `table_of`, with one row."""
        return table_of([self])


def table_of(results: Iterable[Result]) -> pd.DataFrame:
    """A row a result: label, confidence, a column a class, attributes, transcript, warnings,
    error.

    The index is audformat's of segments: `file`, `start` and `end`, the latter as `Timedelta`.
    """
    given = list(results)
    rows = [_row(one) for one in given]
    columns: dict[str, None] = {}
    for row in rows:
        columns |= dict.fromkeys(row)
    starts, ends = (
        pd.to_timedelta([getattr(one, name) for one in given], unit="s")
        for name in ("start", "end")
    )
    index = pd.MultiIndex.from_arrays(
        [[one.file for one in given], starts, ends], names=["file", "start", "end"]
    )
    return pd.DataFrame(rows, index=index, columns=_ordered(list(columns)))


def _row(one: Result) -> dict[str, Any]:
    found: dict[str, Any] = {"label": one.label, "confidence": one.confidence}
    found |= one.probabilities | one.attributes
    texts = {
        "transcript": one.transcript,
        "warnings": ", ".join(one.warnings) or None,
        "error": one.error,
    }
    return found | {name: value for name, value in texts.items() if value is not None}


def _ordered(columns: list[str]) -> list[str]:
    last = [name for name in ("transcript", "warnings", "error") if name in columns]
    return [name for name in columns if name not in last] + last


class Results(Sequence[Result]):
    """Results in order, with a table of them."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._results = tuple(results)

    def __len__(self) -> int:
        return len(self._results)

    def __getitem__(self, place: Any) -> Any:
        found = self._results[place]
        return Results(found) if isinstance(place, slice) else found

    def __repr__(self) -> str:
        return f"Results({len(self)}: {', '.join(str(one.label) for one in self[:5])} …)"

    def table(self) -> pd.DataFrame:
        """As of `table_of`."""
        return table_of(self)
