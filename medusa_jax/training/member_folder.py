"""A trained member on disk, whole: its weights, and all that another program must know to use them.

members/ID/
    member.json           task, classes, widths, extractors, configuration, scores, version, digests
    weights.safetensors   params and statistics by path
    checkpoints/best-*    the same for plain orbax
    metrics.jsonl         a line an epoch
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from medusa_jax.errors import CheckpointError, TrainingError
from medusa_jax.files import disk_errors, sha256_of, write_text
from medusa_jax.machines.processes import of_the_first, wait_for_all
from medusa_jax.tasks.task import Task
from medusa_jax.training import checkpoint
from medusa_jax.training.members import Member
from medusa_jax.training.prediction import Trained
from medusa_jax.training.schedule import Progress
from medusa_jax.training.tensors import save_tensors
from medusa_jax.training.weights import new_weights, outline
from medusa_jax.version import VERSION

PyTree = Any
RECORD, WEIGHTS = "member.json", "weights.safetensors"
_AGAIN = "remove the member's folder and run the same command again to train it anew"


@dataclass(frozen=True)
class MemberFolder:
    """The folder of one member."""

    path: Path

    @property
    def finished(self) -> bool:
        """The member's training has come to its end."""
        return (self.path / RECORD).exists()

    def write(
        self, member: Member, progress: Progress, best: PyTree, frozen: str | None = None
    ) -> None:
        """Write the weights of the best epoch, `params` and `statistics`, and then the record.

        `frozen`: digest of the parameters that no phase trains, which are not written.
        """
        record = {
            "member": dict(member.config),
            "task": member.task.name,
            "library": f"medusa-jax {VERSION}",
            "training": member.digest,
            "frozen": frozen,
            "selection_score": progress.best,
            **asdict(progress),
            **member.task.describe(),
        }
        score = {"selection_score": progress.best}
        folder = self.path / "checkpoints"
        checkpoint.save(folder, "best", progress.best_epoch, best, score, member.digest)
        with disk_errors(
            TrainingError, "the member", self.path, "training resumes from the last save"
        ):
            save_tensors(self.path / WEIGHTS, _flat(best), member.task.describe())
            record["weights"] = sha256_of(self.path / WEIGHTS)
            write_text(self.path / RECORD, json.dumps(record, indent=1) + "\n")

    def record(self) -> dict[str, Any]:
        """The contents of `member.json`.

        Raises `CheckpointError` if the member is not trained, its record is damaged, or of a
        version that wrote less.
        """
        path = self.path / RECORD
        if not path.exists():
            raise CheckpointError(
                "there is no trained member here",
                where=self.path,
                hint="train it with `medusa train`",
            )
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            missing = {"task", "training", "weights", "member"} - record.keys()
        except (OSError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"the member's record cannot be read: {error}", where=path, hint=_AGAIN
            ) from error
        if missing:
            raise CheckpointError(
                f"the member was trained by an earlier version: no {', '.join(sorted(missing))}",
                where=path,
                hint=_AGAIN,
            )
        return record

    def check(self, digest: str) -> dict[str, Any]:
        """The record of a member trained under `digest`. Raises `CheckpointError` for another, or
        as `record`.
        """
        record = self.record()
        if record["training"] != digest:
            raise CheckpointError(
                "the member belongs to another configuration",
                where=self.path,
                hint="use another run folder (--out)",
            )
        return record

    def verified(self, digest: str) -> dict[str, Any]:
        """The record, as `check`, once every byte of the weights and of the checkpoint has been
        read.
        """
        record = self.check(digest)
        _checked_weights(self.path / WEIGHTS, record["weights"])
        checkpoint.restore(self.path / "checkpoints", "best", digest)
        return record

    def load(self, task: Task, digest: str | None = None) -> Trained:
        """The member with its best weights, as a task that describes itself as the record does.

        Raises `CheckpointError` if the weights are damaged, were not trained under `digest`, or if
        classes, widths or anything else that the task describes differ, by name.
        """
        wait_for_all(f"{self.path.name} is written")  # by the first of several processes
        record = self.record() if digest is None else self.check(digest)
        _refuse_other(record, task, self.path / RECORD)
        weights = outline(task)
        if jax.tree.leaves(weights.frozen):  # pretrained: not in the member's folder
            weights = new_weights(task, jax.random.key(0))
            if weights.frozen_digest() != record.get("frozen"):
                raise CheckpointError(
                    "the pretrained weights are not those that the member was trained on",
                    where=self.path / RECORD,
                    hint="fetch the revision named in its record, or train it anew",
                )
        blank = {"params": weights.params, "statistics": weights.measured}

        def read() -> PyTree:
            return checkpoint.fill(blank, _checked_weights(self.path / WEIGHTS, record["weights"]))

        found = of_the_first(read, blank)
        own = type(weights)(weights.graph, found["params"], weights.frozen, found["statistics"])
        return Trained(task, own)


def _checked_weights(path: Path, sha256: str) -> dict[str, Any]:
    """Nested dicts of the arrays in a safetensors file. Raises `CheckpointError` unless it has this
    digest.
    """
    try:
        if sha256_of(path) != sha256:
            raise ValueError(f"the digest of {path.name} is not the one in {RECORD}")
        return _nested(load_file(path))
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"the weights are damaged: {error}", where=path, hint=_AGAIN
        ) from error


def _refuse_other(record: dict[str, Any], task: Task, path: Path) -> None:
    """Raise `CheckpointError` naming every fact in which the record differs from the task."""
    facts = {"task": task.name, **json.loads(json.dumps(task.describe()))}
    other = [name for name, value in facts.items() if record.get(name) != value]
    if other:
        said = "; ".join(f"{name} {record.get(name)!r}, not {facts[name]!r}" for name in other)
        raise CheckpointError(
            f"the member was trained for another task: {said}", where=path, hint=_AGAIN
        )


def _flat(tree: PyTree) -> dict[str, np.ndarray]:
    """Nested dicts of arrays by path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = (
        (jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves
    )
    return {name: np.ascontiguousarray(leaf) for name, leaf in named}


def _nested(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Arrays by path as nested dicts."""
    result: dict[str, Any] = {}
    for path, leaf in arrays.items():
        *parents, last = path.split("/")
        node = result
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = leaf
    return result
