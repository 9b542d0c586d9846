"""The training that a run still needs, as groups of members that share a stream.

The plan is made once, then printed by `--plan` or carried out by `runs.train`.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from medusa_jax.batches.dialogues import Conversations
from medusa_jax.batches.examples import Examples
from medusa_jax.config.run import RunConfig
from medusa_jax.config.section import DIGEST
from medusa_jax.config.training import MemberConfig
from medusa_jax.files import digest_of
from medusa_jax.machines.mesh import devices_of
from medusa_jax.runs.parts import Parts
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.training_splits import TrainingSplit, splits_of
from medusa_jax.tasks.dialogues import Dialogues
from medusa_jax.tasks.finetuning_inputs import check_inputs, encoders_of
from medusa_jax.tasks.registry import (
    Reading,
    data_of,
    examples_of,
    moments_of,
    reading_of,
    task_of,
)
from medusa_jax.tasks.utterances import Utterances, stream_of
from medusa_jax.training.group_files import begun_groups
from medusa_jax.training.groups import grouped
from medusa_jax.training.members import Member
from medusa_jax.training.memory import Need, budget, need_of, steps_side_by_side


@dataclass(frozen=True)
class Group:
    """Members of one training split that read one stream of batches."""

    split: TrainingSplit
    configs: tuple[MemberConfig, ...]
    data: Utterances | Dialogues
    needs: tuple[Need, ...]
    extractors: Mapping[str, object]
    seed: int  # the run's

    @property
    def title(self) -> str:
        """Names of the members, for its progress."""
        first, last = self.configs[0].id, self.configs[-1].id
        if len(self.configs) <= 4:
            return ", ".join(config.id for config in self.configs)
        return f"{len(self.configs)} members, {first} to {last}"

    def members(self) -> list[Member]:
        """The members ready to be trained; the frames that they standardise are measured now."""
        moments = moments_of(list(self.configs), self.data.examples, self.data.fit)
        members = []
        for config in self.configs:
            task = task_of(config, self.data, self.extractors, self.seed, moments)
            digest = training_digest(config, self.data, self.seed)
            own = config.model_dump(mode="json")
            members.append(Member(config.id, task, (self.seed, config.seed), digest, own))
        return members


@dataclass(frozen=True)
class TrainingPlan:
    """The splits of every fold, and by fold the groups that are not trained yet, in order."""

    splits: list[list[TrainingSplit]]
    groups: list[list[Group]]

    @property
    def every_group(self) -> list[Group]:
        """The groups of all folds."""
        return [group for groups in self.groups for group in groups]


def training_plan(prepared: Prepared) -> TrainingPlan:
    """The training left to do; members that are trained and whose predictions exist are left out.

    Raises, before anything is trained, `CorpusError` where inner folds cannot be made, and what
    `check_inputs` raises.
    """
    run, splits = prepared.run, all_splits(prepared)
    every = [split for some in splits for split in some]
    if not any(split.lacks(one.id) for split in every for one in run.config.members):
        return TrainingPlan(splits, [[] for _ in splits])
    read = Readings(prepared)
    for split in every:
        for one in run.config.members:
            if split.lacks(one.id):
                check_inputs(one, read.data(one, split))
    needs = _needs_of(prepared, splits[0][0], read)
    groups = []
    for some in splits:
        made = [_groups(prepared, split, read, needs) for split in some]
        groups.append([group for own in made for group in own])
    return TrainingPlan(splits, groups)


def all_splits(prepared: Prepared) -> list[list[TrainingSplit]]:
    """The training splits of every fold. Raises `CorpusError` where inner folds cannot be made."""
    folds = range(len(prepared.folds))
    return [splits_of(prepared.run, prepared.corpus, prepared.folds, fold) for fold in folds]


class Readings:
    """The run's utterances as its members read them; members that read alike share them."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._made: dict[Reading, Examples | Conversations] = {}

    def reading(self, member: MemberConfig) -> Reading:
        """A member's way of reading."""
        widths = {name: store.width for name, store in self._prepared.stores.items()}
        return reading_of(member, widths)

    def data(self, member: MemberConfig, split: Parts | TrainingSplit) -> Utterances | Dialogues:
        """The dataset of a member in a split."""
        reading, seed = self.reading(member), self._prepared.run.config.seed
        whole = self._examples(reading._replace(crops=())) if reading.whole else None
        assert not isinstance(whole, Conversations), "dialogues are never cropped"
        own = self._examples(reading)
        return data_of(member, own, split.fit, split.held_out, seed, whole)

    def _examples(self, reading: Reading) -> Examples | Conversations:
        if reading not in self._made:
            self._made[reading] = prepared_examples(self._prepared, reading)
        return self._made[reading]


