"""DeepSER: N modalities, an encoder each, fused layer by layer (spec section 2, paper Algorithm 2).

Legend: `b` utterance, `t` frame, `d` feature width, `h` hidden width, `c` class, `a` attribute; lists run over modalities.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from medusa_jax.config.model import ModelConfig
from medusa_jax.models.encoder import Encoder, linear

LOW, HIGH = 1.0, 7.0
"""The range of arousal, valence and dominance."""
FARTHEST = 10.0
"""Standardised features stop at this many deviations: openSMILE's reach thousands."""


class Statistic(nnx.Variable):
    """A number measured on the training data, not trained."""


class Frames(nnx.Module):
    """What happens to one modality's raw frames: standardised, padding set to zero, neighbours stacked."""

    def __init__(self, width: int, stack: int, standardised: bool) -> None:
        self.mean = Statistic(jnp.zeros(width))
        self.scale = Statistic(jnp.ones(width))
        self.stack, self.limit = stack, FARTHEST if standardised else None

    def __call__(
        self, x_btd: Float[Array, "b t d"], length_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b u e"], Bool[Array, "b u"]]:
        """Stacked frames and which of them are valid: a stack that holds one real frame is, zeros fill its rest.

        An utterance of length 0 (its features are missing) has one valid frame of zeros.
        """
        x_btd = jnp.asarray(x_btd, jnp.float32)
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

    `fuse` gives the fused representation, `heads` the predictions from it; Manifold MixUp stands between the two in
    training. With `key=None` nothing is dropped. `widths` maps each modality's name to its feature width; of what a batch
    holds, the model takes these modalities by name.
    """

    def __init__(
        self, config: ModelConfig, widths: Mapping[str, int], classes: int, *, rngs: nnx.Rngs
    ) -> None:
        h = config.hidden
        stacks = [config.stack.get(name, 1) for name in widths]
        self.modalities = tuple(widths)
        self.frames = nnx.List(
            [
                Frames(width, stack, config.standardise)
                for width, stack in zip(widths.values(), stacks, strict=True)
            ]
        )
        self.encoders = nnx.List(
            [
                Encoder(width * stack, config, rngs=rngs)
                for width, stack in zip(widths.values(), stacks, strict=True)
            ]
        )
        self.fusions = nnx.List(
            [
                Encoder(h, config, rngs=rngs)
                for _ in range(config.layers if config.fusion == "deep" else 0)
            ]
        )
        self.project = linear(h * (len(widths) + (config.fusion == "deep")), h, rngs)
        self.classify = linear(h, classes, rngs)
        self.regress = linear(h, 3, rngs)

    def fuse(
        self,
        inputs: Mapping[str, Float[Array, "b _ _"]],
        lengths: Mapping[str, Int[Array, " b"]],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "b h"]:
        """`x` of Algorithm 2, before MixUp. By modality, `inputs` are `[b, t_k, d_k]`, padded; `lengths` count their valid frames."""
        count = len(self.encoders) + len(self.fusions)
        keys = iter([None] * count if key is None else jax.random.split(key, count))
        framed = [
            frames(inputs[name], lengths[name])
            for frames, name in zip(self.frames, self.modalities, strict=True)
        ]
        valids = [valid for _, valid in framed]
        encoded = [
            encode(x, valid, next(keys))
            for encode, (x, valid) in zip(self.encoders, framed, strict=True)
        ]
        pooled = [mean for _, mean in encoded]
        fused: list[Array] = []
        fused_valid: list[Array] = []
        for level, fusion in enumerate(
            self.fusions
        ):  # f1 takes every h1; f2 takes every h2 and f1's last layer
            joined_valid = jnp.concatenate(valids + fused_valid, axis=1)
            joined = jnp.concatenate([outputs[level] for outputs, _ in encoded] + fused, axis=1)
            outputs, mean = fusion(joined, joined_valid, next(keys))
            fused, fused_valid = [outputs[-1]], [joined_valid]
        return self.project(jnp.concatenate([*pooled, mean] if self.fusions else pooled, axis=-1))

    def heads(self, x_bh: Float[Array, "b h"]) -> tuple[Float[Array, "b c"], Float[Array, "b 3"]]:
        """Class logits, and arousal, valence, dominance on 1–7."""
        active_bh = jax.nn.relu(x_bh)
        return self.classify(active_bh), LOW + (HIGH - LOW) * jax.nn.sigmoid(
            self.regress(active_bh)
        )

    def __call__(
        self, inputs: Mapping[str, Float[Array, "b _ _"]], lengths: Mapping[str, Int[Array, " b"]]
    ) -> tuple[Float[Array, "b c"], Float[Array, "b 3"]]:
        """Predictions without dropout or MixUp: logits and attributes."""
        return self.heads(self.fuse(inputs, lengths))
