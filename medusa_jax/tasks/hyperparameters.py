"""What a member computes with in a stage, as arrays: members that differ in these values only share one compiled program.

Legend: `c` class; in a stack of members every array has a leading `m`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Scalar

from medusa_jax.batches.epochs import stage_of
from medusa_jax.config.training import TrainingConfig


class Settings(NamedTuple):
    """Float32 scalars unless said otherwise; a part that is None is compiled away."""

    key: Array  # step k of the member draws from fold_in(key, k)
    rate: Array  # the stage's learning rate
    warmup: Array  # steps
    steps: Array  # of the whole stage
    cosine: Array  # 1: the rate falls to 0 along half a cosine, 0: it stays
    weight_decay: Array
    class_loss: Array  # λ1
    attribute_loss: Array  # λ2
    mixup_probability: Array
    mixup_alpha: Array
    one_hot: Array  # 1: one-hot targets, 0: soft ones
    weights_c: Array  # α of the class loss
    clip: Array | None
    ema: Array | None


def settings_of(
    config: TrainingConfig, stage: int, steps: int, weights_c: np.ndarray, key: Array
) -> Settings:
    """The settings of a stage (1 or 2) that takes `steps` steps in all; `weights_c` weigh the classes in Stage 1 only (spec section 5)."""
    own = stage_of(config, stage)
    values = {
        "rate": own.learning_rate,
        "warmup": own.warmup,
        "steps": steps,
        "cosine": own.schedule == "cosine",
        "one_hot": config.targets == "one_hot",
        "weights_c": weights_c if stage == 1 else np.ones_like(weights_c),
        **{
            name: getattr(config, name)
            for name in (
                "weight_decay",
                "class_loss",
                "attribute_loss",
                "mixup_probability",
                "mixup_alpha",
                "clip",
                "ema",
            )
        },
    }
    arrays = {
        name: None if value is None else np.asarray(value, np.float32)
        for name, value in values.items()
    }
    return Settings(key=key, **jax.device_put(arrays))


def learning_rate(settings: Settings, count: Int[Scalar, ""]) -> Float[Scalar, ""]:
    """The rate of the stage's step `count` (from 0): a linear warm-up, then constant or a cosine down to 0."""
    warm = jnp.minimum((count + 1) / jnp.maximum(settings.warmup, 1), 1)
    share = jnp.clip(
        (count - settings.warmup) / jnp.maximum(settings.steps - settings.warmup, 1), 0, 1
    )
    return (
        settings.rate * warm * jnp.where(settings.cosine > 0, (1 + jnp.cos(jnp.pi * share)) / 2, 1)
    )
