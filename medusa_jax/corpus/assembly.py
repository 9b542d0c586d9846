"""The last step of every reader: columns in the order of the schema, soft labels, audio lengths."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Integer

from medusa_jax.audio.decode import seconds_of
from medusa_jax.corpus.labels import one_hot, soft_labels
from medusa_jax.corpus.table import ATTRIBUTES, OTHER, columns_of
from medusa_jax.errors import AudioError


def assemble(
    plain: Mapping[str, Any],
    votes: Integer[np.ndarray, "b c1"],
    secondary: Integer[np.ndarray, "b c1"],
    classes: tuple[str, ...],
    variant: str = "primary",
) -> pd.DataFrame:
    """The table of `medusa_jax.corpus.table` from `plain` columns and vote arrays, `other` last.

    A row without votes but with a consensus class gets the one-hot target of that class.
    `dialogue` and `turn` may be among the plain columns.
    """
    buckets = (*classes, OTHER)
    targets = buckets if variant == "with_other" else classes
    soft = soft_labels(votes, secondary, variant)
    unvoted = votes.sum(axis=1) == 0
    soft[unvoted] = one_hot(np.asarray(plain["consensus"], dtype=object)[unvoted], targets)
    columns: dict[str, object] = {name: text(values) for name, values in plain.items()}
    columns |= {
        name: np.asarray(plain.get(name, np.full(len(votes), np.nan)), np.float64)
        for name in ("seconds", *ATTRIBUTES)
    }
    columns |= {f"votes_{name}": votes[:, i] for i, name in enumerate(buckets)}
    columns |= {f"secondary_{name}": secondary[:, i] for i, name in enumerate(buckets)}
    columns |= {f"soft_{name}": soft[:, i] for i, name in enumerate(targets)}
    order = list(columns_of(classes))
    if variant == "with_other":
        order.insert(order.index(f"soft_{classes[-1]}") + 1, f"soft_{OTHER}")
    order += [name for name in ("dialogue", "turn") if name in plain]
    return pd.DataFrame(columns)[order]


def text(values: Iterable[object]) -> pd.Series:
    """A column of text as read from Parquet: None where a value is missing."""
    return pd.Series([None if value is None or value != value else value for value in values])


def measure(root: Path, audio: Sequence[str]) -> np.ndarray:
    """Seconds of each file below `root`, `[b]` float64, from its header.

    NaN for a file that is missing or has no readable header.
    """

    def seconds(name: str) -> float:
        try:
            return seconds_of(root / name)
        except AudioError:
            return float("nan")

    with ThreadPoolExecutor(8) as pool:
        return np.array(list(pool.map(seconds, audio)), dtype=np.float64)
