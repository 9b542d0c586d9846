"""A run's corpus, stores and parts: where every step starts."""

from collections.abc import Mapping
from dataclasses import dataclass

from medusa_jax.corpus.table import Corpus
from medusa_jax.runs.inputs import load_corpus, load_stores
from medusa_jax.runs.parts import Parts, parts_of
from medusa_jax.runs.provenance import keep_provenance
from medusa_jax.runs.run import Run
from medusa_jax.store.reader import FeatureStore


@dataclass(frozen=True)
class Prepared:
    """A run's corpus, stores and parts: what every step starts from."""

    run: Run
    corpus: Corpus
    stores: Mapping[str, FeatureStore]
    folds: list[Parts]


def prepare(run: Run, *, features: bool = True, verify: bool = False) -> Prepared:
    """Corpus, parts and, if `features`, feature stores: read, or made if missing.

    `provenance.json` names them. `verify`: read every byte of the features now, not each shard when
    a step first needs it.
    """
    corpus = load_corpus(run)
    folds = parts_of(run, corpus)
    stores = load_stores(run, corpus, verify=verify) if features else {}
    known = {"stores": {name: store.digest for name, store in stores.items()}} if features else {}
    keep_provenance(run, corpus=corpus.digest(), **known)
    return Prepared(run, corpus, stores, folds)
