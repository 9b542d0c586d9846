"""What a member or an ensemble says of each utterance, and its file, in which every column names its class (house promise 6).

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
        """The same with the rows at `positions` taken from `by`. Raises `EvaluationError` if those are of other utterances or classes."""
        if by.ids != tuple(self.ids[i] for i in positions) or by.classes != self.classes:
            raise EvaluationError(
                "outputs that replace others are of different utterances or classes",
                hint="train them in one run folder",
            )
        logits, attributes = self.logits.copy(), self.attributes.copy()
        logits[positions], attributes[positions] = by.logits, by.attributes
        return Predictions(self.ids, self.classes, logits, attributes)

    def save(self, path: Path) -> None:
        """Write a Parquet file `id, logit_CLASS…, p_CLASS…, arousal, valence, dominance`, whole or not at all."""
        columns: dict[str, object] = {"id": list(self.ids)}
        columns |= {f"logit_{c}": self.logits[:, i] for i, c in enumerate(self.classes)}
        columns |= {f"p_{c}": self.posteriors[:, i] for i, c in enumerate(self.classes)}
        columns |= {name: self.attributes[:, i] for i, name in enumerate(ATTRIBUTES)}
        with write_whole(path) as temporary:
            pd.DataFrame(columns).to_parquet(temporary, index=False)

    @classmethod
    def load(cls, path: Path, classes: Sequence[str]) -> "Predictions":
        """Read a file of `save`. Raises `EvaluationError` if it is missing, damaged, or speaks of other classes."""
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise EvaluationError(
                f"the outputs cannot be read: {error}",
                where=path,
                hint="run the step that makes them again",
            ) from error
        missing = [
            c
            for c in ("id", *(f"logit_{c}" for c in classes), *ATTRIBUTES)
            if c not in frame.columns
        ]
        if missing:
            raise EvaluationError(f"the outputs lack {', '.join(missing)}", where=path)
        foreign = [
            c
            for c in frame.columns
            if c.startswith("logit_") and c.removeprefix("logit_") not in classes
        ]
        if foreign:
            raise EvaluationError(
                f"the outputs have classes that this corpus has not: {', '.join(foreign)}",
                where=path,
            )
        logits = frame[[f"logit_{c}" for c in classes]].to_numpy(np.float32)
        attributes = frame[list(ATTRIBUTES)].to_numpy(np.float32)
        if not (np.isfinite(logits).all() and np.isfinite(attributes).all()):
            raise EvaluationError("the outputs hold values that are not finite", where=path)
        return cls(tuple(frame["id"]), tuple(classes), logits, attributes)


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of several sets of utterances as one, in this order."""
    ids = tuple(i for one in parts for i in one.ids)
    return Predictions(
        ids,
        parts[0].classes,
        np.concatenate([o.logits for o in parts]),
        np.concatenate([o.attributes for o in parts]),
    )


def stacked(members: Sequence[Predictions]) -> tuple[np.ndarray, np.ndarray]:
    """Logits `[n, m, c]` and attributes `[n, m, 3]` of members that speak of the same utterances in the same order."""
    if len({(m.ids, m.classes) for m in members}) != 1:
        raise EvaluationError(
            "the members' outputs are of different utterances or classes",
            hint="train them in one run folder",
        )
    return np.stack([m.logits for m in members], axis=1), np.stack(
        [m.attributes for m in members], axis=1
    )
