"""All steps of a run, one after the other: `medusa run` and `medusa demo`."""

from dataclasses import dataclass

from medusa_jax.evaluation.tables import SystemScores
from medusa_jax.runs.combine import combine
from medusa_jax.runs.evaluate import evaluate, labelled_parts
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.submit import Written, check_submission, submit
from medusa_jax.runs.train import train


@dataclass(frozen=True)
class Finished:
    """Scores of every system by part, and the challenge files.

    `scored` is empty if only the training part is labelled, `written` None without a submission.
    """

    scored: dict[str, list[SystemScores]]
    written: Written | None


def run_all(prepared: Prepared) -> Finished:
    """Train, combine, write the challenge files, score. Finished members and ensembles are kept.

    Raises the errors of the steps; an impossible submission is refused before training.
    """
    submits = prepared.run.config.submission is not None
    if submits:
        check_submission(prepared)
    train(prepared)
    combine(prepared)
    written = submit(prepared) if submits else None
    scored = evaluate(prepared) if labelled_parts(prepared) or not submits else {}
    return Finished(scored, written)