def prepared_examples(prepared: Prepared, reading: Reading) -> Examples | Conversations:
    """The run's corpus with all features that any member of a task reads: batches are alike for
    all.
    """
    config = prepared.run.config
    members = [member for member in config.members if member.task == reading.task]
    used = {name for member in members for name in member.modalities}
    names = [name for name in config.features if name in used]
    return examples_of(prepared.corpus, names, prepared.stores, reading)


def training_digest(config: MemberConfig, data: Utterances | Dialogues, seed: int) -> str:
    """Digest of all that determines a member's weights, which its name does not."""
    others = {"finetuning", "conversation"} - {config.task}
    own = config.model_dump(mode="json", exclude={"id", *others})
    if config.task != "finetuning" or config.finetuning is None:
        return digest_of([own, seed, data.digest])
    # encoders by the digest of their files, wherever these lie
    section = config.finetuning.model_dump(mode="json", exclude={"backbones"}, context=DIGEST)
    own["finetuning"] = section
    return digest_of([own, seed, data.digest, encoders_of(config.finetuning)])


def _needs_of(prepared: Prepared, split: TrainingSplit, read: Readings) -> dict[str, Need]:
    """Each member's need by id, the same in every split; a seed changes none."""
    config = prepared.run.config
    devices = devices_of(config.engine.devices).count
    known: dict[str, Need] = {}
    needs = {}
    for member in config.members:
        key = digest_of(member.model_dump(mode="json", exclude={"id", "seed"}))
        if key not in known:
            data = read.data(member, split)
            known[key] = need_of(task_of(member, data, {}, config.seed), data, devices)
        needs[member.id] = known[key]
    return needs


def _groups(
    prepared: Prepared,
    split: TrainingSplit,
    read: Readings,
    needs: Mapping[str, Need],
) -> list[Group]:
    """The groups of a split: begun ones stay as they are, those without predictions come last."""
    config = prepared.run.config
    members = {one.id: one for one in config.members}
    groups = []
    for names in _names_of_groups(config, split, needs, read):
        configs = tuple(members[name] for name in names)
        data = read.data(configs[0], split)
        own = tuple(needs[name] for name in names)
        groups.append(Group(split, configs, data, own, _extractors(prepared), config.seed))
    return groups


def _names_of_groups(
    config: RunConfig, split: TrainingSplit, needs: Mapping[str, Need], read: Readings
) -> list[list[str]]:
    pending = [one.id for one in config.members if split.lacks(one.id)]
    begun = [names for names in begun_groups(split.folder) if set(names) & set(pending)]
    rest = [name for name in pending if not any(name in names for names in begun)]
    trained = [name for name in rest if (split.member_folder(name) / "member.json").exists()]
    new = [name for name in rest if name not in trained]
    side_by_side = steps_side_by_side(config.engine, list(needs.values()))
    streams: dict[str, Hashable] = {}
    for one in config.members:
        streams[one.id] = read.reading(one), stream_of(one.training, one.seed)
    limit, found = budget(config.engine), list(begun)
    for some in (new, trained):
        own = {name: streams[name] for name in some}
        found += grouped(own, needs, limit, side_by_side)
    return found


def _extractors(prepared: Prepared) -> dict[str, object]:
    """Facts about the extractor of each feature set, for the members' records."""
    return {
        name: {"identity": store.plan.extractor, "store": store.digest}
        for name, store in prepared.stores.items()
    }
