"""Predictions of a member or an ensemble, and their file, in which each column names its class.

Legend: `n` utterance, `m` member, `c` class, `a` attribute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from medusa_jax.corpus.table import ATTRIBUTES
from medusa_jax.errors import EvaluationError
from medusa_jax.files import write_whole


@dataclass(frozen=True)
class Predictions:
    """Logits `[n, c]` and attributes `[n, 3]`, float32, of the utterances `ids`."""

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    logits: np.ndarray
    attributes: np.ndarray

    @property
    def posteriors(self) -> np.ndarray:
        """Softmax of the logits `[n, c]`."""
        return softmax(self.logits, axis=1)

    def where(self, positions: np.ndarray) -> "Predictions":
        """These rows, in this order."""
        ids = tuple(self.ids[i] for i in positions)
        return Predictions(ids, self.classes, self.logits[positions], self.attributes[positions])

    def replaced(self, positions: np.ndarray, by: "Predictions") -> "Predictions":
        """The same with the rows at `positions` taken from `by`.

        Raises `EvaluationError` if those are of other utterances or classes.
        """
        if by.ids != tuple(self.ids[i] for i in positions) or by.classes != self.classes:
            raise EvaluationError(
                "predictions that replace others are of different utterances or classes",
                hint="train them in one run folder",
            )
        logits, attributes = self.logits.copy(), self.attributes.copy()
        logits[positions], attributes[positions] = by.logits, by.attributes
        return Predictions(self.ids, self.classes, logits, attributes)

    def save(self, path: Path) -> None:
        """Write `id, logit_CLASS…, p_CLASS…, arousal, valence, dominance` as Parquet.

        The file appears whole or not at all.
        """
        columns: dict[str, object] = {"id": list(self.ids)}
        columns |= {f"logit_{c}": self.logits[:, i] for i, c in enumerate(self.classes)}
        columns |= {f"p_{c}": self.posteriors[:, i] for i, c in enumerate(self.classes)}
        columns |= {name: self.attributes[:, i] for i, name in enumerate(ATTRIBUTES)}
        with write_whole(path) as temporary:
            pd.DataFrame(columns).to_parquet(temporary, index=False)

    @classmethod
    def load(cls, path: Path, classes: Sequence[str]) -> "Predictions":
        """Read a file of `save`, its classes in the order of `classes`.

        Raises `EvaluationError` if it is missing, damaged, or has other classes.
        """
        frame = _read(path)
        _check_columns(frame, classes, path)
        logits = frame[[f"logit_{c}" for c in classes]].to_numpy(np.float32)
        attributes = frame[list(ATTRIBUTES)].to_numpy(np.float32)
        if not (np.isfinite(logits).all() and np.isfinite(attributes).all()):
            raise EvaluationError("the predictions are not finite", where=path)
        return cls(tuple(frame["id"]), tuple(classes), logits, attributes)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise EvaluationError(
            f"the predictions cannot be read: {error}",
            where=path,
            hint="run the step that makes them again",
        ) from error


def _check_columns(frame: pd.DataFrame, classes: Sequence[str], path: Path) -> None:
    logits = [f"logit_{c}" for c in classes]
    missing = [c for c in ("id", *logits, *ATTRIBUTES) if c not in frame.columns]
    if missing:
        raise EvaluationError(f"the predictions lack {', '.join(missing)}", where=path)
    foreign = [c for c in frame.columns if c.startswith("logit_") and c not in logits]
    if foreign:
        raise EvaluationError(
            f"the predictions have classes that this corpus lacks: {', '.join(foreign)}",
            where=path,
        )


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of several sets of utterances as one, in this order."""
    ids = tuple(i for one in parts for i in one.ids)
    logits = np.concatenate([one.logits for one in parts])
    attributes = np.concatenate([one.attributes for one in parts])
    return Predictions(ids, parts[0].classes, logits, attributes)


def stacked(members: Sequence[Predictions]) -> tuple[np.ndarray, np.ndarray]:
    """Logits `[n, m, c]` and attributes `[n, m, 3]` of several members.

    Raises `EvaluationError` unless all are of the same utterances and classes in the same order.
    """
    if len({(m.ids, m.classes) for m in members}) != 1:
        raise EvaluationError(
            "the members' predictions are of different utterances or classes",
            hint="train them in one run folder",
        )
    logits = np.stack([m.logits for m in members], axis=1)
    return logits, np.stack([m.attributes for m in members], axis=1)
