"""Stages 1 and 2 of every member of a run."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from medusa_jax.batches.examples import Examples, gather
from medusa_jax.config.training import MemberConfig
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.files import digest_of
from medusa_jax.machines.mesh import devices_of
from medusa_jax.machines.processes import leads
from medusa_jax.progress import Report, track
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.training_splits import Course, courses_of, join_out_of_fold
from medusa_jax.training.group_files import begun_groups
from medusa_jax.training.groups import grouped
from medusa_jax.training.loop import train_group
from medusa_jax.training.member import predict_all
from medusa_jax.training.memory import Need, budget, need_of, runs_side_by_side


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
                Predictions(ids, classes, logits[:, : len(classes)], attributes).save(
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
