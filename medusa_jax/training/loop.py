"""Stages 1 and 2 of a group: members that read one stream of batches, selected and resumable at any step (spec section 6).

Batch k of epoch e of stage s follows from (run's seed, s, e) alone, dropout and MixUp k from (member's seed, k): a member ends
the same alone or in company, stopped and gone on or not. The order within an epoch: draw its batches, step through them,
score the held-out part, log, keep the best, save when it is time, stop if asked.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

from medusa_jax.batches.device_batch import device_batch
from medusa_jax.batches.epochs import class_targets, epoch_plan, stage_of
from medusa_jax.batches.examples import Examples
from medusa_jax.batches.prefetch import Loader
from medusa_jax.config.training import EngineConfig, MemberConfig, TrackingConfig
from medusa_jax.errors import Interrupted, TrainingError
from medusa_jax.evaluation.balanced import balanced_macro_f1
from medusa_jax.machines.compilations import compilations
from medusa_jax.machines.mesh import devices_of
from medusa_jax.machines.processes import StopRequest, known_to_all, wait_for_all
from medusa_jax.machines.stop import stop_requests
from medusa_jax.progress import Report, silent
from medusa_jax.tasks.hyperparameters import settings_of
from medusa_jax.tasks.objective import class_weights
from medusa_jax.training.group_files import Keeper
from medusa_jax.training.member import Member, build, load_member, member_keys, moments_of
from medusa_jax.training.memory import runs_side_by_side
from medusa_jax.training.prediction import predicted
from medusa_jax.training.schedule import after_epoch, begun, next_cohort, steps_left
from medusa_jax.training.stack import Lane, Stack, stacks_of
from medusa_jax.training.step import LOSSES, for_next_stage, new_state


def train_group(
    configs: Sequence[MemberConfig],
    examples: Examples,
    fit: np.ndarray,
    held_out: np.ndarray,
    folder: Path,
    *,
    seed: int = 0,
    engine: EngineConfig | None = None,
    tracking: TrackingConfig | None = None,
    report: Report = silent,
) -> list[Member]:
    """Train members into `folder/members/ID`, or go on with what is there; each as it was at its best held-out score.

    They must agree on `batch_size`, `shapes` and `no_consensus`, and `examples` hold all their modalities; `fit` and
    `held_out` are positions in `examples`. Writes each member's `metrics.jsonl` (a line an epoch), best checkpoint and, at
    its end, `member.json`; until all are finished `folder/groups/` holds what is needed to go on. Raises `Interrupted` after
    SIGTERM or Ctrl-C, with the state saved; `TrainingError` for a loss that is not finite, naming member, step and
    utterances; `CheckpointError` for a damaged or foreign checkpoint.
    """
    keeper = Keeper(configs, examples, fit, held_out, folder, seed, tracking or TrackingConfig())
    if not keeper.finished:
        with closing(keeper):
            _Training(configs, examples, fit, held_out, seed, engine or EngineConfig()).run(
                keeper, report
            )
    return [
        load_member(config, examples, keeper.folder_of(config.id), keeper.digests[config.id])
        for config in configs
    ]


class _Training:
    """One call of `train_group`."""

    def __init__(
        self,
        configs: Sequence[MemberConfig],
        examples: Examples,
        fit: np.ndarray,
        held_out: np.ndarray,
        seed: int,
        engine: EngineConfig,
    ) -> None:
        self.examples, self.fit, self.held_out, self.seed, self.engine = (
            examples,
            fit,
            held_out,
            seed,
            engine,
        )
        self.configs = {config.id: config for config in configs}
        self.side_by_side, self.devices = runs_side_by_side(engine), devices_of(engine.devices)
        if not (examples.corpus.labels[held_out] >= 0).any():
            raise TrainingError(
                "no held-out utterance has a consensus class, so no epoch can be chosen",
                hint="raise corpus.hold_out",
            )
        if idle := [config.id for config in configs if begun(config.training).finished]:
            raise TrainingError(
                "no epoch was trained",
                where=f"member {idle[0]}",
                hint="set training.stage1.epochs or stage2.epochs above 0",
            )
        stages = {
            stage
            for config in configs
            for stage in (1, 2)
            if stage_of(config.training, stage).epochs
        }
        plans = {stage: self._plan(stage, 0) for stage in stages}
        self.sizes = {
            stage: len(plan) for stage, plan in plans.items()
        }  # steps of every epoch of a stage
        for plan in plans.values():
            self.devices.check(plan.shape[1])

    def run(self, keeper: Keeper, report: Report) -> None:
        """Every epoch of every member."""
        self.keeper, self.report = keeper, report
        self._start()
        with stop_requests() as asked:
            stop = known_to_all(asked, self.devices)
            while cohort := next_cohort(self.progress):
                self._assemble(cohort)
                self._epoch(cohort, stop)
                stopped = stop(wait=True)
                if (
                    stopped
                    or keeper.due(self.engine.save_minutes)
                    or any(self.progress[name].finished for name in cohort)
                ):
                    self._save()
                if stopped:  # asked while the epoch was scored
                    raise self._interrupted()

    def _start(self) -> None:
        """New members, or as they were saved last."""
        moments = moments_of(list(self.configs.values()), self.examples, self.fit)
        self.members = {
            name: build(config, self.examples, moments, self.seed)
            for name, config in self.configs.items()
        }
        states = {
            name: new_state(member.params, self.configs[name].training.ema is not None)
            for name, member in self.members.items()
        }
        self.waiting, self.progress = self.keeper.restored(states)
        self.stacks: list[Stack] = []
        self.unsaved = 0

    def _epoch(self, cohort: tuple[str, ...], stop: StopRequest) -> None:
        """Train one epoch of the cohort, score it, log it, keep the best, and move those on whose stage is over."""
        compiled, started = compilations(), time.monotonic()
        first = self.progress[cohort[0]]
        plan = self._plan(first.stage, first.epoch)
        waited = self._steps(plan, stop)
        seconds = time.monotonic() - started
        scores = self._scores()
        losses = {
            name: row / len(plan)
            for stack in self.stacks
            for name, row in zip(stack.ids, stack.losses(), strict=True)
        }
        measured = {
            "utterances_per_second": plan[first.done :].size / seconds,
            "input_wait": waited / seconds,
            "compilations": compilations() - compiled,
            "seconds": time.monotonic() - started,
        }
        data = {
            "steps": len(plan),
            "utterances": plan.size,
            "padding": self.examples.padding_share(plan),
        }
        for name in cohort:
            now = self.progress[name] = after_epoch(
                self.progress[name], scores[name], self.configs[name].training
            )
            means = dict(zip(LOSSES, losses[name].tolist(), strict=True))
            self.keeper.log(
                name,
                {
                    "stage": first.stage,
                    **means,
                    "held_out_macro_f1": scores[name],
                    **data,
                    **measured,
                },
                now.epochs,
            )
        self._keep_best()
        self._move_on(first.stage)
        self._tell()

    def _steps(self, plan: np.ndarray, stop: StopRequest) -> float:
        """Step through what is left of the epoch's batches; returns the seconds spent waiting for them.

        Step k is dispatched, then the losses of step k−1 are looked at while the device works. Nothing else moves to or from it.
        """
        late: list[jax.Array] = []
        rows = plan[self.progress[self.stacks[0].ids[0]].done :]
        with (
            Loader(partial(device_batch, self.examples, self.devices), rows) as batches,
            jax.transfer_guard("disallow"),
        ):
            for batch in batches:
                now = [stack.step(batch) for stack in self.stacks]
                self._check(late, plan)
                late = now
                for name in (name for stack in self.stacks for name in stack.ids):
                    self.progress[name] = replace(
                        self.progress[name], done=self.progress[name].done + 1
                    )
                self.unsaved += 1
                self._tell()
                stopped = stop()
                if stopped or self.keeper.due(self.engine.save_minutes):
                    self._check(late, plan)
                    late = []
                    self._save()
                if stopped:
                    raise self._interrupted()
            self._check(late, plan)
        self.unsaved += 1
        return batches.waited

    def _plan(self, stage: int, epoch: int) -> np.ndarray:
        """The epoch's batches of positions `[step, b]`; all that they depend on is the same for every member."""
        return epoch_plan(
            self.examples,
            self.fit,
            next(iter(self.configs.values())).training,
            self.seed,
            stage,
            epoch,
        )

    def _assemble(self, cohort: tuple[str, ...]) -> None:
        """The cohort in stacks, with new sums unless its epoch is begun; the states of those that wait stay aside."""
        if set(cohort) != {name for stack in self.stacks for name in stack.ids}:
            self._dissolve()
            self.stacks = stacks_of(
                [self._lane(name) for name in cohort], self.side_by_side, self.devices
            )
        if self.progress[cohort[0]].done == 0:
            for stack in self.stacks:
                stack.clear_sums()

    def _lane(self, name: str) -> Lane:
        config, stage = self.configs[name], self.progress[name].stage
        steps = self.sizes[stage] * stage_of(config.training, stage).epochs
        weights_c = class_weights(class_targets(self.examples, config.training)[self.fit])
        settings = settings_of(
            config.training, stage, steps, weights_c, member_keys(self.seed, config)[1]
        )
        return Lane(
            name,
            self.members[name],
            config.training.micro_batches,
            settings,
            self.waiting.pop(name),
        )

    def _dissolve(self) -> None:
        """Every state aside."""
        for stack in self.stacks:
            self.waiting |= stack.states()
        self.stacks = []

    def _scores(self) -> dict[str, float]:
        """Each member's selection score on the held-out part."""
        corpus, scores = self.examples.corpus, {}
        outputs = predicted(
            lambda batch: [stack.predict(batch)[0] for stack in self.stacks],
            self.examples,
            self.held_out,
            self.devices,
        )
        for stack, logits in zip(self.stacks, outputs, strict=True):
            for m, name in enumerate(stack.ids):
                logits_nc = logits[:, m] if stack.several else logits
                if not np.isfinite(logits_nc).all():
                    where, hint = f"member {name}", "lower the learning rate"
                    raise TrainingError(
                        "after this epoch the predictions of the held-out part are not finite",
                        where=where,
                        hint=hint,
                    )
                classes, draws = len(corpus.classes), self.configs[name].training.selection_draws
                predictions = logits_nc[:, :classes].argmax(axis=1)
                scores[name] = balanced_macro_f1(
                    corpus.labels[self.held_out], predictions, classes, draws, self.seed
                )
        return scores

    def _keep_best(self) -> None:
        """Note the weights of those whose best epoch this is."""
        for stack in self.stacks:
            best = {
                name
                for name in stack.ids
                if self.progress[name].best_epoch == self.progress[name].epochs
            }
            for name, state in stack.states().items() if best else ():
                if name in best:
                    self.keeper.best(
                        name, self.progress[name], state.scored, self.members[name].statistics
                    )

    def _move_on(self, stage: int) -> None:
        """Finished members leave; others begin their next stage with a fresh optimiser."""
        moved = {
            name
            for stack in self.stacks
            for name in stack.ids
            if self.progress[name].stage != stage
        }
        if moved:
            self._dissolve()
        for name in moved:
            if self.progress[name].finished:
                del self.waiting[name]
            else:
                self.waiting[name] = for_next_stage(self.waiting[name])

    def _check(self, late: list[jax.Array], plan: np.ndarray) -> None:
        """Log and raise `TrainingError` if a loss of the last step that was counted as done is not finite."""
        for stack, losses in zip(self.stacks, jax.device_get(late), strict=False):
            for name, values in zip(stack.ids, np.atleast_2d(losses), strict=True):
                if not np.isfinite(values).all():
                    named = {
                        loss: str(value)
                        for loss, value in zip(LOSSES, values.tolist(), strict=True)
                    }
                    now, k = self.progress[name], self.progress[name].done - 1
                    self.keeper.log(
                        name,
                        {
                            "stage": now.stage,
                            "step": k,
                            "stopped": "the loss is not finite",
                            **named,
                        },
                        now.epochs + 1,
                    )
                    ids = self.examples.corpus.frame["id"].to_numpy()[plan[k]]
                    raise TrainingError(
                        f"the loss is not finite ({', '.join(f'{loss} {value}' for loss, value in named.items())})",
                        where=f"member {name}, step {k} of its epoch, utterances {', '.join(map(str, ids))}",
                        hint="lower the learning rate, or look at these utterances' features",
                    )

    def _save(self) -> None:
        states = {name: jax.device_get(state) for name, state in self.waiting.items()}
        for stack in self.stacks:
            states |= stack.fetched()
        self.keeper.save(states, self.progress, self.unsaved)
        self.unsaved = 0

    def _tell(self) -> None:
        """Report how many of all members' steps are done; those that patience spares count as done."""
        total = sum(
            steps_left(begun(config.training), config.training, self.sizes)
            for config in self.configs.values()
        )
        left = sum(
            steps_left(self.progress[name], config.training, self.sizes)
            for name, config in self.configs.items()
        )
        best = [one.best for one in self.progress.values() if one.best_epoch >= 0]
        note = f"held-out Macro-F1 {max(best):.3f} (best)" if best else ""
        self.report(total - left, total, note)

    def _interrupted(self) -> Interrupted:
        wait_for_all("stopped")
        return Interrupted(
            "stopped as asked; the state is saved",
            where=self.keeper.place,
            hint="run the same command again to go on",
        )
