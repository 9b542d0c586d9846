"""Division of a corpus into utterances to fit, to select the epoch on, and only to predict."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medusa_jax.config.corpus import CorpusConfig
from medusa_jax.corpus.splits import (
    check_dialogues_whole,
    check_speakers_disjoint,
    hold_out,
    read_hold_out,
    shared_speakers,
    speaker_folds,
)
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError
from medusa_jax.runs.run import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """Positions in the corpus, `[n]` int64: to fit, to select the epoch on, only to predict."""

    fit: np.ndarray
    held_out: np.ndarray
    rest: np.ndarray


def parts_of(run: Run, corpus: Corpus) -> list[Parts]:
    """The parts of each fold to train, or of the corpus's own splits.

    Raises `CorpusError` if a dialogue or, unless they are shared, a speaker is in two parts, or
    nothing is left to fit. A warning counts the speakers that are shared.
    """
    config = run.config.corpus
    if config.folds is None:
        return [_parts(corpus, config)]
    fold_n = speaker_folds(corpus, config.folds, config.speakers)
    splits = [np.where(fold_n == fold, "test1", "train") for fold in config.tested]
    return [
        _parts(replace(corpus, frame=corpus.frame.assign(split=split)), config) for split in splits
    ]


def _parts(corpus: Corpus, config: CorpusConfig) -> Parts:
    held = _held_out(corpus, config)
    fit = (corpus.frame["split"] == "train").to_numpy() & ~held
    if not fit.any():
        raise CorpusError(
            "the hold-out list leaves no training utterance to learn from",
            where=config.hold_out_list,
        )
    sides = (fit, held, ~(fit | held))
    check_dialogues_whole(corpus, *sides)
    if config.speakers == "disjoint":
        check_speakers_disjoint(corpus, *sides)
    elif shared := shared_speakers(corpus, sides):
        logger.warning(
            "%d speaker(s) are in more than one of the training, held-out and scored parts, as "
            "corpus.speakers: shared allows: scores do not show how a model does on new speakers",
            len(shared),
        )
    return Parts(*(np.flatnonzero(side) for side in sides))


def _held_out(corpus: Corpus, config: CorpusConfig) -> np.ndarray:
    """Mask `[utterance]` of the part that chooses the epoch."""
    if config.epoch_by == "development":
        held = (corpus.frame["split"] == "development").to_numpy()
        if not held.any():
            raise CorpusError(
                "the corpus has no development split to choose the epoch by",
                where=f"corpus {corpus.name!r}",
                hint="hold out a share of the training part: --set corpus.epoch_by=hold_out",
            )
        return held
    if config.hold_out_list is None:
        return hold_out(corpus, config.hold_out, config.seed, config.speakers)
    return read_hold_out(corpus, Path(config.hold_out_list).expanduser())
