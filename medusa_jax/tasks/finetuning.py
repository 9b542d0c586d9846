"""Fine-tuning of pretrained speech encoders: WavLM's adaptation, and Whisper's in its place.

Legend: `n` utterance of a set, `b` utterance of a batch, `w` pooled, `c` class, `a` attribute, `g`
gender.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from medusa_jax.backbones.pretrained import Backbone
from medusa_jax.backbones.whisper import Stored
from medusa_jax.batches.examples import Batch
from medusa_jax.config.finetuning import FinetuningConfig
from medusa_jax.corpus.table import GENDERS
from medusa_jax.files import digest_of
from medusa_jax.hub.locate import locate
from medusa_jax.layers.coded import frames_of
from medusa_jax.models.finetuned import Finetuned
from medusa_jax.models.mixup import Mix, manifold_mixup
from medusa_jax.tasks.class_losses import class_loss, secondary_loss, smoothed
from medusa_jax.tasks.finetuning_inputs import crops_of, encoders_of
from medusa_jax.tasks.layer_rates import layerwise
from medusa_jax.tasks.micro_batches import in_parts
from medusa_jax.tasks.objective import attribute_loss, classification_loss
from medusa_jax.tasks.optimisers import injected
from medusa_jax.tasks.staged import StagedTask
from medusa_jax.tasks.task import Optimiser, Phase
from medusa_jax.tasks.windows import averaged, first_of, one_by_one, windowed

_TINY = 1e-9


class Knobs(NamedTuple):
    """Numbers that members may differ in without another program, float32."""

    class_loss: Array
    attribute_loss: Array
    gender_loss: Array
    secondary_loss: Array
    mixup_probability: Array
    mixup_alpha: Array
    one_hot: Array  # 1: one-hot targets, 0: soft ones
    smoothing: Array
    focal: Array
    weights_c: Array
    adjusted_c: Array  # added to logits in training


def mean_recall(guesses_n: np.ndarray, truth_n: np.ndarray) -> float:
    """Accuracy with the classes that occur weighed alike."""
    return float(np.mean([(guesses_n[truth_n == c] == c).mean() for c in np.unique(truth_n)]))


def _width(slot: Any) -> int:
    """The features of a slot."""
    return int(jax.tree.leaves(slot)[0].shape[-1])


@dataclass(frozen=True, eq=False)
class FinetuningTask(StagedTask):
    """Implements `tasks.task.Task` for one member."""

    name: ClassVar[str] = "finetuning"

    @property
    def losses(self) -> tuple[str, ...]:
        """The loss and its parts; that of secondary emotions only where they are learned."""
        plain = ("loss", "class_loss", "attribute_loss", "gender_loss")
        return (*plain, "secondary_loss") if self.own.secondary_loss else plain

    @property
    def own(self) -> FinetuningConfig:
        """The member's section."""
        assert self.config.finetuning is not None, "checked by the configuration"
        return self.config.finetuning

    @property
    def slots(self) -> tuple[str, ...]:
        """Modalities in the model's order: the encoders' inputs, then the text."""
        speech = [name for name in self.config.modalities if name in self.own.backbones]
        return (*speech, *(name for name in self.config.modalities if name not in speech))

    def traced(self, phase: Phase | None) -> Hashable:
        """All settings of the model and of its layers' rates."""
        own = self.config.training
        section = digest_of(self.own.model_dump(mode="json"))
        if phase is None:
            return self.name, section
        return self.name, section, own.micro_batches, own.clip is None, own.ema is None

    def build(self, key: jax.Array) -> Finetuned:
        """The model on pretrained encoders; only their shapes where `key` is traced."""
        rngs = nnx.Rngs(key)
        published = not isinstance(key, jax.core.Tracer)
        backbones = [
            Backbone(
                self._folder(name),
                rngs=rngs,
                rank=self.own.lora,
                window=self.own.window,
                published=published,
            )
            for name in self.slots
            if name in self.own.backbones
        ]
        texts = [self.facts.widths[name] for name in self.slots[len(backbones) :]]
        return Finetuned(self.own, backbones, texts, len(self.facts.targets), rngs=rngs)

    def _folder(self, modality: str) -> Any:
        return locate(self.own.backbones[modality], None, offline=True)

    def trained(self, phase: Phase) -> nnx.filterlib.Filter:
        """All but the convolutions of speech encoders and stored positions; of the encoders only
        the low-rank parts if there are any.
        """
        rest = nnx.All(nnx.Param, nnx.Not(Stored), nnx.Not(nnx.PathContains("convolutions")))
        if not self.own.lora:
            return rest
        return nnx.All(rest, nnx.Any(nnx.LoRAParam, nnx.Not(nnx.PathContains("backbones"))))

    def optimiser(self, phase: Phase, steps: int) -> Optimiser:
        """AdamW with rates by layer, clipped and averaged if the configuration says so."""
        schedules = self.schedules(phase, steps)
        schedules["opened"] = self._opened(phase, steps / max(phase.epochs, 1))
        transform = injected(
            "clip" in schedules, partial(layerwise, config=self.own), opened=np.inf
        )
        return Optimiser(transform, schedules, self.mean_decay)

    def _opened(self, phase: Phase, steps: float) -> optax.Schedule:
        """The number of top layers that are trained, by step of a phase with so many `steps` an
        epoch; Stage 2 goes on from Stage 1's last epoch.
        """
        epochs = self.own.unfreeze_epochs
        if not epochs:
            return lambda step: jnp.full(jnp.shape(step), jnp.inf)
        before = self.config.training.stage1.epochs if phase.name == "stage2" else 0
        return lambda step: 1 + jnp.floor((before + (jnp.asarray(step) + 0.5) / steps) / epochs)

    def knobs(self, phase: Phase) -> Knobs:
        """Weights of losses and classes, targets, and MixUp's settings; Stage 2, whose classes are
        balanced, needs neither weights nor priors.
        """
        own, facts, classes = self.config.training, self.facts, len(self.facts.targets)
        weights_c, adjusted_c = np.ones(classes, np.float32), np.zeros(classes, np.float32)
        if phase.name == "stage1" and self.own.class_weights:
            weights_c = facts.weights_c
        if phase.name == "stage1" and facts.prior_c is not None:
            adjusted_c = self.own.logit_adjustment * np.log(np.maximum(facts.prior_c, _TINY))
        return Knobs(
            class_loss=jnp.float32(own.class_loss),
            attribute_loss=jnp.float32(own.attribute_loss),
            gender_loss=jnp.float32(self.own.gender_loss),
            secondary_loss=jnp.float32(self.own.secondary_loss),
            mixup_probability=jnp.float32(own.mixup_probability),
            mixup_alpha=jnp.float32(own.mixup_alpha),
            one_hot=jnp.float32(own.targets == "one_hot"),
            smoothing=jnp.float32(self.own.label_smoothing),
            focal=jnp.float32(self.own.focal),
            weights_c=jnp.asarray(weights_c),
            adjusted_c=jnp.asarray(adjusted_c, jnp.float32),
        )

    def loss(
        self, model: Finetuned, batch: Batch, knobs: Knobs, drawn: Mix, key: Array
    ) -> tuple[Array, Array]:
        """λ1 · class loss + λ2 · squared error of attributes + weighted cross-entropies of gender
        and of secondary emotions.
        """
        k_noise, _ = jax.random.split(key)  # the other is of `draw`
        k_pool, k_heads = jax.random.split(k_noise)
        slots = batch.inputs, batch.lengths, batch.gender

        def pool(some: Any, k: Array) -> Array:
            inputs, lengths, gender_b = some
            return model.pool(inputs, lengths, gender_b, k)

        x_bw = in_parts(pool, slots, self.parts, k_pool)
        target_bc = jnp.where(knobs.one_hot > 0, batch.one_hot, batch.soft)
        gender_bg = jax.nn.one_hot(batch.gender, len(GENDERS))  # zero rows: unknown
        learns = self.own.secondary_loss > 0
        shares_bc = jnp.asarray(batch.secondary) if learns else None
        mixable = (x_bw, target_bc, batch.attributes, batch.rated, gender_bg, shares_bc)
        mixed = manifold_mixup(drawn, mixable)
        x_bw, target_bc, truth_ba, rated_ba, gender_bg, shares_bc = mixed
        told = model.heads(x_bw, k_heads)
        adjusted_bc = told.logits_bc + knobs.adjusted_c
        target_bc = smoothed(target_bc, knobs.smoothing)
        kind, weights_c = self.own.loss, knobs.weights_c
        class_part = class_loss(kind, adjusted_bc, target_bc, weights_c, knobs.focal)
        both_ba = (rated_ba > 1 - 1e-6).astype(jnp.float32)  # a mixed rating needs both to be rated
        attribute_part = attribute_loss(told.attributes_ba, truth_ba, both_ba)
        gender_part = jnp.float32(0)
        if told.gender_bg is not None:
            gender_part = classification_loss(told.gender_bg, gender_bg, jnp.ones(len(GENDERS)))
        total = knobs.class_loss * class_part + knobs.attribute_loss * attribute_part
        total += knobs.gender_loss * gender_part
        parts = [class_part, attribute_part, gender_part]
        if told.secondary_bc is not None:
            share_bc, known_b = shares_bc[:, :-1], shares_bc[:, -1]
            parts.append(secondary_loss(told.secondary_bc, share_bc, known_b))
            total += knobs.secondary_loss * parts[-1]
        return total, jnp.stack([total, *parts])

    def predict(self, model: Finetuned, batch: Batch) -> dict[str, Array]:
        """Logits `[b, c]` over all targets, attributes `[b, 3]` on 1–7, and logits of gender if
        there is such a head: of the first part, or means over the windows of all audio.
        """
        inputs = [frames_of(slot) for slot in batch.inputs]
        crops = crops_of(self.own, dict(zip(self.slots, map(_width, inputs), strict=True)))
        sizes = [crops.get(name) for name in self.slots]

        def run(inputs: list[Array], lengths: list[Array]) -> dict[str, Array]:
            told = model.heads(model.pool(inputs, lengths, batch.gender))
            predicted = {"logits": told.logits_bc, "attributes": told.attributes_ba}
            return predicted if told.gender_bg is None else predicted | {"gender": told.gender_bg}

        if self.own.evaluation == "first":
            first = first_of(inputs, batch.lengths, sizes)
            return run(first.inputs, first.lengths)
        found = windowed(inputs, batch.lengths, sizes)
        return averaged(one_by_one(run, found), found.share_bv)

    def score(self, predicted: dict[str, np.ndarray], phase: Phase) -> float:
        """Macro-F1 of the held-out part with classes weighed alike, as the configuration asks for
        it; of a member that learns gender alone, its balanced accuracy.
        """
        if not self.config.training.class_loss and self.own.gender_loss:
            return self._gender_score(predicted["gender"])
        return super().score(predicted, phase)

    def _gender_score(self, told_ng: np.ndarray) -> float:
        """Balanced accuracy on the held-out utterances of known gender, 0 without any."""
        genders_n = self.facts.genders
        if genders_n is None or not (known := genders_n < len(GENDERS)).any():
            return 0.0
        return mean_recall(told_ng.argmax(axis=1)[known], genders_n[known])

    def describe(self) -> dict[str, Any]:
        """Classes and attributes in order, and the slots with their widths, extractors and
        encoders.
        """
        return {**super().describe(), "backbones": encoders_of(self.own)}
