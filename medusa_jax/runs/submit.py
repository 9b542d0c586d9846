"""The challenge files of a run: both tasks, valid or not written, and scored where the answers are at hand."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medusa_jax.config.ensemble import SubmissionConfig
from medusa_jax.corpus.table import ATTRIBUTES
from medusa_jax.errors import ConfigError, SubmissionError
from medusa_jax.runs.inputs import answers_of
from medusa_jax.runs.predictions import ensemble_outputs
from medusa_jax.runs.prepare import Prepared
from submission.challenges import CLASSES, Challenge, challenge_of
from submission.leaderboard import leaderboard, write_leaderboard, write_score
from submission.scoring import score
from submission.writer import write_attributes, write_categorical

TEST = "test3"


@dataclass(frozen=True)
class Written:
    """The files of both tasks by kind (`categorical`, `attributes`), and their scores where the answers are known."""

    files: dict[str, Path]
    scores: dict[str, dict[str, float]]


def submit(prepared: Prepared) -> Written:
    """Write `submission/CHALLENGE-KIND.csv` for Task 1 and Task 2 from the configured system, and the leaderboard beside them.

    A recorded corpus must have exactly the challenge's test files; a generated one stands in with its own. Raises
    `SubmissionError` if a file would be refused: then it is not written.
    """
    config, rows = check_submission(prepared)
    corpus = prepared.corpus
    outputs = ensemble_outputs(prepared.run, corpus, 0, config.system).where(rows)
    challenge = challenge_of(config.challenge)
    if corpus.synthetic or challenge.categorical.names is None:
        challenge = challenge.with_names(outputs.ids)
    folder = prepared.run.folder / "submission"
    files = {kind: folder / f"{challenge.id}-{kind}.csv" for kind in ("categorical", "attributes")}
    write_categorical(
        files["categorical"],
        outputs.ids,
        [corpus.classes[i] for i in outputs.logits.argmax(axis=1)],
        challenge,
    )
    write_attributes(
        files["attributes"],
        outputs.ids,
        pd.DataFrame(outputs.attributes, columns=list(ATTRIBUTES)),
        challenge,
    )
    scores = _score(prepared, challenge, files)
    write_leaderboard(
        leaderboard(prepared.run.out, challenge_of(config.challenge)),
        prepared.run.out / f"leaderboard-{challenge.id}.csv",
    )
    return Written(files, scores)


def check_submission(prepared: Prepared) -> tuple[SubmissionConfig, np.ndarray]:
    """What to write and the test set's rows in the corpus, before any training if asked then.

    Raises `ConfigError` if the run wants no challenge files or is split into folds, `SubmissionError` if the corpus has no
    test set of the challenge.
    """
    config, corpus = prepared.run.config.submission, prepared.corpus
    if config is None:
        hint = "add it: --set submission.challenge=interspeech2025"
        raise ConfigError(
            "this run has no `submission` section, so there is nothing to write",
            where=prepared.run.config.name,
            hint=hint,
        )
    if prepared.run.config.corpus.folds:
        hint = "leave out corpus.folds, or the submission: --set submission=null"
        raise ConfigError(
            "challenge files come from one ensemble, and folds train several",
            where="corpus.folds, submission",
            hint=hint,
        )
    rows = np.flatnonzero(corpus.frame["split"] == TEST)
    if len(rows) == 0 or corpus.classes != CLASSES:
        what = f"the corpus has {len(rows)} test3 utterances and {len(corpus.classes)} classes ({', '.join(corpus.classes)}): not the challenge's"
        hint = "leave out the submission: --set submission=null; or use a corpus with test3 in MSP-Podcast's layout"
        raise SubmissionError(what, where=f"corpus {corpus.name!r} in {corpus.root}", hint=hint)
    return config, rows


def _score(
    prepared: Prepared, challenge: Challenge, files: dict[str, Path]
) -> dict[str, dict[str, float]]:
    """Score the files against the corpus's own answers, if it has them, and keep that for the leaderboard."""
    answers, corpus, run = answers_of(prepared.corpus), prepared.corpus, prepared.run
    if answers is None:
        return {}
    found: dict[str, dict[str, float]] = {}
    for task in challenge.tasks:
        found[task.kind] = dict(score(files[task.kind], answers, challenge, task.kind).metrics)
        write_score(
            run.folder,
            challenge=challenge.id,
            task=task.kind,
            system=f"{run.config.name} ({run.config.submission.system})"
            if run.config.submission
            else run.config.name,
            metrics=found[task.kind],
            corpus=corpus.name,
            synthetic=corpus.synthetic,
            file=str(files[task.kind].relative_to(run.folder)),
        )
    return found
