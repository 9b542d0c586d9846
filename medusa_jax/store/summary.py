"""Summarise a feature store for people."""

from collections import Counter
from pathlib import Path

import numpy as np

from medusa_jax.store.reader import FeatureStore


def summary(folder: Path) -> dict[str, str]:
    """Return names and values to print. Raises `StoreError` for a store that does not open."""
    store = FeatureStore.open(folder)
    plan = store.plan
    size = sum(entry.size for entry in store.entries) / 1e6
    clipped = sum(entry.clipped for entry in store.entries)
    settings = {key: value for key, value in plan.extractor.items() if not isinstance(value, dict)}
    return {
        "corpus": plan.corpus,
        "utterances": f"{len(store)} of {plan.utterances}; {len(store.failed)} failed",
        "warnings": _warnings(store),
        "frames": f"{store.lengths.sum()} of {plan.width} x {plan.dtype}; {_lengths(store)}",
        "read as": store.dtype + _SCALED * (plan.dtype == "int8"),
        "disk": f"{size:.1f} MB in {plan.shards} shard(s)",
        "clipped": f"{clipped} values beyond the range of {store.dtype}",
        "extractor": ", ".join(f"{key} {value}" for key, value in settings.items()),
        "made from": f"store {plan.made_from}" if plan.made_from else "the extractor's input",
        "made with": ", ".join(_made_with(store)),
        "digest": store.digest,
    }


_SCALED = ", stored as integers with a float32 scale per feature and utterance"


def _warnings(store: FeatureStore) -> str:
    """Count the utterances with warnings, and each kind of warning."""
    warned = [row for entry in store.entries for row in entry.warned]
    kinds = Counter(warning for row in warned for warning in row.warnings)
    return f"{len(warned)} utterance(s)" + "".join(f"; {n} {kind}" for kind, n in kinds.items())


def _lengths(store: FeatureStore) -> str:
    lengths = store.lengths
    if not len(lengths):
        return "no utterance"
    median = np.median(lengths)
    return f"{lengths.min()} to {lengths.max()} per utterance, median {median:.0f}"


def _made_with(store: FeatureStore) -> list[str]:
    """Return each package and version that computed some of the frames."""
    packages = {item for entry in store.entries for item in entry.made_with.items()}
    return sorted(f"{name} {version}" for name, version in packages)
