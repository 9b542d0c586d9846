"""Run folders with scores and nothing else, for the leaderboard."""

from pathlib import Path

import yaml

from medusa_jax.config.run import RunConfig
from medusa_jax.evaluation.intervals import Interval
from medusa_jax.evaluation.metrics import AttributeScores, ClassificationScores
from medusa_jax.evaluation.scores_file import CorpusFacts, write_scores
from medusa_jax.evaluation.tables import SystemScores
from medusa_jax.runs.evaluate import predictions_digest
from medusa_jax.runs.run import Run

SYSTEMS = ("m0", "majority_vote", "soft_vote", "meta_classifier", "soup")


def scores(name: str, macro_f1: float, utterances: int) -> SystemScores:
    classes = ClassificationScores(
        ("angry", "sad"),
        macro_f1,
        0.5,
        0.5,
        0.5,
        (0.5, 0.5),
        (0.5, 0.5),
        (0.5, 0.5),
        ((1, 1), (1, 1)),
        utterances,
        absent=(),
    )
    interval = Interval(macro_f1 - 0.05, macro_f1 + 0.05, 0.95, 10, 100)
    return SystemScores(
        name, "ensemble", classes, AttributeScores(0.1, 0.2, 0.3, utterances), interval
    )


def add(
    out: Path,
    name: str,
    soup: float,
    *,
    corpus: str = "msp-podcast",
    part: str = "test1",
    utterances: int = 100,
    table: str = "abc",
    **changes,
):
    """A run's folder with config.yaml and the scores of one part, in which the soup is best."""
    raw = {
        "name": name,
        "corpus": {"source": "ravdess"},
        "features": {"logmel": {"extractor": "logmel"}},
        "members": [{"id": "m0", "modalities": ["logmel"]}],
    }
    run = Run(RunConfig.model_validate({**raw, **changes}), out)
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "config.yaml").write_text(
        yaml.safe_dump(run.config.model_dump(mode="json")), encoding="utf-8"
    )
    systems = [
        scores(system, soup - 0.01 * (len(SYSTEMS) - 1 - i), utterances)
        for i, system in enumerate(SYSTEMS)
    ]
    facts = CorpusFacts(corpus, corpus == "generated", {"scored utterances": utterances})
    write_scores(
        run.folder / "evaluation" / part,
        name,
        facts,
        systems,
        provenance={
            "config": run.config.digest(),
            "corpus": table,
            "predictions": predictions_digest(run.folder),
        },
    )
    return run.folder
