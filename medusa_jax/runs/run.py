"""The folder of a run, and the path of everything in it.

OUT/corpora/        generated corpora
OUT/compiled/       compiled programs
OUT/features/       feature stores, named by corpus and extractor, shared by all runs
OUT/transcripts/    transcripts, likewise
OUT/NAME-DIGEST/    a run: another configuration has another folder
    config.yaml  provenance.json  corpus.parquet
    [fold-1/ …]  members/ID/  [inner-1/members/ID/ …]  ensemble/
    evaluation/  studies/  submission/  profile/
    report.html  model_card.md  report.json  report/
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medusa_jax.config.run import RunConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.runs.predictions import read_predictions

OUTPUTS, JOINED = "outputs.parquet", "out_of_fold.parquet"
"""In a member's folder: its predictions of all utterances, and those of its training part made
by members trained without the speaker."""
GENDERS_FILE = "genders.csv"
"""In the folder of a member that tells genders: their probabilities."""


@dataclass(frozen=True)
class Run:
    """A configuration, and the folder `out` of its runs and the data they share."""

    config: RunConfig
    out: Path

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.out / f"{self.config.name}-{self.config.digest()[:8]}"

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.folder / "config.yaml"

    @property
    def provenance_file(self) -> Path:
        """Versions, machine, and digests of the data."""
        return self.folder / "provenance.json"

    @property
    def corpus_file(self) -> Path:
        """The table of utterances."""
        return self.folder / "corpus.parquet"

    def failures_file(self, feature: str) -> Path:
        """The utterances that an imported feature store lacks."""
        return self.folder / f"failures-{feature}.jsonl"

    def fold_folder(self, fold: int) -> Path:
        """The folder of split `fold`, from 0: the run's own folder if there is only one split."""
        return self.folder / f"fold-{fold + 1}" if self.config.corpus.splits > 1 else self.folder

    def member_folder(self, fold: int, member: str) -> Path:
        """The folder of a member of a fold."""
        return self.fold_folder(fold) / "members" / member

    def predictions_file(self, fold: int, member: str) -> Path:
        """A member's predictions of all utterances."""
        return self.member_folder(fold, member) / OUTPUTS

    def out_of_fold_file(self, fold: int, member: str) -> Path:
        """Predictions of the training part by members trained without the speaker."""
        return self.member_folder(fold, member) / JOINED

    def genders_file(self, fold: int, member: str) -> Path:
        """A member's predicted genders, if it has a head for them."""
        return self.member_folder(fold, member) / GENDERS_FILE

    def metrics_file(self, fold: int, member: str) -> Path:
        """A member's losses and scores, one line an epoch."""
        return self.member_folder(fold, member) / "metrics.jsonl"

    def record_file(self, fold: int, member: str) -> Path:
        """The record of a member's finished training."""
        return self.member_folder(fold, member) / "member.json"

    def ensemble_folder(self, fold: int) -> Path:
        """The folder of a fold's votes and learned systems."""
        return self.fold_folder(fold) / "ensemble"

    def ensemble_file(self, fold: int, system: str) -> Path:
        """An ensemble's predictions of all utterances."""
        return self.ensemble_folder(fold) / f"{system}.parquet"

    def meta_folder(self, fold: int) -> Path:
        """The checkpoint of a fold's meta-classifiers."""
        return self.ensemble_folder(fold) / "checkpoints"

    def evaluation_folder(self, part: str) -> Path:
        """Scores and report on one part."""
        return self.folder / "evaluation" / part

    def scores_file(self, part: str) -> Path:
        """The scores of all systems on one part."""
        return self.evaluation_folder(part) / "scores.json"

    @property
    def studies_folder(self) -> Path:
        """Tables of ablations and of studies of ensembles."""
        return self.folder / "studies"

    @property
    def submission_folder(self) -> Path:
        """Challenge files and their scores."""
        return self.folder / "submission"

    @property
    def report_page(self) -> Path:
        """The report as one HTML page."""
        return self.folder / "report.html"

    @property
    def model_card(self) -> Path:
        """The model card, to publish with the models."""
        return self.folder / "model_card.md"

    @property
    def report_numbers(self) -> Path:
        """All numbers of the report."""
        return self.folder / "report.json"

    @property
    def report_tables(self) -> Path:
        """The tables of the report, as CSV files."""
        return self.folder / "report"

    @property
    def profile_folder(self) -> Path:
        """Traces of training steps."""
        return self.folder / "profile"

    @property
    def compiled_folder(self) -> Path:
        """Compiled programs of all runs."""
        return self.out / "compiled"

    @property
    def features_folder(self) -> Path:
        """Feature stores of all runs."""
        return self.out / "features"

    @property
    def transcripts_folder(self) -> Path:
        """Transcripts of all runs."""
        return self.out / "transcripts"

    def leaderboard_file(self, challenge: str) -> Path:
        """The scores of all runs and the published ones."""
        return self.out / f"leaderboard-{challenge}.csv"

    def predictions(self, corpus: Corpus, fold: int, member: str) -> Predictions:
        """A member's predictions of all utterances of the run's `corpus`.

        Raises `EvaluationError` if they are missing, damaged, or of other utterances. The same
        holds for the two methods below.
        """
        path, missing = self.predictions_file(fold, member), f"member {member} is not trained yet"
        return read_predictions(path, corpus, missing=missing, command="medusa train")

    def out_of_fold(self, corpus: Corpus, fold: int, member: str, fit: np.ndarray) -> Predictions:
        """A member's out-of-fold predictions of the fold's training part `fit`."""
        path = self.out_of_fold_file(fold, member)
        missing = f"no out-of-fold predictions of member {member} found"
        return read_predictions(path, corpus, fit, missing=missing, command="medusa train")

    def ensemble_predictions(self, corpus: Corpus, fold: int, system: str) -> Predictions:
        """An ensemble's predictions of all utterances."""
        path, missing = self.ensemble_file(fold, system), "no predictions of the ensemble found"
        return read_predictions(path, corpus, missing=missing, command="medusa ensemble")
