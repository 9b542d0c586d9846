"""Training splits of a fold: the one that makes its systems, and one without each inner fold.

The latter are for out-of-fold predictions. Members are trained alike in all of them and choose
their epoch on the same held-out part; the training part differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medusa_jax.corpus.splits import inner_folds
from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble.predictions import pooled
from medusa_jax.runs.parts import Parts
from medusa_jax.runs.predictions import read_predictions
from medusa_jax.runs.run import JOINED, OUTPUTS, Run


@dataclass(frozen=True)
class TrainingSplit:
    """One training of all members, on positions in the corpus; `folder` holds `members/ID/`.

    An inner split's predictions are joined below `joined`; a member whose joined file is there
    needs the split no more.
    """

    name: str  # in progress and plan; empty for the only one
    folder: Path
    fit: np.ndarray  # learned from
    held_out: np.ndarray  # chooses the epoch
    predicted: np.ndarray  # at the end
    joined: Path | None = None

    def member_folder(self, member: str) -> Path:
        """The folder of a member."""
        return self.folder / "members" / member

    def predictions_file(self, member: str) -> Path:
        """A member's predictions of `predicted`."""
        return self.member_folder(member) / OUTPUTS

    def lacks(self, member: str) -> bool:
        """True if the member is still to be trained, or to predict."""
        if self.joined is not None and (self.joined / "members" / member / JOINED).exists():
            return False
        return not self.predictions_file(member).exists()


def splits_of(run: Run, corpus: Corpus, folds: Sequence[Parts], fold: int) -> list[TrainingSplit]:
    """The splits of a fold, the one that makes its systems first.

    Raises `CorpusError` where the inner folds that the run asks for cannot be made.
    """
    parts, folder = folds[fold], run.fold_folder(fold)
    name = f"fold {fold + 1} of {len(folds)}" if len(folds) > 1 else ""
    final = TrainingSplit(name, folder, parts.fit, parts.held_out, np.arange(len(corpus)))
    config = run.config.ensemble
    if config.fit_on != "out_of_fold":
        return [final]
    speakers = run.config.corpus.speakers
    inner_n = inner_folds(corpus, parts.fit, config.inner_folds, speakers)
    inner = []
    for k in range(config.inner_folds):
        title = ", ".join(filter(None, (name, f"inner fold {k + 1} of {config.inner_folds}")))
        inner.append(
            TrainingSplit(
                title,
                folder / f"inner-{k + 1}",
                parts.fit[inner_n != k],
                parts.held_out,
                parts.fit[inner_n == k],
                folder,
            )
        )
    return [final, *inner]


def join_out_of_fold(run: Run, corpus: Corpus, splits: Sequence[TrainingSplit]) -> None:
    """Join predictions of the inner `splits` (all but the first) as each `out_of_fold.parquet`."""
    final, *inner = splits
    rows = np.concatenate([split.predicted for split in inner])
    for member in run.config.members:
        path = final.member_folder(member.id) / JOINED
        if not path.exists():
            found = [
                read_predictions(split.predictions_file(member.id), corpus, split.predicted)
                for split in inner
            ]
            pooled(found).where(np.argsort(rows)).save(path)
