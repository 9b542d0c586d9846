"""From a member's configuration to its task: the one place that knows every task by name."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from medusa_jax.batches.examples import Examples
from medusa_jax.batches.moments import frame_statistics
from medusa_jax.config.training import MemberConfig
from medusa_jax.corpus.table import ATTRIBUTES
from medusa_jax.tasks.deepser import DeepSERTask
from medusa_jax.tasks.facts import Facts, Moments
from medusa_jax.tasks.finetuning import FinetuningTask
from medusa_jax.tasks.finetuning_inputs import crops_of
from medusa_jax.tasks.objective import class_weights
from medusa_jax.tasks.task import Task
from medusa_jax.tasks.utterances import Utterances


class Reading(NamedTuple):
    """A task's padded shapes, longest parts by modality, whether predictions are of whole
    utterances, and whether secondary emotions are learned.

    Members that read alike share examples.
    """

    task: str
    shapes: int
    crops: tuple[tuple[str, int], ...] = ()
    whole: bool = False
    secondary: bool = False


def task_of(
    config: MemberConfig,
    data: Utterances,
    extractors: Mapping[str, Any],
    seed: int,
    moments: Moments | None = None,
) -> Task:
    """The task of a member on this data, in the run of this seed.

    `extractors`: facts about the extractor of each modality, for the member's record. `moments`: as
    of `moments_of`; without them the task tells shapes and needs, but is not to be trained.
    """
    examples, corpus = data.examples, data.examples.corpus
    targets = examples.one_hot if config.training.targets == "one_hot" else examples.soft
    total_c = targets[data.fit].sum(axis=0)
    facts = Facts(
        classes=corpus.classes,
        targets=corpus.targets,
        attributes=tuple(ATTRIBUTES),
        widths=examples.widths,
        extractors=extractors,
        weights_c=class_weights(targets[data.fit]),
        labels=corpus.labels[data.held_out],
        seed=seed,
        genders=examples.gender[data.held_out],
        prior_c=total_c / max(total_c.sum(), 1),
        moments=moments or {},
    )
    made = FinetuningTask if config.task == "finetuning" else DeepSERTask
    return made(config, facts)


def reading_of(config: MemberConfig, widths: Mapping[str, int]) -> Reading:
    """A member's way of reading utterances whose features are so wide."""
    if config.finetuning is None or config.task != "finetuning":
        return Reading(config.task, config.training.shapes)
    crops = tuple(sorted(crops_of(config.finetuning, widths).items()))
    own = config.finetuning
    whole, secondary = own.evaluation == "windows", own.secondary_loss > 0
    return Reading(config.task, config.training.shapes, crops, whole, secondary)


def moments_of(configs: list[MemberConfig], examples: Examples, fit: np.ndarray) -> Moments:
    """Mean and deviation over `fit` of each modality that a member standardises, measured once for
    all members.
    """
    deepser = [one for one in configs if one.task == "deepser" and one.model.standardise]
    wanted = {name for one in deepser for name in one.modalities}
    names = [name for name in examples.modalities if name in wanted]
    return {name: frame_statistics(examples, name, fit) for name in names}
