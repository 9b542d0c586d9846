"""Stages 1 and 2 of every member of a run."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pandas as pd
from scipy.special import softmax

from medusa_jax.corpus.table import GENDERS, Corpus
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.files import write_whole
from medusa_jax.machines.mesh import devices_of
from medusa_jax.machines.processes import leads
from medusa_jax.progress import Report, track
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.run import GENDERS_FILE
from medusa_jax.runs.training_plan import Group, TrainingPlan, training_plan
from medusa_jax.runs.training_splits import join_out_of_fold
from medusa_jax.training import loop
from medusa_jax.training.member_folder import MemberFolder
from medusa_jax.training.members import Member
from medusa_jax.training.prediction import predict_all


def train(
    prepared: Prepared,
    watch: Callable[[Report], AbstractContextManager[Report]] = nullcontext,
    plan: TrainingPlan | None = None,
) -> None:
    """Train every member of every fold, group by group, and predict the whole corpus with each.

    If the ensemble learns out of fold, the same is done for every inner fold, and the
    predictions of the left-out speakers are joined in one file. `watch` may wrap each group's
    report; `plan` is `training_plan(prepared)`.
    """
    plan, config = plan or training_plan(prepared), prepared.run.config
    for splits, groups in zip(plan.splits, plan.groups, strict=True):
        for number, group in enumerate(groups, 1):
            members = group.members()
            with track(_title(group, number, len(groups))) as told, watch(told) as report:
                loop.train(
                    members,
                    group.data,
                    group.split.folder,
                    engine=config.engine,
                    tracking=config.tracking,
                    report=report,
                )
            _predict(prepared, group, members)
        if leads() and len(splits) > 1:
            join_out_of_fold(prepared.run, prepared.corpus, splits)


def _predict(prepared: Prepared, group: Group, members: list[Member]) -> None:
    """Write the predictions of a group's members for the utterances of its split."""
    devices = devices_of(prepared.run.config.engine.devices)
    rows, data = group.split.predicted, group.data
    trained = []
    for member in members:
        folder = MemberFolder(group.split.member_folder(member.id))
        trained.append(folder.load(member.task, member.digest))
    ids = tuple(data.examples.ids[i] for i in rows)
    outputs_m = predict_all(trained, data, data.units(rows), devices)
    for member, outputs in zip(members, outputs_m, strict=True):
        if leads():
            found = data.by_utterance(outputs, rows)
            if "gender" in found:
                _save_genders(group.split.member_folder(member.id) / GENDERS_FILE, ids, found)
            _outputs(prepared.corpus, ids, found).save(group.split.predictions_file(member.id))


def _outputs(corpus: Corpus, ids: tuple[str, ...], found: dict) -> Predictions:
    """Predictions of the classes; the target `other`, if there is one, is never predicted."""
    logits = found["logits"][:, : len(corpus.classes)]
    return Predictions(ids, corpus.classes, logits, found["attributes"])


def _save_genders(path: Path, ids: Sequence[str], found: dict) -> None:
    """Write the probability of each gender, by utterance."""
    columns = dict(zip(GENDERS, softmax(found["gender"], axis=1).T, strict=True))
    with write_whole(path) as temporary:
        pd.DataFrame({"id": ids, **columns}).to_csv(temporary, index=False)


def _title(group: Group, number: int, groups: int) -> str:
    """The title of a group's progress."""
    place = f" (group {number} of {groups})" if groups > 1 else ""
    split = f", {group.split.name}" if group.split.name else ""
    return f"train {group.title}{place}{split}"
