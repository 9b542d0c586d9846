"""The steps of a run, each one importable function; a step that is done is not done again.

corpus → `extract` → `train` (Stages 1 and 2) → `ensemble` (Stages 3 and 4) → `evaluate` → `submit`; `chain.run_all` does them all.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from medusa_jax.batches.examples import Examples, gather
from medusa_jax.config.run import MemberConfig, digest_of
from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble import meta
from medusa_jax.ensemble.predictions import Outputs, majority_vote, soft_vote
from medusa_jax.ensemble.variants import (
    ENSEMBLES,
    MAJORITY,
    OUT_OF_FOLD,
    SINGLE,
    SOFT,
    SOUP,
    taught_and_chosen_on,
)
from medusa_jax.errors import EvaluationError
from medusa_jax.machines.mesh import devices_of
from medusa_jax.machines.processes import leads
from medusa_jax.progress import Report, track
from medusa_jax.runs.inputs import Parts, load_corpus, load_stores, parts_of
from medusa_jax.runs.run import JOINED, OUTPUTS, Run, keep_provenance
from medusa_jax.runs.training_splits import Course, courses_of, join_out_of_fold, outputs_of
from medusa_jax.store.reader import FeatureStore
from medusa_jax.training.group_files import begun_groups
from medusa_jax.training.groups import grouped
from medusa_jax.training.loop import train_group
from medusa_jax.training.member import predict_all
from medusa_jax.training.memory import Need, budget, need_of, runs_side_by_side


@dataclass(frozen=True)
class Prepared:
    """A run's corpus, stores and parts: what every step starts from."""

    run: Run
    corpus: Corpus
    stores: Mapping[str, FeatureStore]
    folds: list[Parts]
    examples: dict[int, Examples] = field(
        default_factory=dict
    )  # by number of shapes, gathered when asked for
    needs: dict[str, Need] = field(
        default_factory=dict
    )  # by all of a member but its id and seed, reckoned when asked for


def prepare(run: Run, *, features: bool = True, verify: bool = False) -> Prepared:
    """Corpus, parts and (unless a step needs none) features, made where they are not there yet; `provenance.json` names them.

    `verify`: every byte of the features is read now, not each shard when a step first needs it.
    """
    corpus = load_corpus(run)
    folds = parts_of(run, corpus)
    stores = load_stores(run, corpus, verify=verify) if features else {}
    known = {"stores": {name: store.digest for name, store in stores.items()}} if features else {}
    keep_provenance(run, corpus=corpus.digest(), **known)
    return Prepared(run, corpus, stores, folds)


def train(
    prepared: Prepared, watch: Callable[[Report], AbstractContextManager[Report]] = nullcontext
) -> None:
    """Stages 1 and 2 of every member in every fold, group by group, and each member's outputs for the whole corpus.

    If the meta-classifier learns out of fold, the same for every inner fold, and the left-out speakers' outputs in one file.
    `watch` may wrap each group's report.
    """
    for courses in all_courses(prepared):
        for course in courses:
            _train(prepared, course, watch)
        if leads() and len(courses) > 1:
            join_out_of_fold(prepared.run, prepared.corpus, courses)


def all_courses(prepared: Prepared) -> list[list[Course]]:
    """The courses of every fold. Raises `CorpusError`, before anything is trained, where inner folds cannot be made."""
    return [
        courses_of(prepared.run, prepared.corpus, prepared.folds, fold)
        for fold in range(len(prepared.folds))
    ]


def _train(
    prepared: Prepared, course: Course, watch: Callable[[Report], AbstractContextManager[Report]]
) -> None:
    """One course: what is still to be trained of it, and predicted."""
    settings, devices = prepared.run.config, devices_of(prepared.run.config.engine.devices)
    groups = groups_of(prepared, course)
    for number, group in enumerate(groups, 1):
        data = examples_of(prepared, group[0].training.shapes)
        with (
            track(
                _title(group, number, len(groups)) + (f", {course.name}" if course.name else "")
            ) as told,
            watch(told) as report,
        ):
            how = partial(
                train_group,
                seed=settings.seed,
                engine=settings.engine,
                tracking=settings.tracking,
                report=report,
            )
            trained = how(group, data, course.fit, course.held_out, course.folder)
        classes = (
            prepared.corpus.classes
        )  # the bucket `other`, where there is one, is trained but never predicted
        ids = tuple(data.ids[i] for i in course.predicted)
        for config, (logits, attributes) in zip(
            group, predict_all(trained, data, course.predicted, devices), strict=True
        ):
            if leads():
                Outputs(ids, classes, logits[:, : len(classes)], attributes).save(
                    course.outputs_file(config.id)
                )


def _title(group: Sequence[MemberConfig], number: int, groups: int) -> str:
    """What the progress of a group stands under."""
    names = (
        ", ".join(config.id for config in group)
        if len(group) <= 4
        else f"{len(group)} members, {group[0].id} to {group[-1].id}"
    )
    return f"train {names}" + (f" (group {number} of {groups})" if groups > 1 else "")


