"""From a member's configuration to its task: the one place that knows every task by name."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from medusa_jax.batches.dialogues import Conversations, conversations
from medusa_jax.batches.examples import Examples, gather
from medusa_jax.batches.moments import frame_statistics, vector_statistics
from medusa_jax.config.training import MemberConfig
from medusa_jax.corpus.table import ATTRIBUTES, Corpus
from medusa_jax.store.reader import FeatureStore
from medusa_jax.tasks.conversation import ConversationFacts, ConversationTask
from medusa_jax.tasks.deepser import DeepSERTask
from medusa_jax.tasks.dialogues import Dialogues
from medusa_jax.tasks.facts import Facts, Moments
from medusa_jax.tasks.finetuning import FinetuningTask
from medusa_jax.tasks.finetuning_inputs import crops_of
from medusa_jax.tasks.objective import class_weights
from medusa_jax.tasks.task import Task
from medusa_jax.tasks.utterances import Utterances, own_stream, utterances_of


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


def examples_of(
    corpus: Corpus,
    modalities: Sequence[str],
    stores: Mapping[str, FeatureStore],
    reading: Reading,
) -> Examples | Conversations:
    """The corpus as members of a reading's task take it, with these modalities.

    Raises `CorpusError` if the task is on conversations and the corpus has none.
    """
    if reading.task == "conversation":
        return conversations(corpus, modalities, stores, reading.shapes)
    crops = dict(reading.crops)
    return gather(corpus, modalities, stores, reading.shapes, crops, reading.secondary)


def data_of(
    config: MemberConfig,
    examples: Examples | Conversations,
    fit: np.ndarray,
    held_out: np.ndarray,
    seed: int,
    whole: Examples | None = None,
) -> Utterances | Dialogues:
    """The dataset of a member in the run of this seed, with utterances to fit and to hold out;
    `whole` examples are for evaluation.
    """
    own = config.training
    if isinstance(examples, Examples):
        return utterances_of(own, config.seed, examples, fit, held_out, seed, whole)
    assert config.conversation is not None, "checked by the configuration"
    tested = np.empty(0, int)
    if config.conversation.test_scores:
        tested = _tested(examples.corpus, fit, held_out)
    stream = seed if own.stream == "shared" else own_stream(seed, config.seed)
    return Dialogues(examples, fit, held_out, tested, own.batch_size, stream)


def _tested(corpus: Corpus, fit: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Labelled utterances of the test splits, or of a fold all that are left."""
    rest = np.ones(len(corpus), bool)
    rest[fit] = rest[held_out] = False
    test = corpus.frame["split"].str.startswith("test").to_numpy() & rest
    chosen = test if test.any() else rest
    return np.flatnonzero(chosen & (corpus.labels >= 0))


def task_of(
    config: MemberConfig,
    data: Utterances | Dialogues,
    extractors: Mapping[str, Any],
    seed: int,
    moments: Moments | None = None,
) -> Task:
    """The task of a member on this data, in the run of this seed.

    `extractors`: facts about the extractor of each modality, for the member's record. `moments`: as
    of `moments_of`; without them the task tells shapes and needs, but is not to be trained.
    """
    if isinstance(data, Dialogues):
        return _conversation_task(config, data, extractors, moments or {})
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


def _conversation_task(
    config: MemberConfig, data: Dialogues, extractors: Mapping[str, Any], moments: Moments
) -> ConversationTask:
    examples, corpus = data.examples, data.examples.corpus
    facts = ConversationFacts(
        classes=corpus.classes,
        targets=corpus.targets,
        attributes=tuple(ATTRIBUTES),
        widths=examples.widths,
        extractors=extractors,
        labels=data.labels(data.held_out, data.held_rows),
        tested=data.labels(data.watched, data.watched_rows),
        longest=examples.longest,
        moments=moments if config.conversation and config.conversation.standardise else {},
    )
    return ConversationTask(config, facts)


def reading_of(config: MemberConfig, widths: Mapping[str, int]) -> Reading:
    """A member's way of reading utterances whose features are so wide."""
    if config.finetuning is None or config.task != "finetuning":
        return Reading(config.task, config.training.shapes)
    crops = tuple(sorted(crops_of(config.finetuning, widths).items()))
    own = config.finetuning
    whole, secondary = own.evaluation == "windows", own.secondary_loss > 0
    return Reading(config.task, config.training.shapes, crops, whole, secondary)


def moments_of(
    configs: list[MemberConfig], examples: Examples | Conversations, fit: np.ndarray
) -> Moments:
    """Mean and deviation over `fit` of each modality that a member standardises, measured once for
    all members.
    """
    if isinstance(examples, Conversations):
        return _vector_moments(configs, examples, fit)
    deepser = [one for one in configs if one.task == "deepser" and one.model.standardise]
    wanted = {name for one in deepser for name in one.modalities}
    names = [name for name in examples.modalities if name in wanted]
    return {name: frame_statistics(examples, name, fit) for name in names}


def _vector_moments(
    configs: list[MemberConfig], examples: Conversations, fit: np.ndarray
) -> Moments:
    """The same of each utterance's vector, over the turns of the dialogues `fit`."""
    rows = np.concatenate([examples.turns[g] for g in fit])
    wanted = {name for one in configs for name in one.modalities}
    found = {}
    for name, (vector_nd, there_n) in zip(examples.modalities, examples.vectors, strict=True):
        if name in wanted:
            found[name] = vector_statistics(vector_nd[rows], there_n[rows])
    return found
