"""Stages 1 and 2: one member of the ensemble, trained, selected and resumable at any epoch (spec section 6).

The order within an epoch: draw its batches, step through them, score the held-out part, keep the best, save, go on.
Batch k, dropout k and MixUp k follow from (seed, k) alone, so a run that goes on from a checkpoint ends as one that was
never stopped.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from medusa_jax.config import MemberConfig, digest_of
from medusa_jax.errors import CheckpointError, Interrupted, TrainingError
from medusa_jax.files import write_text
from medusa_jax.models.deepser import DeepSER, Statistic
from medusa_jax.progress import Report, silent
from medusa_jax.training import checkpoint
from medusa_jax.training.examples import Batch, Examples
from medusa_jax.training.objective import class_weights
from medusa_jax.training.sampling import balanced_subset, epoch_batches
from medusa_jax.training.selection import balanced_macro_f1
from medusa_jax.training.signals import stop_requests
from medusa_jax.training.step import LOSSES, State, optimiser_of, predict_step, train_step

PyTree = Any
PREDICT_BATCH = 32


@dataclass(frozen=True)
class Progress:
    """Where a member's training stands; a checkpoint keeps it beside the arrays."""

    stage: int = 1
    epoch: int = 0  # of this stage
    epochs: int = 0  # of both stages
    done: int = 0  # steps of this epoch
    best: float = -1.0
    best_epoch: int = -1
    stale: int = 0  # epochs of this stage since the best


