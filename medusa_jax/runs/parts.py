"""Which utterances a member learns from, which choose its epoch, which are only predicted."""

from dataclasses import dataclass, replace

import numpy as np

from medusa_jax.config.corpus import CorpusConfig
from medusa_jax.corpus.splits import check_speakers_disjoint, hold_out, speaker_folds
from medusa_jax.corpus.table import Corpus
from medusa_jax.runs.run import Run


@dataclass(frozen=True)
class Parts:
    """Positions in the corpus: who a member learns from, who chooses its epoch, who is only predicted."""

    fit: np.ndarray
    held_out: np.ndarray
    rest: np.ndarray


def parts_of(run: Run, corpus: Corpus) -> list[Parts]:
    """One entry a fold, or one for a single fold or the corpus's own splits; no speaker plays two parts (house promise 7)."""
    config = run.config.corpus
    if config.folds is None:
        return [_parts(corpus, config)]
    fold_n = speaker_folds(corpus, config.folds)
    splits = [np.where(fold_n == fold, "test1", "train") for fold in config.tested]
    return [
        _parts(replace(corpus, frame=corpus.frame.assign(split=split)), config) for split in splits
    ]


def _parts(corpus: Corpus, config: CorpusConfig) -> Parts:
    held = hold_out(corpus, config.hold_out, config.seed)
    fit = (corpus.frame["split"] == "train").to_numpy() & ~held
    check_speakers_disjoint(corpus, fit, held, ~(fit | held))
    return Parts(np.flatnonzero(fit), np.flatnonzero(held), np.flatnonzero(~(fit | held)))
