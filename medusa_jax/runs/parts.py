"""Division of a corpus into utterances to fit, to select the epoch on, and only to predict."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medusa_jax.config.corpus import CorpusConfig
from medusa_jax.corpus.splits import (
    check_speakers_disjoint,
    hold_out,
    read_hold_out,
    speaker_folds,
)
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError
from medusa_jax.runs.run import Run


@dataclass(frozen=True)
class Parts:
    """Positions in the corpus, `[n]` int64: to fit, to select the epoch on, only to predict."""

    fit: np.ndarray
    held_out: np.ndarray
    rest: np.ndarray


def parts_of(run: Run, corpus: Corpus) -> list[Parts]:
    """The parts of each fold to train, or of the corpus's own splits.

    Raises `CorpusError` if a speaker is in two parts, or nothing is left to fit.
    """
    config = run.config.corpus
    if config.folds is None:
        return [_parts(corpus, config)]
    fold_n = speaker_folds(corpus, config.folds)
    splits = [np.where(fold_n == fold, "test1", "train") for fold in config.tested]
    return [
        _parts(replace(corpus, frame=corpus.frame.assign(split=split)), config) for split in splits
    ]


def _parts(corpus: Corpus, config: CorpusConfig) -> Parts:
    if config.hold_out_list is None:
        held = hold_out(corpus, config.hold_out, config.seed)
    else:
        held = read_hold_out(corpus, Path(config.hold_out_list).expanduser())
    fit = (corpus.frame["split"] == "train").to_numpy() & ~held
    if not fit.any():
        raise CorpusError(
            "the hold-out list leaves no training utterance to learn from",
            where=config.hold_out_list,
        )
    check_speakers_disjoint(corpus, fit, held, ~(fit | held))
    return Parts(np.flatnonzero(fit), np.flatnonzero(held), np.flatnonzero(~(fit | held)))
