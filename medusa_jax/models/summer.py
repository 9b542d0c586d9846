"""SUMMER: emotion of each utterance of a dialogue from several streams, taught by one of them
(arXiv 2503.23721).

Legend: `b` dialogue, `u` utterance of a dialogue, `k` stream (modality), `d` its feature width,
`w` width, `e` expert, `c` class, `a` attribute.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.errors import ConfigError
from medusa_jax.layers.dropout import dropout, seed_of
from medusa_jax.layers.matmul import dense
from medusa_jax.models.deepser import FARTHEST, HIGH, LOW, Statistic
from medusa_jax.models.encoder import linear
from medusa_jax.models.experts import Experts
from medusa_jax.models.fusion import DROPOUTS, Attended, Fusion, pairs_of
from medusa_jax.models.rows import Rows, rows_of

_WAVELENGTH = 10_000.0
"""Of the slowest sinusoid, by 2π."""


class Turns(NamedTuple):
    """Dialogues, one behind the other in rows that are padded at their end."""

    streams: tuple[Float[Array, "b u _"], ...]
    present_buk: Bool[Array, "b u k"]
    speaker_bu: Int[Array, "b u"]
    mask_bu: Bool[Array, "b u"]
    first_bu: Bool[Array, "b u"]  # begins a dialogue


class Outcome(NamedTuple):
    """Predictions of every utterance, those at padding to be ignored."""

    logits_buc: Float[Array, "b u c"]
    attributes_bua: Float[Array, "b u 3"]  # on 1–7
    features_buw: Float[Array, "b u w"]
    off: Float[Array, ""]  # share of experts switched off, over real utterances


class Embedding(nnx.Module):
    """U of each stream: its features projected, plus speaker and position (section 2.1)."""

    def __init__(
        self, config: ConversationConfig, widths: Sequence[int], *, rngs: nnx.Rngs
    ) -> None:
        w = config.width
        self.config = config
        self.projects = nnx.List([linear(d, w, rngs) for d in widths])
        self.missing = nnx.Param(jnp.zeros((len(widths), w)))
        if config.speakers != "none":
            slots = (config.speaker_slots, w)
            self.speakers = nnx.Param(jax.random.normal(rngs.params(), slots) / math.sqrt(w))

    def __call__(self, turns: Turns, rows: Rows) -> list[Float[Array, "b u w"]]:
        """One array a stream. A missing stream's features are not read."""
        shared_buw = self._shared(turns, rows)
        found = []
        for k, (project, x_bud) in enumerate(zip(self.projects, turns.streams, strict=True)):
            present_bu1 = (turns.present_buk[..., k] & turns.mask_bu)[..., None]
            x_buw = dense(project, jnp.where(present_bu1, x_bud, 0), jnp.float32)
            found.append(jnp.where(present_bu1, x_buw, self.missing[...][k]) + shared_buw)
        return found

    def _shared(self, turns: Turns, rows: Rows) -> Array:
        """What every stream gets: the speaker's embedding and the position's."""
        (b, u), w = turns.mask_bu.shape, self.config.width
        shared_buw = jnp.zeros((b, u, w))
        if self.config.positions == "sinusoidal":
            shared_buw = shared_buw + jnp.asarray(sinusoids(u, w))[rows.place_bu]
        if self.config.speakers != "none":
            slots_bus = jax.nn.one_hot(turns.speaker_bu, self.config.speaker_slots)
            shared_buw = shared_buw + slots_bus @ self.speakers[...]
        return shared_buw


def sinusoids(places: int, width: int) -> Float[np.ndarray, "u w"]:
    """Sines and cosines of each place by turns, as in the Transformer."""
    rate_w = _WAVELENGTH ** (-np.arange(0, width, 2) / width)
    angle_uw = np.arange(places)[:, None] * rate_w
    pairs_uw2 = np.stack([np.sin(angle_uw), np.cos(angle_uw)], axis=-1)
    return pairs_uw2.reshape(places, width).astype(np.float32)