def groups_of(prepared: Prepared, course: Course) -> list[list[MemberConfig]]:
    """The members that have no outputs of this course yet, in the groups in which they train.

    A group that was begun goes on as it was, whatever has become of the memory; those that only lack outputs come last.
    """
    run = prepared.run
    pending = {config.id: config for config in run.config.members if course.lacks(config.id)}
    every = {config.id: config for config in run.config.members}
    begun = [
        [every[name] for name in group]
        for group in begun_groups(course.folder)
        if pending.keys() & set(group)
    ]
    rest = [
        config for name, config in pending.items() if not any(config in group for group in begun)
    ]
    trained = [
        config for config in rest if (course.member_folder(config.id) / "member.json").exists()
    ]
    new = [config for config in rest if config not in trained]
    needs, engine = needs_of(prepared, rest), run.config.engine
    return begun + [
        group
        for part in (new, trained)
        for group in grouped(part, needs, budget(engine), runs_side_by_side(engine))
    ]


def needs_of(prepared: Prepared, configs: Sequence[MemberConfig]) -> dict[str, Need]:
    """What each member needs, by id; those that differ in their seed only need the same."""
    devices, known = devices_of(prepared.run.config.engine.devices).count, prepared.needs
    keys = {
        config.id: digest_of(config.model_dump(mode="json", exclude={"id", "seed"}))
        for config in configs
    }
    for config in configs:
        if keys[config.id] not in known:
            known[keys[config.id]] = need_of(
                config, examples_of(prepared, config.training.shapes), devices
            )
    return {name: known[key] for name, key in keys.items()}


def examples_of(prepared: Prepared, shapes: int) -> Examples:
    """The run's utterances with all features that any of its members reads: what makes batches the same for every member."""
    known = prepared.examples
    if shapes not in known:
        used = {name for config in prepared.run.config.members for name in config.modalities}
        known[shapes] = gather(
            prepared.corpus,
            [name for name in prepared.run.config.features if name in used],
            prepared.stores,
            shapes,
        )
    return known[shapes]


def ensemble(prepared: Prepared) -> None:
    """Votes, the meta-classifier of one seed, and the soup, in every fold."""
    run, corpus = prepared.run, prepared.corpus
    config = run.config.ensemble
    for fold, parts in enumerate(prepared.folds):
        folder = run.fold_folder(fold) / "ensemble"
        if all((folder / f"{name}.parquet").exists() for name in ENSEMBLES):
            continue
        members = {
            member.id: member_outputs(run, corpus, fold, member.id) for member in run.config.members
        }
        x_nf = meta.inputs_of(taught_outputs(prepared, fold, members), config)
        learn, select = taught_and_chosen_on(config.fit_on, parts.fit, parts.held_out)
        found = meta.fit(
            x_nf, targets_of(corpus), corpus.classes, learn, select, config, run.config.seed
        )
        found.save(
            folder / "checkpoints", digest_of([config.model_dump(mode="json"), run.config.digest()])
        )
        said = list(members.values())
        majority_vote(said).save(folder / f"{MAJORITY}.parquet")
        soft_vote(said).save(folder / f"{SOFT}.parquet")
        for name, params in ((SINGLE, found.single()), (SOUP, found.soup())):
            meta.outputs_of(params, x_nf, said[0]).save(folder / f"{name}.parquet")


def taught_outputs(prepared: Prepared, fold: int, members: Mapping[str, Outputs]) -> list[Outputs]:
    """The outputs of `members` (by id) as the meta-classifier meets them: of the training part out of fold if it learns from those."""
    if prepared.run.config.ensemble.fit_on != OUT_OF_FOLD:
        return list(members.values())
    return [
        said.replaced(prepared.folds[fold].fit, out_of_fold_outputs(prepared, fold, name))
        for name, said in members.items()
    ]


def member_outputs(run: Run, corpus: Corpus, fold: int, member: str) -> Outputs:
    """A trained member's outputs. Raises `EvaluationError` if it is not trained or they belong to other utterances."""
    return _there(
        run.member_folder(fold, member) / OUTPUTS,
        corpus,
        np.arange(len(corpus)),
        f"member {member} is not trained yet",
        "medusa train",
    )


def out_of_fold_outputs(prepared: Prepared, fold: int, member: str) -> Outputs:
    """What a member said of the fold's training part out of fold, likewise."""
    path, rows = prepared.run.member_folder(fold, member) / JOINED, prepared.folds[fold].fit
    return _there(
        path,
        prepared.corpus,
        rows,
        f"member {member} has no out-of-fold outputs yet",
        "medusa train",
    )


def ensemble_outputs(run: Run, corpus: Corpus, fold: int, system: str) -> Outputs:
    """The outputs of one of `ENSEMBLES`, likewise."""
    path = run.fold_folder(fold) / "ensemble" / f"{system}.parquet"
    return _there(
        path, corpus, np.arange(len(corpus)), "the ensemble is not made yet", "medusa ensemble"
    )


def _there(path: Path, corpus: Corpus, rows: np.ndarray, absent: str, command: str) -> Outputs:
    if not path.exists():
        raise EvaluationError(
            absent,
            where=path,
            hint=f"run `{command}` with the same configuration first, or `medusa run` for all steps",
        )
    return outputs_of(path, corpus, rows)


def targets_of(corpus: Corpus) -> meta.Targets:
    """The eight classes' share of the soft labels, normalised; zero rows where there is none."""
    soft = np.nan_to_num(corpus.soft[:, : len(corpus.classes)], nan=0.0)
    total = soft.sum(axis=1, keepdims=True)
    rated = np.isfinite(corpus.attributes).astype(np.float32)
    return meta.Targets(
        np.divide(soft, total, out=np.zeros_like(soft), where=total > 0),
        np.nan_to_num(corpus.attributes),
        rated,
        corpus.labels,
    )
