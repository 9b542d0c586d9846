"""The parts of a member's training that its configuration decides, as values to compare.

Everything is made by the code that trains a run (`runs.training_plan`) on the toy corpus; nothing
is trained or compiled.
"""

import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from toy_task import toy_data

from medusa_jax.batches.examples import Examples, gather
from medusa_jax.config.training import MemberConfig
from medusa_jax.runs.training_plan import Group
from medusa_jax.tasks.dialogues import Dialogues
from medusa_jax.tasks.registry import reading_of
from medusa_jax.tasks.task import Dataset, Phase
from medusa_jax.tasks.utterances import Utterances, stream_of
from medusa_jax.training.members import Member
from medusa_jax.training.weights import new_weights, outline

STEPS = 12
DataOf = Callable[[MemberConfig], Any]
"""From a member to its dataset."""


def examples_in(shapes: int, examples: Examples) -> Examples:
    """The same utterances and stores in so many padded shapes."""
    stores = dict(zip(examples.modalities, examples.stores, strict=True))
    return gather(examples.corpus, examples.modalities, stores, shapes)


def toy_data_in(examples: Examples, config: MemberConfig) -> Utterances:
    """The dataset of a toy member, in as many padded shapes as it asks for."""
    return toy_data(examples_in(config.training.shapes, examples), config)


def effects(config: MemberConfig, data_of: DataOf) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names and makers of comparable values, the cheap ones first."""
    data = data_of(config)
    (member,) = Group(None, (config,), data, (), {}, 0).members()
    task = member.task
    yield "id", lambda: member.id
    yield "seed", lambda: jax.random.key_data(member.steps_key).tolist()
    yield "stream", lambda: stream_of(config.training, config.seed)
    yield "phases", lambda: task.phases
    yield "reads", lambda: task.reads
    yield "reading", lambda: reading_of(config, data.examples.widths)
    yield "parts", lambda: task.parts
    yield "traced", lambda: [task.traced(phase) for phase in (*task.phases, None)]
    yield "knobs", lambda: [jax.tree.map(np.asarray, task.knobs(one)) for one in task.phases]
    yield "rates", lambda: [_rates(task.optimiser(one, STEPS)) for one in task.phases]
    yield "batches", lambda: [data.plan(phase, 1) for phase in range(len(task.phases))]
    yield "watched", lambda: data.watched
    yield "score", partial(_score, member, data)
    yield "shapes", lambda: jax.tree.map(lambda x: (x.shape, x.dtype), _parts(outline(task)))
    yield "step", partial(_steps, member, data)
    yield "update", partial(_update, member)
    yield "filter", lambda: _trained(member)
    yield "statistics", lambda: _arrays(new_weights(task, jax.random.key(0)).measured)


def first_difference(
    before: MemberConfig,
    after: MemberConfig,
    data_of: DataOf,
    ignored: Collection[str] = (),
) -> str | None:
    """The name of the first effect in which two members differ."""
    pairs = zip(effects(before, data_of), effects(after, data_of), strict=True)
    for (name, one), (_, other) in pairs:
        if name not in ignored and not _equal(one(), other()):
            return name
    return None


def _rates(optimiser: Any) -> dict[str, Any]:
    """Values of each schedule, and of the decay of the running mean."""
    steps = np.arange(STEPS)
    schedules = dict(optimiser.schedules)
    if optimiser.mean_decay is not None:
        schedules["mean_decay"] = optimiser.mean_decay
    return {name: np.broadcast_to(of(steps), (STEPS,)) for name, of in schedules.items()}


def _score(member: Member, data: Any) -> float:
    """The score of fixed predictions of the held-out part."""
    shape = len(data.held_out), len(data.examples.corpus.targets)
    if isinstance(data, Dialogues):
        shape = shape[0], data.examples.longest, shape[1]
    logits = np.random.default_rng(0).normal(size=shape)
    return member.task.score({"logits": logits, "teacher": logits}, member.task.phases[0])


def _steps(member: Member, data: Dataset) -> list[str]:
    """The programs of a step's loss and gradient, as text: one for phases that trace alike."""
    phases = {member.task.traced(phase): phase for phase in member.task.phases}
    return [_step(member, data, phase) for phase in phases.values()]


def _step(member: Member, data: Dataset, phase: Phase) -> str:
    task, weights, key = member.task, outline(member.task), jax.random.key(0)
    knobs = task.knobs(phase)
    drawn = task.draw(key, knobs, data.size)
    batch = jax.device_put(task.view(data.batch(data.plan(0, 0)[0])))

    def loss(params: Any, constants: Any) -> Any:
        model = nnx.merge(weights.graph, params, *constants)
        return task.loss(model, batch, knobs, drawn, key)[0]

    program = jax.make_jaxpr(jax.grad(loss))(weights.params, weights.constants)
    return re.sub(r"0x[0-9a-f]+", "", str(program))


def _update(member: Member) -> str:
    """The program of the optimiser, as text."""
    task = member.task
    weights, phase = outline(task), task.phases[0]
    params, _ = nnx.split_state(weights.params, task.trained(phase), ...)
    transform = task.optimiser(phase, STEPS).transform
    state = jax.eval_shape(transform.init, params)
    program = jax.make_jaxpr(transform.update)(params, state, params)
    return re.sub(r"0x[0-9a-f]+", "", str(program)) + str(program.consts)


def _trained(member: Member) -> list[str]:
    """Names of what the first phase trains."""
    task, weights = member.task, outline(member.task)
    params, _ = nnx.split_state(weights.params, task.trained(task.phases[0]), ...)
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def _parts(weights: Any) -> Any:
    return weights.params, weights.frozen, weights.measured


def _arrays(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def _equal(one: Any, other: Any) -> bool:
    """Equal structure, and equal leaves to the bit."""
    leaves, structure = jax.tree.flatten(one)
    others, other_structure = jax.tree.flatten(other)
    if structure != other_structure:
        return False
    return all(np.array_equal(a, b) for a, b in zip(leaves, others, strict=True))