class Network(nnx.Module):
    """A teacher or a student: embedding, experts of each stream, fusion, experts of the fused
    stream, and two heads. `reads` are its streams among the member's.
    """

    def __init__(
        self,
        config: ConversationConfig,
        reads: Sequence[int],
        widths: Sequence[int],
        classes: int,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.config, self.reads = config, tuple(reads)
        self.embed = Embedding(config, [widths[k] for k in reads], rngs=rngs)
        self.experts = nnx.List([Experts(config, rngs=rngs) for _ in reads])
        self.fuse = Fusion(config, len(reads), rngs=rngs)
        if config.global_experts:
            self.global_experts = Experts(config, rngs=rngs)
        self.classify = linear(config.width, classes, rngs)
        zeros = jax.nn.initializers.zeros  # attributes start at mid-scale
        self.regress = nnx.Linear(config.width, 3, kernel_init=zeros, bias_init=zeros, rngs=rngs)

    def __call__(
        self, turns: Turns, key: PRNGKeyArray | None = None, teacher: Sequence[Attended] = ()
    ) -> tuple[Outcome, list[Attended]]:
        """Predictions, and the attention of every block, which the teacher's corrects."""
        turns = turns._replace(
            streams=tuple(turns.streams[k] for k in self.reads),
            present_buk=turns.present_buk[..., np.array(self.reads)],
        )
        gates = len(self.reads) + self.config.global_experts
        noise = Noise(self.config, turns, gates, key)
        rate, mask_bu = self.config.dropout, turns.mask_bu
        rows = rows_of(mask_bu, turns.first_bu)
        streams, off = [], jnp.zeros(mask_bu.shape)
        for k, x_buw in enumerate(self.embed(turns, rows)):
            x_buw = dropout(x_buw, rate, noise.single(k))
            x_buw, off_bu = self.experts[k](x_buw, rows, noise.gate(k))
            streams.append(x_buw)
            off = off + off_bu
        fused_buw, attention = self.fuse(streams, rows, turns.present_buk, noise.blocks(), teacher)
        if self.config.global_experts:
            fused_buw, off_bu = self.global_experts(fused_buw, rows, noise.gate(gates - 1))
            off = off + off_bu
        fused_buw = dropout(fused_buw, rate, noise.single(len(self.reads)))
        off_mean = jnp.where(mask_bu, off, 0).sum() / (gates * jnp.maximum(mask_bu.sum(), 1))
        return self._outcome(jnp.where(mask_bu[..., None], fused_buw, 0), off_mean), attention

    def _outcome(self, features_buw: Array, off: Array) -> Outcome:
        share_bua = jax.nn.sigmoid(dense(self.regress, features_buw, jnp.float32))
        logits_buc = dense(self.classify, features_buw, jnp.float32)
        return Outcome(logits_buc, LOW + (HIGH - LOW) * share_bua, features_buw, off)


class Noise:
    """Random numbers of one training step: a seed for each dropout and Gumbel noise for each gate;
    without a key there are none.
    """

    def __init__(
        self, config: ConversationConfig, turns: Turns, gates: int, key: PRNGKeyArray | None
    ) -> None:
        self.streams, self.seeds, self.gumbel = len(turns.streams), None, None
        if key is None:
            return
        k_seeds, k_gumbel = jax.random.split(key)
        blocks = len(pairs_of(config, self.streams))
        count = self.streams + 1 + blocks * DROPOUTS
        # all at once: each call of JAX's generator is a hundred operations to compile
        self.seeds = jax.vmap(seed_of)(jax.random.split(k_seeds, count))
        if config.routing != "none" and config.gumbel > 0:
            shape = (gates, *turns.mask_bu.shape, config.experts)
            self.gumbel = jax.random.gumbel(k_gumbel, shape)

    def single(self, i: int) -> Array | None:
        """The seed of stream `i`'s embedding, or of the fused stream after the last."""
        return None if self.seeds is None else self.seeds[i]

    def blocks(self) -> Array | None:
        """Seeds of the fusion."""
        if self.seeds is None:
            return None
        return self.seeds[self.streams + 1 :].reshape(-1, DROPOUTS, 2)

    def gate(self, i: int) -> Array | None:
        """Gumbel noise of the gate `i`, `[b, u, e]`."""
        return None if self.gumbel is None else self.gumbel[i]


class Summer(nnx.Module):
    """The member: a teacher on some of its modalities and a student on all of them.

    Features are standardised by `means` and `scales` of each modality, one unless set, and stop at
    ten deviations.
    """

    def __init__(
        self,
        config: ConversationConfig,
        modalities: Sequence[str],
        widths: Mapping[str, int],
        classes: int,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        sizes = [widths[name] for name in modalities]
        self.config = config
        self.means = nnx.List([Statistic(jnp.zeros(d)) for d in sizes])
        self.scales = nnx.List([Statistic(jnp.ones(d)) for d in sizes])
        reads = teaching(config, modalities)
        self.teacher = Network(config, reads, sizes, classes, rngs=rngs)
        self.student = Network(config, range(len(sizes)), sizes, classes, rngs=rngs)

    def teach(self, turns: Turns, key: PRNGKeyArray | None = None) -> Outcome:
        """The teacher's predictions; with a key, with dropout and Gumbel noise."""
        return self.teacher(self._standardised(turns), key)[0]

    def __call__(self, turns: Turns, key: PRNGKeyArray | None = None) -> Outcome:
        """The student's predictions, its attention corrected by the teacher's without noise."""
        turns = self._standardised(turns)
        teacher: list[Attended] = []
        if self.corrects:
            teacher = self._frozen()(turns)[1]
        return self.student(turns, key, teacher)[0]

    def learn(
        self, turns: Turns, key: PRNGKeyArray | None = None
    ) -> tuple[Outcome, Outcome, Float[Array, "b u c"]]:
        """The student's predictions, the teacher's without noise, and logits of the teacher's
        classifier on the student's features. The teacher's weights get no gradient.
        """
        turns, teacher = self._standardised(turns), self._frozen()
        taught, attention = teacher(turns)
        learnt, _ = self.student(turns, key, attention if self.corrects else ())
        return learnt, taught, dense(teacher.classify, learnt.features_buw, jnp.float32)

    @property
    def corrects(self) -> bool:
        """Tell whether the student's attention follows the teacher's."""
        return self.config.correction > 0 and self.config.fusion == "hierarchical"

    def _frozen(self) -> Network:
        graph, state = nnx.split(self.teacher)
        return nnx.merge(graph, jax.tree.map(jax.lax.stop_gradient, state))

    def _standardised(self, turns: Turns) -> Turns:
        parts = zip(turns.streams, self.means, self.scales, strict=True)
        scaled = [(x_bud - mean[...]) * scale[...] for x_bud, mean, scale in parts]
        return turns._replace(
            streams=tuple(jnp.clip(x_bud, -FARTHEST, FARTHEST) for x_bud in scaled)
        )


def teaching(config: ConversationConfig, modalities: Sequence[str]) -> list[int]:
    """Places of the teacher's modalities among the member's.

    Raises `ConfigError` for one that the member does not have.
    """
    names = config.teacher or tuple(modalities[:1])
    if unknown := sorted(set(names) - set(modalities)):
        raise ConfigError(
            f"the member has no modality {unknown[0]!r}",
            where="conversation.teacher",
            hint=f"one or more of {', '.join(modalities)}",
        )
    return [list(modalities).index(name) for name in names]
