"""A model taken apart: structure, what is trained, what is frozen, and what was measured."""

import hashlib
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx

from medusa_jax.machines.mesh import on_host
from medusa_jax.tasks.task import Task

PyTree = Any


@dataclass(frozen=True)
class Weights:
    """A task's model: `params` are trained in some phase, `frozen` parameters in none, `measured`
    are statistics.
    """

    graph: nnx.GraphDef
    params: PyTree
    frozen: PyTree
    measured: PyTree

    @property
    def constants(self) -> tuple[PyTree, PyTree]:
        """All that no step changes."""
        return self.frozen, self.measured

    def frozen_digest(self) -> str | None:
        """SHA-256 of the frozen parameters, which no member's folder holds; None if there are
        none.
        """
        leaves = jax.tree_util.tree_leaves_with_path(self.frozen)
        if not leaves:
            return None
        found = hashlib.sha256()
        for path, leaf in leaves:
            array = np.ascontiguousarray(leaf)
            found.update(f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}".encode())
            found.update(array.tobytes())
        return found.hexdigest()


def taken_apart(task: Task, model: nnx.Module) -> Weights:
    """The parts of a model."""
    trained = nnx.filterlib.Any(*map(task.trained, task.phases))
    parts: tuple[Any, ...] = nnx.split(model, trained, nnx.Param, ...)
    return Weights(*parts)


@on_host()
def new_weights(task: Task, key: jax.Array) -> Weights:
    """Untrained weights that follow from the key."""
    return taken_apart(task, task.build(key))


def outline(task: Task) -> Weights:
    """The structure and the shapes of a task's weights, without making any."""
    return taken_apart(task, nnx.eval_shape(lambda: task.build(jax.random.key(0))))
