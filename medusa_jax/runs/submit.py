"""The challenge files of a run: both tasks, valid or not written, scored where answers exist."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medusa_jax.config.ensemble import SubmissionConfig
from medusa_jax.config.run import RunConfig
from medusa_jax.corpus.table import ATTRIBUTES, Corpus
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.errors import ConfigError, SubmissionError
from medusa_jax.runs.inputs import answers_of
from medusa_jax.runs.prepare import Prepared
from submission.challenges import CLASSES, Challenge, challenge_of
from submission.scoring import score
from submission.writer import write_attributes, write_categorical

TEST = "test3"


@dataclass(frozen=True)
class Written:
    """The files of both tasks by kind (`categorical`, `attributes`), and their scores if known."""

    files: dict[str, Path]
    scores: dict[str, dict[str, float]]


def submit(prepared: Prepared) -> Written:
    """Write `submission/CHALLENGE-KIND.csv` for both tasks.

    The predictions are those of the configured system. A recorded corpus must have exactly the
    challenge's test files; a generated one stands in with its own. Raises `SubmissionError` if a
    file would be refused: then it is not written.
    """
    config, rows = check_submission(prepared)
    run, corpus = prepared.run, prepared.corpus
    predicted = run.ensemble_predictions(corpus, 0, config.system).where(rows)
    rules = challenge_of(config.challenge)
    named = corpus.synthetic or rules.categorical.names is None
    challenge = rules.with_names(predicted.ids) if named else rules
    files = _write(run.submission_folder, predicted, challenge)
    return Written(files, _score(corpus, challenge, files))


def _write(folder: Path, predicted: Predictions, challenge: Challenge) -> dict[str, Path]:
    """Write the files of both tasks and return their paths by kind."""
    files = {kind: folder / f"{challenge.id}-{kind}.csv" for kind in ("categorical", "attributes")}
    chosen = [predicted.classes[i] for i in predicted.logits.argmax(axis=1)]
    write_categorical(files["categorical"], predicted.ids, chosen, challenge)
    attributes = pd.DataFrame(predicted.attributes, columns=list(ATTRIBUTES))
    write_attributes(files["attributes"], predicted.ids, attributes, challenge)
    return files


def untrained_attributes(config: RunConfig, system: str | None = None) -> tuple[str, ...]:
    """Ids of the members whose attributes no loss has trained, so that they mean nothing.

    Of a `system` only those that reach its attributes: a meta-classifier that learns attributes
    has its own.
    """
    learned = config.ensemble.attributes and config.training.attribute_loss > 0
    if learned and system in ("meta_classifier", "soup"):
        return ()
    return tuple(one.id for one in config.members if not one.training.attribute_loss)


def check_submission(prepared: Prepared) -> tuple[SubmissionConfig, np.ndarray]:
    """The submission's settings and the test set's rows in the corpus; needs no training.

    Raises `ConfigError` if the run has no submission or is split into folds, `SubmissionError` if
    the corpus lacks the challenge's test set.
    """
    run, corpus = prepared.run, prepared.corpus
    if run.config.submission is None:
        what = "this run has no section `submission`"
        hint = "add it: --set submission.challenge=interspeech2025"
        raise ConfigError(what, where=run.config.name, hint=hint)
    if run.config.corpus.folds:
        what = "challenge files come from one ensemble, and folds train several"
        hint = "remove corpus.folds, or the submission: --set submission=null"
        raise ConfigError(what, where="corpus.folds, submission", hint=hint)
    rows = np.flatnonzero(corpus.frame["split"] == TEST)
    if len(rows) == 0 or corpus.classes != CLASSES:
        classes = f"{len(corpus.classes)} classes ({', '.join(corpus.classes)})"
        what = f"the corpus has {len(rows)} test3 utterances and {classes}: not the challenge's"
        hint = (
            "remove the submission (--set submission=null), "
            "or use a corpus with test3 in MSP-Podcast's layout"
        )
        raise SubmissionError(what, where=f"corpus {corpus.name!r} in {corpus.root}", hint=hint)
    return run.config.submission, rows


def _score(
    corpus: Corpus, challenge: Challenge, files: dict[str, Path]
) -> dict[str, dict[str, float]]:
    """The scores of the files on the corpus's own answers; empty without answers."""
    answers = answers_of(corpus)
    if answers is None:
        return {}
    return {
        task.kind: dict(score(files[task.kind], answers, challenge, task.kind).metrics)
        for task in challenge.tasks
    }
