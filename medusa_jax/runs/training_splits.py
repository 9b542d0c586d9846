"""The training splits of a fold: the one that makes its systems and, for out-of-fold predictions, one without each inner fold.

Members are trained alike in all of them and choose their epoch on the same held-out part; the training part differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medusa_jax.corpus.splits import inner_folds
from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble.predictions import Predictions, pooled
from medusa_jax.errors import EvaluationError
from medusa_jax.runs.parts import Parts
from medusa_jax.runs.run import JOINED, OUTPUTS, Run


@dataclass(frozen=True)
class TrainingSplit:
    """One training of all members: positions in the corpus of who is learned from, who chooses the epoch, and who is predicted then.

    `folder` holds `members/ID/`. `joined` is where an inner split's outputs end up; a member whose file is there needs it no more.
    """

    name: str  # as progress and plan say it; empty for the only one
    folder: Path
    fit: np.ndarray
    held_out: np.ndarray
    predicted: np.ndarray
    joined: Path | None = None

    def member_folder(self, member: str) -> Path:
        """Where a member lies."""
        return self.folder / "members" / member

    def outputs_file(self, member: str) -> Path:
        """What a member says of those it predicts."""
        return self.member_folder(member) / OUTPUTS

    def lacks(self, member: str) -> bool:
        """Whether the member is still to be trained, or to predict."""
        if self.joined is not None and (self.joined / "members" / member / JOINED).exists():
            return False
        return not self.outputs_file(member).exists()


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
    inner_n = inner_folds(corpus, parts.fit, config.inner_folds)
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
    """Write each member's `out_of_fold.parquet` from what the inner `splits` (all but the first) said of the speakers they left out."""
    final, *inner = splits
    rows = np.concatenate([split.predicted for split in inner])
    for member in run.config.members:
        path = final.member_folder(member.id) / JOINED
        if not path.exists():
            found = [
                outputs_of(split.outputs_file(member.id), corpus, split.predicted)
                for split in inner
            ]
            pooled(found).where(np.argsort(rows)).save(path)


def outputs_of(path: Path, corpus: Corpus, rows: np.ndarray) -> Predictions:
    """The outputs in a file. Raises `EvaluationError` unless they are of exactly these rows of the corpus, in this order."""
    found = Predictions.load(path, corpus.classes)
    if found.ids != tuple(corpus.frame["id"].iloc[rows]):
        raise EvaluationError(
            "these outputs are of other utterances than the run's corpus",
            where=path,
            hint="use a fresh --out",
        )
    return found
