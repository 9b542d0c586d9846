"""HCMF: streams of a dialogue fused one after the other by attention, which a teacher's corrects.

Legend: `b` dialogue, `u` utterance of a dialogue, `t` querying utterance, `s` utterance that is
seen, `w` width, `n` head, `e` width of a head, `k` stream.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, UInt32

from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.layers.attention import by_head, together
from medusa_jax.layers.dropout import dropout
from medusa_jax.layers.layer_norm import layer_norm, normalised
from medusa_jax.layers.matmul import contract, dense
from medusa_jax.models.encoder import linear
from medusa_jax.models.rows import Rows

DROPOUTS = 2  # of a block: attention weights, attended
_NEVER = -1e30


class Attended(NamedTuple):
    """A block's attention, before and after its softmax, and which utterances it sees."""

    scores_bnts: Float[Array, "b n t s"]
    weights_bnts: Float[Array, "b n t s"]
    sees_bts: Bool[Array, "b t s"]


class Block(nnx.Module):
    """One stream queries another: attention, a residual and a norm."""

    def __init__(self, config: ConversationConfig, *, rngs: nnx.Rngs) -> None:
        w = config.width
        self.query, self.key, self.value, self.out = (linear(w, w, rngs) for _ in range(4))
        self.norm = layer_norm(w, rngs)
        self.config = config

    def __call__(
        self,
        x_btw: Float[Array, "b t w"],
        other_bsw: Float[Array, "b s w"],
        sees_bts: Bool[Array, "b t s"],
        seeds: UInt32[Array, "2 2"] | None = None,
        teacher: Attended | None = None,
    ) -> tuple[Float[Array, "b t w"], Attended]:
        """`x` with what it finds in `other`, and the attention. Where nothing is seen, zeros are
        found.
        """
        s_weights, s_attended = (None,) * DROPOUTS if seeds is None else seeds
        rate, heads = self.config.dropout, self.config.heads
        q_bnte, k_bnse, v_bnse = (
            by_head(dense(layer, x_buw, jnp.float32), heads)
            for layer, x_buw in (
                (self.query, x_btw),
                (self.key, other_bsw),
                (self.value, other_bsw),
            )
        )
        attended = self._attend(q_bnte, k_bnse, sees_bts, teacher)
        weights_bnts = dropout(attended.weights_bnts, rate, s_weights)
        mixed_bnte = contract("bnts,bnse->bnte", weights_bnts, v_bnse, jnp.float32)
        found_btw = dense(self.out, together(mixed_bnte), jnp.float32)
        found_btw = jnp.where(sees_bts.any(axis=-1, keepdims=True), found_btw, 0)
        return normalised(self.norm, x_btw + dropout(found_btw, rate, s_attended)), attended

    def _attend(
        self, q_bnte: Array, k_bnse: Array, sees_bts: Array, teacher: Attended | None
    ) -> Attended:
        """DynAttn: scores or weights, moved toward the teacher's where they are far from them."""
        scores_bnts = contract("bnte,bnse->bnts", q_bnte, k_bnse, jnp.float32)
        scores_bnts = scores_bnts / math.sqrt(q_bnte.shape[-1])
        if teacher is not None and self.config.corrected == "scores":
            both_bts = sees_bts & teacher.sees_bts
            scores_bnts = self._corrected(scores_bnts, teacher.scores_bnts, both_bts)
        sees_b1ts = sees_bts[:, None]
        weights_bnts = jax.nn.softmax(jnp.where(sees_b1ts, scores_bnts, _NEVER))
        weights_bnts = jnp.where(sees_b1ts, weights_bnts, 0)
        if teacher is not None and self.config.corrected == "weights":
            both_bts = sees_bts & teacher.sees_bts
            weights_bnts = self._corrected(weights_bnts, teacher.weights_bnts, both_bts)
        return Attended(scores_bnts, weights_bnts, sees_bts)

    def _corrected(self, own_bnts: Array, teacher_bnts: Array, both_bts: Array) -> Array:
        gap_bnts = teacher_bnts - own_bnts
        far_bnts = both_bts[:, None] & (jnp.abs(gap_bnts) > self.config.correction_beyond)
        return own_bnts + jnp.where(far_bnts, self.config.correction * gap_bnts, 0)


class Fusion(nnx.Module):
    """Any number of streams into one. Of a single one, each utterance queries the others."""

    def __init__(self, config: ConversationConfig, streams: int, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.pairs = pairs_of(config, streams)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in self.pairs])

    def __call__(
        self,
        streams: Sequence[Float[Array, "b u w"]],
        rows: Rows,
        present_buk: Bool[Array, "b u k"],
        seeds: UInt32[Array, "_ 2 2"] | None = None,
        teacher: Sequence[Attended] = (),
    ) -> tuple[Float[Array, "b u w"], list[Attended]]:
        """The fused stream, and every block's attention. A block past the teacher's last is
        compared with that one.
        """
        plain = self.config.fusion == "plain" and len(streams) > 1
        attention: list[Attended] = []
        found: list[Array] = []
        x_buw = streams[0]
        for i, (block, (query, key)) in enumerate(zip(self.blocks, self.pairs, strict=True)):
            sees_bts = rows.visible(present_buk[..., key], self.config.context)
            asking_buw = streams[query] if plain else x_buw
            own_seeds = None if seeds is None else seeds[i]
            example = teacher[min(i, len(teacher) - 1)] if teacher else None
            x_buw, attended = block(asking_buw, streams[key], sees_bts, own_seeds, example)
            attention.append(attended)
            found.append(x_buw)
        if plain:  # every stream has the same number of blocks
            x_buw = sum([*streams, *found], jnp.zeros_like(x_buw)) / (len(streams) + len(found))
        return x_buw, attention


def pairs_of(config: ConversationConfig, streams: int) -> tuple[tuple[int, int], ...]:
    """Streams that query and that are queried, block by block."""
    if streams == 1:
        return ((0, 0),)
    if config.fusion == "plain":
        return tuple(itertools.permutations(range(streams), 2))
    return tuple((0, k) for k in range(1, streams))
