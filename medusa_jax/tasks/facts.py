"""Facts about a corpus and its features that a task on utterances needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Moments = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Facts:
    """Needs of a task on utterances.

    `targets` are the classes that it is trained for, `classes` the first of them, which it
    predicts. `widths` and `extractors` go by modality; `weights_c` weigh the classes, `prior_c`
    are their shares; `genders` are places in
    `corpus.table.GENDERS` of the held-out part, behind them where unknown; `labels` are
    those of the held-out part, −1 without consensus; `moments` are mean and deviation of the frames
    of modalities that are standardised.
    """

    classes: tuple[str, ...]
    targets: tuple[str, ...]
    attributes: tuple[str, ...]
    widths: Mapping[str, int]
    extractors: Mapping[str, Any]
    weights_c: np.ndarray
    labels: np.ndarray
    seed: int
    prior_c: np.ndarray | None = None
    genders: np.ndarray | None = None
    moments: Moments = field(default_factory=dict)
