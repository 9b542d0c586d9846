"""One folder a run: where everything lies, what made it, and one process at a time.

OUT/corpora/        generated corpora
OUT/compiled/       compiled programs
OUT/features/       feature stores, named by corpus and extractor, shared by all runs
OUT/NAME-DIGEST/    a run: another configuration is another folder (house promise 4)
    config.yaml  provenance.json  corpus.parquet
    [fold-1/ …]  members/ID/  [inner-1/members/ID/ …]  ensemble/
    evaluation/  studies/  submission/
    report.html  model_card.md  report.json  report/
"""

from dataclasses import dataclass
from pathlib import Path

from medusa_jax.config.run import RunConfig

OUTPUTS, JOINED = "outputs.parquet", "out_of_fold.parquet"
"""In a member's folder: what it says of every utterance; and of its training part, from members trained without the speaker."""


@dataclass(frozen=True)
class Run:
    """A configuration and the folder `out` in which its runs and their shared data lie."""

    config: RunConfig
    out: Path

    @property
    def folder(self) -> Path:
        """This run's own folder."""
        return self.out / f"{self.config.name}-{self.config.digest()[:8]}"

    @property
    def corpus_file(self) -> Path:
        """The table of utterances."""
        return self.folder / "corpus.parquet"

    def fold_folder(self, fold: int) -> Path:
        """Where the run's split `fold` (from 0) lies: the run folder itself if it is the only one."""
        return self.folder / f"fold-{fold + 1}" if self.config.corpus.splits > 1 else self.folder

    def member_folder(self, fold: int, member: str) -> Path:
        """Where a member of a fold lies."""
        return self.fold_folder(fold) / "members" / member

    def evaluation_folder(self, part: str) -> Path:
        """The scores and the report on a part."""
        return self.folder / "evaluation" / part

    @property
    def profile_folder(self) -> Path:
        """Traces of training steps."""
        return self.folder / "profile"
