"""What a feature store holds, in lines for people."""

from pathlib import Path

import numpy as np

from medusa_jax.features.store import FeatureStore


def summary(folder: Path) -> dict[str, str]:
    """Names and values to print: contents, origin, failures, versions. Raises `StoreError` for a store that does not open."""
    store = FeatureStore.open(folder)
    plan, lengths = store.plan, store.lengths
    made_with = sorted({f"{name} {version}" for entry in store.entries for name, version in entry.made_with.items()})
    spread = f"{lengths.min()} to {lengths.max()}, median {np.median(lengths):.0f}" if len(lengths) else "none"
    return {
        "corpus": plan.corpus,
        "utterances": f"{len(store)} of {plan.utterances}; {len(store.failed)} failed",
        "frames": f"{int(lengths.sum())} of {plan.width} x {plan.dtype}; {spread} an utterance",
        "disk": f"{sum(entry.size for entry in store.entries) / 1e6:.1f} MB in {plan.shards} shard(s)",
        "clipped": f"{sum(entry.clipped for entry in store.entries)} values beyond the range of {plan.dtype}",
        "extractor": ", ".join(f"{key} {value}" for key, value in plan.extractor.items() if not isinstance(value, dict)),
        "made with": ", ".join(made_with),
        "digest": store.digest,
    }
