"""What a feature store holds, in lines for people."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from medusa_jax.store.ledger import Warned
from medusa_jax.store.reader import FeatureStore


def summary(folder: Path) -> dict[str, str]:
    """Names and values to print: contents, origin, failures, versions. Raises `StoreError` for a store that does not open."""
    store = FeatureStore.open(folder)
    plan, lengths = store.plan, store.lengths
    warned = [row for entry in store.entries for row in entry.warned]
    made_with = sorted(
        {
            f"{name} {version}"
            for entry in store.entries
            for name, version in entry.made_with.items()
        }
    )
    spread = (
        f"{lengths.min()} to {lengths.max()}, median {np.median(lengths):.0f}"
        if len(lengths)
        else "none"
    )
    return {
        "corpus": plan.corpus,
        "utterances": f"{len(store)} of {plan.utterances}; {len(store.failed)} failed",
        "warnings": f"{len(warned)} utterance(s)"
        + "".join(f"; {count} {kind}" for kind, count in _kinds(warned).items()),
        "frames": f"{int(lengths.sum())} of {plan.width} x {plan.dtype}; {spread} an utterance",
        "read as": store.dtype
        + (
            ", of whole numbers with a float32 step a feature and utterance"
            if plan.dtype == "int8"
            else ""
        ),
        "disk": f"{sum(entry.size for entry in store.entries) / 1e6:.1f} MB in {plan.shards} shard(s)",
        "clipped": f"{sum(entry.clipped for entry in store.entries)} values beyond the range of {store.dtype}",
        "extractor": ", ".join(
            f"{key} {value}" for key, value in plan.extractor.items() if not isinstance(value, dict)
        ),
        "made from": f"store {plan.made_from}"
        if plan.made_from
        else "what the extractor was given",
        "made with": ", ".join(made_with),
        "digest": store.digest,
    }


def _kinds(warned: Iterable[Warned]) -> dict[str, int]:
    """How many utterances carry each warning."""
    return dict(Counter(warning for row in warned for warning in row.warnings))
