"""Emotion in conversations: SUMMER's teacher, then its student (arXiv 2503.23721).

Legend: `n` dialogue of a set, `b` row of a batch, `u` turn, `k` modality, `c` class.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array
from sklearn.metrics import f1_score

from medusa_jax.batches.dialogues import DialogueBatch
from medusa_jax.batches.moments import scale_of
from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.config.training import MemberConfig
from medusa_jax.files import digest_of
from medusa_jax.models.summer import Outcome, Summer, Turns
from medusa_jax.tasks.class_losses import smoothed
from medusa_jax.tasks.distillation import cross_entropy, distillation_loss, feature_loss
from medusa_jax.tasks.facts import Moments
from medusa_jax.tasks.objective import attribute_loss
from medusa_jax.tasks.optimisers import injected, mean_decay, rate_of
from medusa_jax.tasks.task import Optimiser, Phase

TEACHER, STUDENT = "teacher", "student"


class Knobs(NamedTuple):
    """Numbers of the teacher's phase that members may differ in without another program,
    float32.
    """

    class_loss: Array
    smoothed_loss: Array
    smoothing: Array
    attribute_loss: Array
    one_hot: Array  # 1: one-hot targets, 0: soft ones


class StudentKnobs(NamedTuple):
    """The same of the student's phase, with the weights of what the teacher adds."""

    own: Knobs
    distillation: Array
    feature_loss: Array
    temperature: Array


@dataclass(frozen=True)
class ConversationFacts:
    """A corpus of conversations as a member needs it.

    `labels` `[n, u]` are those of the held-out dialogues, −1 without consensus or turn; `tested`
    those of the dialogues that are only watched. `longest`: turns of the longest shape. `moments`:
    mean and deviation of each modality's vectors in the training part, if they are standardised.
    """

    classes: tuple[str, ...]
    targets: tuple[str, ...]
    attributes: tuple[str, ...]
    widths: Mapping[str, int]
    extractors: Mapping[str, Any]
    labels: np.ndarray
    tested: np.ndarray
    longest: int
    moments: Moments = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ConversationTask:
    """Implements `tasks.task.Task` for one member."""

    config: MemberConfig
    facts: ConversationFacts
    name: ClassVar[str] = "conversation"
    parts: ClassVar[int] = 1
    losses: ClassVar[tuple[str, ...]] = (
        "loss",
        "class_loss",
        "smoothed_loss",
        "distillation_loss",
        "feature_loss",
        "attribute_loss",
        "experts_off",
    )

    @property
    def own(self) -> ConversationConfig:
        """The member's section."""
        assert self.config.conversation is not None, "checked by the configuration"
        return self.config.conversation

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The teacher, then the student, which begins beside the best teacher."""
        own = self.config.training
        return (
            Phase(TEACHER, own.stage1.epochs, own.patience),
            Phase(STUDENT, own.stage2.epochs, own.patience, "best", anew=True),
        )

    @property
    def reads(self) -> Hashable:
        """The modalities, in order."""
        return self.config.modalities

    @property
    def has_student(self) -> bool:
        """False if the teacher is the result."""
        return self.config.training.stage2.epochs > 0

    def traced(self, phase: Phase | None) -> Hashable:
        """All settings of the model and the phase; weights of losses are data."""
        own = self.config.training
        key = self.name, digest_of(self.own.model_dump(mode="json")), self.facts.longest
        if phase is None:
            return *key, self.has_student
        return *key, phase.name, own.clip is None, own.ema is None

    def undivided(self) -> "ConversationTask":
        """The task itself."""
        return self

    def build(self, key: jax.Array) -> Summer:
        """A SUMMER with random weights, and the statistics of its training part."""
        facts, names = self.facts, self.config.modalities
        widths, classes = facts.widths, len(facts.targets)
        model = Summer(self.own, names, widths, classes, rngs=nnx.Rngs(key))
        for k, name in enumerate(names):
            if name in facts.moments:
                mean_d, deviation_d = facts.moments[name]
                model.means[k][...] = jnp.asarray(mean_d)
                model.scales[k][...] = jnp.asarray(scale_of(deviation_d))
        return model

    def trained(self, phase: Phase) -> nnx.filterlib.Filter:
        """The teacher's parameters, or the student's."""
        return nnx.All(nnx.Param, nnx.PathContains(phase.name))

    def optimiser(self, phase: Phase, steps: int) -> Optimiser:
        """AdamW, which is Adam without decay, at the rate of the phase's stage."""
        own = self.config.training
        stage = own.stage1 if phase.name == TEACHER else own.stage2
        schedules: dict[str, optax.Schedule] = {
            "learning_rate": rate_of(stage, steps),
            "weight_decay": lambda _: jnp.float32(own.weight_decay),
        }
        if own.clip is not None:
            schedules["clip"] = lambda _: jnp.float32(own.clip)
        mean = None if own.ema is None else mean_decay(own.ema)
        return Optimiser(injected("clip" in schedules), schedules, mean)

    def knobs(self, phase: Phase) -> Knobs | StudentKnobs:
        """Weights of losses, and the targets; their type tells the phase."""
        own, training = self.own, self.config.training
        knobs = Knobs(
            class_loss=jnp.float32(own.class_loss),
            smoothed_loss=jnp.float32(own.smoothed_loss),
            smoothing=jnp.float32(own.smoothing),
            attribute_loss=jnp.float32(training.attribute_loss),
            one_hot=jnp.float32(training.targets == "one_hot"),
        )
        if phase.name == TEACHER:
            return knobs
        return StudentKnobs(
            knobs,
            distillation=jnp.float32(own.distillation),
            feature_loss=jnp.float32(own.feature_loss),
            temperature=jnp.float32(own.temperature),
        )

    def draw(self, key: Array, knobs: Any, size: int) -> tuple[()]:
        """Nothing: noise comes from the step's own key."""
        return ()

    def view(self, batch: DialogueBatch) -> DialogueBatch:
        """The member's modalities as slots."""
        return batch.of(self.config.modalities)

    def loss(
        self,
        model: Summer,
        batch: DialogueBatch,
        knobs: Knobs | StudentKnobs,
        drawn: tuple[()],
        key: Array,
    ) -> tuple[Array, Array]:
        """κ1 · distillation + κ2 · cross-entropy + κ3 · cross-entropy on smoothed labels, beside
        squared errors of features and attributes; the teacher is not distilled.
        """
        turns = turns_of(self.own, batch)
        if isinstance(knobs, Knobs):
            found, total, parts = _supervised(model.teach(turns, key), batch, knobs)
            return total, jnp.stack([total, *parts[:2], 0.0, 0.0, parts[2], found.off])
        student, teacher, crossed_buc = model.learn(turns, key)
        found, total, parts = _supervised(student, batch, knobs.own)
        distilled = distillation_loss(
            crossed_buc, teacher.logits_buc, batch.mask, knobs.temperature
        )
        inner = feature_loss(student.features_buw, teacher.features_buw, batch.mask)
        total += knobs.distillation * distilled + knobs.feature_loss * inner
        return total, jnp.stack([total, *parts[:2], distilled, inner, parts[2], found.off])

    def predict(self, model: Summer, batch: DialogueBatch) -> dict[str, Array]:
        """Logits `[b, u, c]` over all targets, attributes `[b, u, 3]` on 1–7, and the teacher's
        logits, of as many turns as the longest shape has.
        """
        turns = turns_of(self.own, batch)
        teacher = model.teach(turns)
        found = model(turns) if self.has_student else teacher
        spare = self.facts.longest - turns.mask_bu.shape[1]

        def filled(x_buz: Array) -> Array:
            return jnp.pad(x_buz, ((0, 0), (0, spare), (0, 0)))

        return {
            "logits": filled(found.logits_buc),
            "attributes": filled(found.attributes_bua),
            TEACHER: filled(teacher.logits_buc),
        }

    def score(self, predicted: dict[str, np.ndarray], phase: Phase) -> float:
        """Weighted F1 of the held-out dialogues, of the teacher in its phase."""
        return self._scores(predicted, phase, self.facts.labels)[0]

    def watch(self, predicted: dict[str, np.ndarray], phase: Phase) -> dict[str, float]:
        """Weighted F1 and accuracy of the test part, which choose nothing."""
        f1, accuracy = self._scores(predicted, phase, self.facts.tested)
        return {"test_weighted_f1": f1, "test_accuracy": accuracy}

    def _scores(
        self, predicted: dict[str, np.ndarray], phase: Phase, labels_nu: np.ndarray
    ) -> tuple[float, float]:
        logits_nuc = predicted[TEACHER if phase.name == TEACHER else "logits"]
        guesses_nu = logits_nuc[..., : len(self.facts.classes)].argmax(axis=-1)
        known_nu = labels_nu >= 0
        truth, guesses = labels_nu[known_nu], guesses_nu[known_nu]
        f1 = f1_score(truth, guesses, average="weighted", zero_division=0.0)
        return float(f1), float((truth == guesses).mean())

    def describe(self) -> dict[str, Any]:
        """Classes and attributes in order, and the modalities' widths and extractors."""
        names, facts = self.config.modalities, self.facts
        return {
            "classes": list(facts.classes),
            "targets": list(facts.targets),
            "attributes": list(facts.attributes),
            "modalities": list(names),
            "widths": [facts.widths[name] for name in names],
            "extractors": {name: facts.extractors.get(name) for name in names},
        }