@dataclass(frozen=True)
class Member:
    """A DeepSER ready to predict: structure, weights, and the statistics of its training frames."""

    graph: nnx.GraphDef
    params: PyTree
    statistics: PyTree

    def predict(self, examples: Examples, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits `[n, c]` and attributes `[n, 3]`, float32, in the order of `positions`; in batches alike in length."""
        step = predict_step(self.graph)
        order = positions[np.argsort(examples.costs[positions], kind="stable")]
        size = min(PREDICT_BATCH, len(order))
        logits, attributes = [], []
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            full = np.concatenate([rows, np.repeat(rows[:1], size - len(rows))])  # one shape for the last batch too
            batch_logits, batch_attributes = jax.device_get(step(self.params, self.statistics, _on_device(examples.batch(full))))
            logits.append(batch_logits[: len(rows)])
            attributes.append(batch_attributes[: len(rows)])
        back = np.argsort(np.argsort(examples.costs[positions], kind="stable"), kind="stable")
        return np.concatenate(logits)[back], np.concatenate(attributes)[back]


def build(config: MemberConfig, examples: Examples, fit: np.ndarray, seed: int) -> Member:
    """An untrained member for these examples; standardisation is measured on `fit`."""
    model = DeepSER(config.model, examples.widths, len(examples.corpus.targets), rngs=nnx.Rngs(seed))
    if config.model.standardise:
        for k, frames in enumerate(model.frames):
            mean, deviation = examples.statistics(k, fit)
            frames.mean[...] = jnp.asarray(mean)
            frames.scale[...] = jnp.asarray(np.where(deviation > 1e-5, 1 / np.maximum(deviation, 1e-5), 1.0), jnp.float32)
    return Member(*nnx.split(model, nnx.Param, Statistic))


def load_member(config: MemberConfig, examples: Examples, folder: Path, digest: str | None = None) -> Member:
    """The selected weights of a member that was trained into `folder`.

    Raises `CheckpointError` if there are none, or if they were not trained under `digest`.
    """
    found = checkpoint.restore(folder / "checkpoints", "best", digest)
    if found is None:
        raise CheckpointError("there is no trained member here", where=folder, mend="train it with `medusa train`")
    blank = build(config, examples, np.arange(0), 0)
    params, statistics = checkpoint.fill(blank.params, found[0]["params"]), checkpoint.fill(blank.statistics, found[0]["statistics"])
    return replace(blank, params=params, statistics=statistics)


def train_member(
    config: MemberConfig, examples: Examples, fit: np.ndarray, held_out: np.ndarray, folder: Path, *, seed: int = 0, report: Report = silent
) -> Member:
    """Train into `folder`, or go on with what is there, and return the member as it was at its best held-out score.

    `fit` and `held_out` are positions in `examples`. Writes `metrics.jsonl` (a line an epoch), `checkpoints/` and, at the
    end, `member.json`. Raises `Interrupted` after SIGTERM or Ctrl-C, with the state saved; `TrainingError` for a loss
    that is not finite, naming the step and its utterances; `CheckpointError` for a damaged or foreign checkpoint.
    """
    training = _Training(config, examples, fit, held_out, folder, seed, report)
    if not (folder / "member.json").exists():
        training.run()
    return load_member(config, examples, folder, training.digest)


class _Training:
    """One call of `train_member`."""

    def __init__(
        self, config: MemberConfig, examples: Examples, fit: np.ndarray, held_out: np.ndarray, folder: Path, seed: int, report: Report
    ) -> None:
        self.config, self.examples, self.fit, self.held_out, self.folder, self.report = config, examples, fit, held_out, folder, report
        self.seed = int(np.random.SeedSequence((seed, config.seed)).generate_state(1)[0])
        self.key = jax.random.key(self.seed)
        self.labels = examples.corpus.labels
        if not (self.labels[held_out] >= 0).any():
            raise TrainingError("no held-out utterance has a consensus class, so no epoch can be chosen", mend="raise corpus.hold_out")
        data = [examples.corpus.digest(), [store.digest for store in examples.stores], fit.tolist(), held_out.tolist()]
        self.digest = digest_of([config.model_dump(mode="json"), seed, data])
        self.weights = class_weights(examples.soft[fit])
        self.checkpoints = folder / "checkpoints"

    def run(self) -> None:
        """All epochs of both stages."""
        member = build(self.config, self.examples, self.fit, self.seed)
        self.graph, self.statistics = member.graph, member.statistics
        state, progress = self._start(member)
        total = self.config.training.stage1.epochs + self.config.training.stage2.epochs
        with stop_requests() as stop:
            while progress.stage <= 2:
                if self._finished(progress):
                    state, progress = self._next_stage(state, progress)
                    continue
                state, progress = self._epoch(state, progress, stop)
                self.report(progress.epochs, total, f"stage {progress.stage}, held-out Macro-F1 {progress.best:.3f} (best)")
                self._save_last(state, progress)
                if stop():  # asked while the epoch was scored
                    raise self._interrupted()
        self.report(progress.epochs, progress.epochs, f"held-out Macro-F1 {progress.best:.3f}")
        if progress.best_epoch < 0:
            raise TrainingError("no epoch was trained", where=f"member {self.config.id}", mend="set training.stage1.epochs or stage2.epochs above 0")
        record = {"member": self.config.model_dump(mode="json"), "held_out_macro_f1": progress.best, **asdict(progress)}
        write_text(self.folder / "member.json", json.dumps(record, indent=1))

    def _start(self, member: Member) -> tuple[State, Progress]:
        """A new state, or the last saved one."""
        optimiser = optimiser_of(self.config.training).init(member.params)
        state = State(member.params, optimiser, jnp.zeros((), jnp.int32), jnp.zeros(len(LOSSES)))
        found = checkpoint.restore(self.checkpoints, "last", self.digest)
        if found is None:
            self._forget_metrics(0)
            return state, Progress()
        progress = Progress(**found[1])
        self._forget_metrics(progress.epochs)
        return jax.device_put(checkpoint.fill(state, found[0])), progress

    def _finished(self, progress: Progress) -> bool:
        """Whether the stage has had its epochs, or `patience` of them without a better score."""
        limit = (self.config.training.stage1 if progress.stage == 1 else self.config.training.stage2).epochs
        return progress.done == 0 and (progress.epoch >= limit or progress.stale >= self.config.training.patience)

    def _next_stage(self, state: State, progress: Progress) -> tuple[State, Progress]:
        """The same weights with a fresh optimiser (Stage 2), or the end."""
        fresh = state._replace(optimiser=optimiser_of(self.config.training).init(state.params))
        return fresh, replace(progress, stage=progress.stage + 1, epoch=0, stale=0)

    def _epoch(self, state: State, progress: Progress, stop: Callable[[], bool]) -> tuple[State, Progress]:
        """Train one epoch, score it, keep it if it is the best so far, log it."""
        started = time.monotonic()
        settings = self.config.training
        batches = self._batches(progress)
        stage = settings.stage1 if progress.stage == 1 else settings.stage2
        rate = jnp.float32(stage.learning_rate)
        weights = jnp.asarray(self.weights if progress.stage == 1 else np.ones_like(self.weights))
        step = train_step(self.graph, settings)
        late: tuple[int, jax.Array] | None = None
        for k in range(progress.done, len(batches)):
            batch = _on_device(self.examples.batch(batches[k]))
            state, losses = step(state, self.statistics, batch, self.key, rate, weights)
            self._check(late, batches)  # the step before: the device works on this one meanwhile
            late = (k, losses)
            if stop():
                self._check(late, batches)
                self._save_last(state, replace(progress, done=k + 1))
                raise self._interrupted()
        self._check(late, batches)
        member = Member(self.graph, state.params, self.statistics)
        score = self._score(member)
        better = score > progress.best
        progress = replace(progress, epoch=progress.epoch + 1, epochs=progress.epochs + 1, done=0, stale=0 if better else progress.stale + 1)
        if better:
            progress = replace(progress, best=score, best_epoch=progress.epochs)
            best = {"params": checkpoint.as_dicts(state.params), "statistics": checkpoint.as_dicts(self.statistics)}
            checkpoint.save(self.checkpoints, "best", progress.epochs, best, {"held_out_macro_f1": score}, self.digest)
        means = dict(zip(LOSSES, (np.asarray(state.sums) / len(batches)).tolist(), strict=True))
        speed = {"seconds": time.monotonic() - started, "padding": self.examples.padding_share(batches), "utterances": batches.size}
        self._log({"stage": progress.stage, "epoch": progress.epochs, "steps": len(batches), **means, "held_out_macro_f1": score, **speed})
        return state._replace(sums=jnp.zeros(len(LOSSES))), progress

    def _batches(self, progress: Progress) -> np.ndarray:
        """This epoch's batches of positions `[step, b]`: all of the training part, or a new balanced subset of it."""
        positions, settings = self.fit, self.config.training
        if progress.stage == 1:
            trained = (self.examples.soft.sum(axis=1) > 0) | (self.examples.rated.sum(axis=1) > 0)
            positions = positions[trained[positions]]
            if not len(positions):
                mend = "is a split of the corpus without labels called train?"
                raise TrainingError("no training utterance has votes or ratings", where=f"member {self.config.id}", mend=mend)
        else:
            chosen = balanced_subset(self.labels[positions], self.examples.corpus.classes, self.seed, progress.epochs, settings.no_consensus)
            positions = positions[chosen]
        return epoch_batches(positions, self.examples.costs, settings.batch_size, self.seed, progress.epochs)

    def _score(self, member: Member) -> float:
        """The selection score of the held-out part."""
        classes = len(self.examples.corpus.classes)
        logits, _ = member.predict(self.examples, self.held_out)
        if not np.isfinite(logits).all():
            where, mend = f"member {self.config.id}", "lower the learning rate"
            raise TrainingError("after this epoch the predictions of the held-out part are not finite", where=where, mend=mend)
        predicted = logits[:, :classes].argmax(axis=1)
        return balanced_macro_f1(self.labels[self.held_out], predicted, classes, self.config.training.selection_draws, self.seed)

    def _check(self, late: tuple[int, jax.Array] | None, batches: np.ndarray) -> None:
        """Raise `TrainingError` if that step's loss is not finite."""
        if late is not None and not np.isfinite(losses := np.asarray(late[1])).all():
            ids = self.examples.corpus.frame["id"].to_numpy()[batches[late[0]]]
            named = ", ".join(f"{name} {value}" for name, value in zip(LOSSES, losses.tolist(), strict=True))
            raise TrainingError(
                f"the loss is not finite ({named})",
                where=f"member {self.config.id}, step {late[0]} of its epoch, utterances {', '.join(map(str, ids))}",
                mend="lower the learning rate, or look at these utterances' features",
            )

    def _interrupted(self) -> Interrupted:
        return Interrupted("stopped as asked; the state is saved", where=self.folder, mend="run the same command again to go on")

    def _save_last(self, state: State, progress: Progress) -> None:
        """Save all that is needed to go on."""
        step = int(state.step) * 2 + (progress.done == 0)  # the end of an epoch comes after its last step
        checkpoint.save(self.checkpoints, "last", step, checkpoint.as_dicts(state), asdict(progress), self.digest)

    def _log(self, line: dict[str, Any]) -> None:
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _forget_metrics(self, epochs: int) -> None:
        """Drop the lines of epochs that will be trained again."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        write_text(path, "".join(line + "\n" for line in lines[:epochs]))


def _on_device(batch: Batch) -> Batch:
    return jax.device_put(batch)
