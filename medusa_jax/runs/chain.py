"""All steps of a run, one after the other: what `medusa run` and `medusa demo` call."""

from dataclasses import dataclass

from medusa_jax.evaluation.tables import SystemScores
from medusa_jax.runs.combine import combine
from medusa_jax.runs.evaluate import evaluate, labelled_parts
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.submit import Written, check_submission, submit
from medusa_jax.runs.train import train


@dataclass(frozen=True)
class Finished:
    """Scores of every system by part (empty if nothing but the training part is labelled), and the challenge files if the run wants them."""

    scored: dict[str, list[SystemScores]]
    written: Written | None


def run_all(prepared: Prepared) -> Finished:
    """Train, combine, write the challenge files, score. Finished members and ensembles are kept.

    Raises what the steps raise; a wish for challenge files that cannot be met is refused before training.
    """
    wanted = prepared.run.config.submission is not None
    if wanted:
        check_submission(prepared)
    train(prepared)
    combine(prepared)
    written = submit(prepared) if wanted else None
    scored = evaluate(prepared) if labelled_parts(prepared) or not wanted else {}
    return Finished(scored, written)