def turns_of(own: ConversationConfig, batch: DialogueBatch) -> Turns:
    """A viewed batch as the model reads it, with speakers in the slots that it has."""
    speaker_bu = batch.rank if own.speakers == "names" else batch.order
    return Turns(
        tuple(batch.streams),
        jnp.stack(batch.present, axis=-1) > 0,
        jnp.minimum(speaker_bu, own.speaker_slots - 1),
        batch.mask > 0,
        batch.first > 0,
    )


def _supervised(
    found: Outcome, batch: DialogueBatch, knobs: Knobs
) -> tuple[Outcome, Array, tuple[Array, Array, Array]]:
    """An outcome with its weighted loss on labels and ratings, and that loss's parts."""
    target_buc = jnp.where(knobs.one_hot > 0, batch.one_hot, batch.soft)
    classes = target_buc.shape[-1]
    flat_nc = smoothed(target_buc.reshape(-1, classes), knobs.smoothing)
    parts = (
        cross_entropy(found.logits_buc, target_buc),
        cross_entropy(found.logits_buc, flat_nc.reshape(target_buc.shape)),
        attribute_loss(
            found.attributes_bua.reshape(-1, 3),
            batch.attributes.reshape(-1, 3),
            batch.rated.reshape(-1, 3),
        ),
    )
    total = knobs.class_loss * parts[0] + knobs.smoothed_loss * parts[1]
    return found, total + knobs.attribute_loss * parts[2], parts
