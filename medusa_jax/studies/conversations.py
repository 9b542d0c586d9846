"""An ablation of members on conversations beside the published results."""

from collections.abc import Sequence

import numpy as np

from medusa_jax.evaluation.picked_by_test import WARNING, picked_by_test
from medusa_jax.evaluation.published_results import COLUMNS, published_on
from medusa_jax.evaluation.tables import Row
from medusa_jax.runs.evaluate import WATCHED, Part
from medusa_jax.runs.prepare import Prepared
from medusa_jax.studies.ablation import Ablation
from medusa_jax.studies.study_file import MEAN


def beside_published(
    ablation: Ablation, prepared: Prepared, part: Part, unchanged: Sequence[Row]
) -> list[Row]:
    """Our mean of the unchanged members, the epochs that test labels would pick, and the published
    results, keyed by header; empty where none compares.
    """
    published = published_on(part.corpus)
    if not published:
        return []
    trials = [trial for trial in ablation.trials if trial.row == ablation.unchanged]
    streams = dict.fromkeys(name for trial in trials for name in trial.config.modalities)
    row = next(one for one in unchanged if one["member"] == MEAN)
    ours: list[Row] = [
        {
            "system": f"ours: {ablation.unchanged}",
            "reads": ", ".join(streams),
            "accuracy": row["accuracy"],
            "weighted_f1": row["weighted_f1"],
            "epoch": _chosen_by(ablation),
            "source": f"this study, mean of {len(trials)} training(s)",
        }
    ]
    if part.name == WATCHED:
        ours += _picked(prepared, [trial.config.id for trial in trials], ", ".join(streams))
    return [{COLUMNS[key]: one[key] for key in COLUMNS} for one in [*ours, *published]]


def _chosen_by(ablation: Ablation) -> str:
    """The part of our corpus that chooses the epochs."""
    if ablation.base.run.config.corpus.epoch_by == "development":
        return "the development part"
    return "a part held out of training"


def _picked(prepared: Prepared, members: Sequence[str], reads: str) -> list[Row]:
    """The mean over members of their epochs that test labels would pick, if all have one."""
    run = prepared.run
    found = [picked_by_test(run.metrics_file(0, member), member) for member in members]
    scored = [one for one in found if one is not None]
    if len(scored) < len(members):
        return []
    return [
        {
            "system": "ours, epoch picked by test",
            "reads": reads,
            "accuracy": float(np.mean([one.accuracy for one in scored])),
            "weighted_f1": float(np.mean([one.weighted_f1 for one in scored])),
            "epoch": f"the test part ({WARNING})",
            "source": "this study",
        }
    ]
