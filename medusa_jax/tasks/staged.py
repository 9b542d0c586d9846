"""The part that tasks on utterances share: two stages, AdamW's settings, MixUp, the selection
score, and the facts of a trained member.

Legend: `n` utterance of a set, `c` class.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from medusa_jax.audio.decode import RATE
from medusa_jax.batches.examples import Batch
from medusa_jax.config.training import MemberConfig, StageConfig
from medusa_jax.evaluation.balanced import selection_score
from medusa_jax.models.mixup import Mix, draw_mix
from medusa_jax.tasks.facts import Facts
from medusa_jax.tasks.optimisers import mean_decay, rate_of
from medusa_jax.tasks.task import Phase

Own = TypeVar("Own", bound="StagedTask")


@dataclass(frozen=True, eq=False)
class StagedTask:
    """Stage 1 on all utterances, then Stage 2 on balanced subsets, a fresh optimiser in each."""

    config: MemberConfig
    facts: Facts

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Both stages, either with 0 epochs or more."""
        own = self.config.training
        return (
            Phase("stage1", own.stage1.epochs, own.patience),
            Phase("stage2", own.stage2.epochs, own.patience),
        )

    def stage(self, phase: Phase) -> StageConfig:
        """The configuration of a phase."""
        own = self.config.training
        return own.stage1 if phase.name == "stage1" else own.stage2

    @property
    def slots(self) -> tuple[str, ...]:
        """The modalities in the model's order."""
        return self.config.modalities

    @property
    def reads(self) -> Hashable:
        """The modalities, in order."""
        return self.slots

    def view(self, batch: Batch) -> Batch:
        """The member's modalities as slots."""
        return batch.of(self.slots)

    @property
    def parts(self) -> int:
        """Micro-batches."""
        return self.config.training.micro_batches

    def undivided(self: Own) -> Own:
        """The same member without micro-batches."""
        training = self.config.training.model_copy(update={"micro_batches": 1})
        return replace(self, config=self.config.model_copy(update={"training": training}))

    def schedules(self, phase: Phase, steps: int) -> dict[str, optax.Schedule]:
        """AdamW's rate and decay by step, and the largest norm of gradients if there is one."""
        own = self.config.training
        found: dict[str, optax.Schedule] = {
            "learning_rate": rate_of(self.stage(phase), steps),
            "weight_decay": lambda _: jnp.float32(own.weight_decay),
        }
        if own.clip is not None:
            found["clip"] = lambda _: jnp.float32(own.clip)
        return found

    @property
    def mean_decay(self) -> optax.Schedule | None:
        """Decay of the running mean of the weights, if the configuration asks for one."""
        ema = self.config.training.ema
        return None if ema is None else mean_decay(ema)

    def draw(self, key: Array, knobs: Any, size: int) -> Mix:
        """MixUp's coin, partners and λ of a step."""
        _, k_mix = jax.random.split(key)
        return draw_mix(k_mix, size, knobs.mixup_probability, knobs.mixup_alpha)

    def watch(self, predicted: dict[str, np.ndarray], phase: Phase) -> dict[str, float]:
        """Nothing."""
        return {}

    def score(self, predicted: dict[str, np.ndarray], phase: Phase) -> float:
        """Macro-F1 of the held-out part with classes weighed alike, as the configuration asks for
        it.
        """
        own, facts = self.config.training, self.facts
        classes = len(facts.classes)
        guesses_n = predicted["logits"][:, :classes].argmax(axis=1)
        how, draws = own.selection, own.selection_draws
        return selection_score(facts.labels, guesses_n, classes, how, draws, facts.seed)

    def describe(self) -> dict[str, Any]:
        """Classes and attributes in order, and the modalities' widths and extractors."""
        names, facts = self.slots, self.facts
        return {
            "sampling_rate": RATE,
            "classes": list(facts.classes),
            "targets": list(facts.targets),
            "attributes": list(facts.attributes),
            "modalities": list(names),
            "widths": [facts.widths[name] for name in names],
            "extractors": {name: facts.extractors.get(name) for name in names},
        }
