"""DeepSER: N modalities, an encoder each, fused layer by layer (paper Algorithm 2).

Legend: `b` utterance, `t` frame, `d` feature width, `h` hidden width, `c` class, `a` attribute;
lists run over modalities.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from medusa_jax.config.model import ModelConfig
from medusa_jax.layers.coded import Coded, frames_of
from medusa_jax.layers.matmul import matmul_precision
from medusa_jax.models.encoder import Encoder, linear, seeds_of

Slot = Float[Array, "b _ _"] | Coded
"""One modality's padded frames, float or in eight bits."""
LOW, HIGH = 1.0, 7.0
"""The range of arousal, valence and dominance."""
FARTHEST = 10.0
"""Standardised features stop at this many deviations: openSMILE's reach thousands."""


class Statistic(nnx.Variable):
    """A number measured on the training data, not trained."""


class Frames(nnx.Module):
    """Preparation of one modality's raw frames: standardised, padding set to zero, neighbours
    stacked.
    """

    def __init__(self, width: int, stack: int, standardised: bool) -> None:
        self.mean = Statistic(jnp.zeros(width))
        self.scale = Statistic(jnp.ones(width))
        self.stack, self.limit = stack, FARTHEST if standardised else None

    def __call__(
        self, x_btd: Slot, length_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b u e"], Bool[Array, "b u"]]:
        """Stacked frames and which of them are valid: a stack that holds one real frame is, zeros
        fill its rest.

        An utterance of length 0 (its features are missing) has one valid frame of zeros.
        """
        x_btd = frames_of(x_btd)
        b, t, d = x_btd.shape
        real_bt = jnp.arange(t) < length_b[:, None]
        x_btd = jnp.where(real_bt[:, :, None], (x_btd - self.mean[...]) * self.scale[...], 0)
        if self.limit is not None:
            x_btd = jnp.clip(x_btd, -self.limit, self.limit)
        valid_bt = real_bt.at[:, 0].set(True)
        rest = -t % self.stack
        x_btd = jnp.pad(x_btd, ((0, 0), (0, rest), (0, 0)))
        valid_bt = jnp.pad(valid_bt, ((0, 0), (0, rest)))
        return x_btd.reshape(b, -1, self.stack * d), valid_bt[:, :: self.stack]


class DeepSER(nnx.Module):
    """The member of the ensemble.

    `fuse` gives the fused representation, `heads` the predictions from it; Manifold MixUp stands
    between the two in training. With `key=None` nothing is dropped. Modality k reads slot k of a
    batch: `widths[k]` features a frame, of which `stacks[k]` neighbours (1 if not given) are joined
    into one.
    """

    def __init__(
        self,
        config: ModelConfig,
        widths: Sequence[int],
        classes: int,
        stacks: Sequence[int] | None = None,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        h, deep = config.hidden, config.fusion == "deep"
        sizes = list(zip(widths, stacks or [1] * len(widths), strict=True))
        frames = [Frames(width, stack, config.standardise) for width, stack in sizes]
        self.frames = nnx.List(frames)
        encoders = [Encoder(width * stack, config, rngs=rngs) for width, stack in sizes]
        self.encoders = nnx.List(encoders)
        fusions = [Encoder(h, config, rngs=rngs) for _ in range(config.layers if deep else 0)]
        self.fusions = nnx.List(fusions)
        self.project = linear(h * (len(sizes) + deep), h, rngs)
        self.classify = linear(h, classes, rngs)
        self.regress = linear(h, 3, rngs)
        self.layers, self.precision = config.layers, config.precision

    def fuse(
        self,
        inputs: Sequence[Slot],
        lengths: Sequence[Int[Array, " b"]],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "b h"]:
        """`x` of Algorithm 2, before MixUp, from padded frames `[b, t_k, d_k]` and their valid
        `lengths`.
        """
        with matmul_precision(self.precision):
            return self._fused(inputs, lengths, key)

    def _fused(
        self,
        inputs: Sequence[Slot],
        lengths: Sequence[Int[Array, " b"]],
        key: PRNGKeyArray | None,
    ) -> Float[Array, "b h"]:
        count = len(self.encoders) + len(self.fusions)
        seeds = iter([None] * count if key is None else seeds_of(key, count, self.layers))
        slots = zip(self.frames, inputs, lengths, strict=True)
        framed = [frames(x_btd, length_b) for frames, x_btd, length_b in slots]
        valids = [valid for _, valid in framed]
        paired = zip(self.encoders, framed, strict=True)
        encoded = [encode(x, valid, next(seeds)) for encode, (x, valid) in paired]
        pooled = [mean for _, mean in encoded]
        fused: list[Array] = []
        fused_valid: list[Array] = []
        # f1 takes every h1; f2 takes every h2 and f1's last layer
        for level, fusion in enumerate(self.fusions):
            joined_valid = jnp.concatenate(valids + fused_valid, axis=1)
            joined = jnp.concatenate([outputs[level] for outputs, _ in encoded] + fused, axis=1)
            outputs, mean = fusion(joined, joined_valid, next(seeds))
            fused, fused_valid = [outputs[-1]], [joined_valid]
        return self.project(jnp.concatenate([*pooled, mean] if self.fusions else pooled, axis=-1))

    def heads(self, x_bh: Float[Array, "b h"]) -> tuple[Float[Array, "b c"], Float[Array, "b 3"]]:
        """Class logits, and arousal, valence, dominance on 1–7."""
        active_bh = jax.nn.relu(x_bh)
        with matmul_precision(self.precision):
            share_ba = jax.nn.sigmoid(self.regress(active_bh))
            return self.classify(active_bh), LOW + (HIGH - LOW) * share_ba

    def __call__(
        self, inputs: Sequence[Slot], lengths: Sequence[Int[Array, " b"]]
    ) -> tuple[Float[Array, "b c"], Float[Array, "b 3"]]:
        """Predictions without dropout or MixUp: logits and attributes."""
        return self.heads(self.fuse(inputs, lengths))
