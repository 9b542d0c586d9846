"""A classifier on pretrained speech encoders that are trained with it.

Hidden states of an encoder → their learned average → pooling over time → conditioning on gender and
text → projection → heads, as in WavLM's adaptation to MSP-Podcast (Diatlova et al., 2024).

Legend: `b` utterance, `t` frame, `l` layer, `h` hidden, `w` pooled, `c` class, `a` attribute, `g`
gender; lists run over encoders.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from medusa_jax.backbones.pretrained import Backbone
from medusa_jax.config.finetuning import FinetuningConfig
from medusa_jax.corpus.table import GENDERS
from medusa_jax.layers.coded import Coded, frames_of
from medusa_jax.layers.dropout import dropout, seed_of
from medusa_jax.layers.layer_norm import layer_norm
from medusa_jax.layers.matmul import dense, matmul_precision, operand_type
from medusa_jax.layers.pooling import Pooling, mean_of
from medusa_jax.models.deepser import HIGH, LOW
from medusa_jax.models.encoder import linear


class Heads(NamedTuple):
    """Predictions from the conditioned vector; those of gender and secondary emotions only if the
    configuration asks for them.
    """

    logits_bc: Float[Array, "b c"]
    attributes_ba: Float[Array, "b 3"]  # arousal, valence, dominance on 1-7
    gender_bg: Float[Array, "b 2"] | None  # logits
    secondary_bc: Float[Array, "b c"] | None  # logits of each class's share of raters


Slot = Float[Array, "b _ _"] | Coded
_DEVIATION = 0.02


class Finetuned(nnx.Module):
    """`pool` gives the conditioned vector, `heads` the predictions from it; MixUp stands between.

    Slots of a batch are the encoders' inputs first, then those whose mean frame is the text.
    """

    def __init__(
        self,
        config: FinetuningConfig,
        backbones: Sequence[Backbone],
        text_widths: Sequence[int],
        classes: int,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.backbones = nnx.List(backbones)
        zeros = [nnx.Param(jnp.zeros(one.layers + 1)) for one in backbones]
        self.layer_weights = nnx.List(zeros)
        pools = [Pooling(config.pooling, one.hidden, rngs=rngs) for one in backbones]
        self.pools = nnx.List(pools)
        w = sum(pool.width for pool in pools)
        self.gender = _embedding(w, config.gender, rngs) if config.gender != "none" else None
        reads = config.text != "none"
        texts = [linear(width, w, rngs) for width in text_widths] if reads else []
        self.texts = nnx.List(texts)
        self.project = linear(w, config.width, rngs)
        self.norm = layer_norm(config.width, rngs)
        self.classify = linear(config.width, classes, rngs)
        self.regress = linear(config.width, 3, rngs)
        predicts = config.gender_loss > 0
        self.tell_gender = linear(config.width, len(GENDERS), rngs) if predicts else None
        more = config.secondary_loss > 0
        self.secondary = linear(config.width, classes, rngs) if more else None
        self.by_gender, self.by_text, self.dropout = config.gender, config.text, config.dropout
        self.noise, self.remat, self.precision = config.noise, config.remat, config.precision
        self.frozen = tuple(
            0 if config.top_layers is None else max(0, one.layers - config.top_layers)
            for one in backbones
        )

    def pool(
        self,
        inputs: Sequence[Slot],
        lengths: Sequence[Int[Array, " b"]],
        gender_b: Int[Array, " b"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "b w"]:
        """The vector of each utterance, conditioned; with a `key`, under the noise of training."""
        frames = [frames_of(slot) for slot in inputs]
        with matmul_precision(self.precision):
            return self._pooled(frames, lengths, gender_b, key)

    def _pooled(
        self,
        frames: Sequence[Array],
        lengths: Sequence[Array],
        gender_b: Array,
        key: PRNGKeyArray | None,
    ) -> Array:
        parts = []
        for place in range(len(self.backbones)):
            own = None if key is None else jax.random.fold_in(key, place)
            parts.append(self._encoded(place, frames[place], lengths[place], own))
        x_bw = jnp.concatenate(parts, axis=1)
        if self.gender is not None:
            x_bw = _conditioned(x_bw, self.gender[...][gender_b], self.by_gender)
        others = zip(self.texts, frames[len(parts) :], lengths[len(parts) :], strict=False)
        for project, x_btd, length_b in others:
            valid_bt = jnp.arange(x_btd.shape[1]) < length_b[:, None]
            mean_bd = mean_of(x_btd, valid_bt)
            x_bw = _conditioned(x_bw, dense(project, mean_bd, self._compute), self.by_text)
        return x_bw

    def _encoded(
        self, place: int, x_btd: Array, length_b: Array, key: PRNGKeyArray | None
    ) -> Array:
        """The statistics of one encoder's averaged states."""
        key = key if self.noise else None
        settings = self._compute, self.remat, key, self.frozen[place]
        states = self.backbones[place](x_btd, length_b, *settings)
        share_l = jax.nn.softmax(self.layer_weights[place][...])
        averaged_bth = jnp.einsum("l,lbth->bth", share_l, states.states_lbth)
        return self.pools[place](averaged_bth, states.valid_bt, self._compute)

    @property
    def _compute(self) -> jnp.dtype:
        return operand_type(self.precision)

    def heads(self, x_bw: Float[Array, "b w"], key: PRNGKeyArray | None = None) -> Heads:
        """The predictions; with a `key`, under dropout."""
        with matmul_precision(self.precision):
            x_bh = jax.nn.relu(self.norm(dense(self.project, x_bw, self._compute)))
            seed = None if key is None else seed_of(key)
            x_bh = dropout(x_bh, self.dropout, seed)
            share_ba = jax.nn.sigmoid(dense(self.regress, x_bh, self._compute))
            attributes_ba = LOW + (HIGH - LOW) * share_ba
            gender_bg, secondary_bc = (
                None if head is None else dense(head, x_bh, self._compute)
                for head in (self.tell_gender, self.secondary)
            )
            logits_bc = dense(self.classify, x_bh, self._compute)
            return Heads(logits_bc, attributes_ba, gender_bg, secondary_bc)


def _embedding(width: int, how: str, rngs: nnx.Rngs) -> nnx.Param:
    """A row for each gender and one for unknown, near what changes nothing: 1 where they multiply,
    else 0.
    """
    noise_gw = _DEVIATION * jax.random.normal(rngs.params(), (len(GENDERS) + 1, width))
    return nnx.Param(noise_gw + (how == "multiply"))


def _conditioned(x_bw: Array, by_bw: Array, how: str) -> Array:
    """The mean of both, or their product."""
    return (x_bw + by_bw) / 2 if how == "sum" else x_bw * by_bw
