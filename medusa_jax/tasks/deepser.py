"""MEDUSA's member: DeepSER in two stages, on soft labels with Manifold MixUp (paper sections 3.3 to
3.7).

Legend: `n` utterance of a set, `b` utterance of a batch, `h` hidden, `c` class, `a` attribute.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from medusa_jax.batches.examples import Batch
from medusa_jax.batches.moments import scale_of
from medusa_jax.models.deepser import DeepSER
from medusa_jax.models.mixup import Mix, manifold_mixup
from medusa_jax.tasks.micro_batches import in_parts
from medusa_jax.tasks.objective import attribute_loss, classification_loss
from medusa_jax.tasks.optimisers import injected
from medusa_jax.tasks.staged import StagedTask
from medusa_jax.tasks.task import Optimiser, Phase

PyTree = Any


class Knobs(NamedTuple):
    """Numbers that members may differ in without another program, float32."""

    class_loss: Array  # λ1
    attribute_loss: Array  # λ2
    mixup_probability: Array
    mixup_alpha: Array
    one_hot: Array  # 1: one-hot targets, 0: soft ones
    weights_c: Array  # α of the class loss


@dataclass(frozen=True, eq=False)
class DeepSERTask(StagedTask):
    """Implements `tasks.task.Task` for one member."""

    name: ClassVar[str] = "deepser"
    losses: ClassVar[tuple[str, ...]] = ("loss", "class_loss", "attribute_loss")

    def traced(self, phase: Phase | None) -> Hashable:
        """Both stages are one program; what is not asked for (a clip, a running mean) is not
        in it.
        """
        own = self.config.training
        if phase is None:
            return self.name
        return self.name, own.micro_batches, own.clip is None, own.ema is None

    def build(self, key: jax.Array) -> DeepSER:
        """A DeepSER with random weights, and the statistics of its training frames if it
        standardises them.
        """
        names, widths = self.config.modalities, self.facts.widths
        stacks = [self.config.model.stack.get(name, 1) for name in names]
        classes = len(self.facts.targets)
        own = [widths[name] for name in names]
        model = DeepSER(self.config.model, own, classes, stacks, rngs=nnx.Rngs(key))
        if self.config.model.standardise:
            for name, frames in zip(names, model.frames, strict=True):
                if name in self.facts.moments:
                    mean, deviation = self.facts.moments[name]
                    frames.mean[...] = jnp.asarray(mean)
                    frames.scale[...] = jnp.asarray(scale_of(deviation))
        return model

    def trained(self, phase: Phase) -> nnx.filterlib.Filter:
        """All parameters."""
        return nnx.Param

    def optimiser(self, phase: Phase, steps: int) -> Optimiser:
        """AdamW at the stage's rate, clipped and averaged if the configuration says so."""
        schedules = self.schedules(phase, steps)
        return Optimiser(injected("clip" in schedules), schedules, self.mean_decay)

    def knobs(self, phase: Phase) -> Knobs:
        """Weights of losses and classes (in Stage 1 alone), targets, and MixUp's settings."""
        own, weights_c = self.config.training, self.facts.weights_c
        return Knobs(
            class_loss=jnp.float32(own.class_loss),
            attribute_loss=jnp.float32(own.attribute_loss),
            mixup_probability=jnp.float32(own.mixup_probability),
            mixup_alpha=jnp.float32(own.mixup_alpha),
            one_hot=jnp.float32(own.targets == "one_hot"),
            weights_c=jnp.asarray(weights_c if phase.name == "stage1" else np.ones_like(weights_c)),
        )

    def loss(
        self, model: DeepSER, batch: Batch, knobs: Knobs, drawn: Mix, key: Array
    ) -> tuple[Array, Array]:
        """λ1 · cross-entropy + λ2 · squared error (paper eq. 1), with dropout and MixUp."""
        k_drop, _ = jax.random.split(key)
        slots = batch.inputs, batch.lengths
        x_bh = in_parts(lambda some, k: model.fuse(some[0], some[1], k), slots, self.parts, k_drop)
        target_bc = jnp.where(knobs.one_hot > 0, batch.one_hot, batch.soft)
        mixable = (x_bh, target_bc, batch.attributes, batch.rated)
        x_bh, target_bc, truth_ba, rated_ba = manifold_mixup(drawn, mixable)
        logits_bc, predicted_ba = model.heads(x_bh)
        both_ba = (rated_ba > 1 - 1e-6).astype(jnp.float32)  # a mixed rating needs both to be rated
        class_part = classification_loss(logits_bc, target_bc, knobs.weights_c)
        attribute_part = attribute_loss(predicted_ba, truth_ba, both_ba)
        total = knobs.class_loss * class_part + knobs.attribute_loss * attribute_part
        return total, jnp.stack([total, class_part, attribute_part])

    def predict(self, model: DeepSER, batch: Batch) -> dict[str, Array]:
        """Logits `[b, c]` over all targets, and attributes `[b, 3]` on 1–7."""
        logits_bc, attributes_ba = model(batch.inputs, batch.lengths)
        return {"logits": logits_bc, "attributes": attributes_ba}
