"""Optimisers of the tasks, made of optax alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from medusa_jax.config.training import StageConfig

Rate = float | jax.Array


def adamw(
    learning_rate: Rate, weight_decay: Rate, clip: Rate | None = None
) -> optax.GradientTransformation:
    """AdamW with decoupled decay; with `clip` the norm of all gradients together is bounded
    first.
    """
    bound = optax.identity() if clip is None else optax.clip_by_global_norm(clip)
    return optax.chain(bound, optax.adamw(learning_rate, weight_decay=weight_decay))


def injected(
    clip: bool,
    factory: Callable[..., optax.GradientTransformation] = adamw,
    **values: float,
) -> optax.GradientTransformation:
    """`adamw`, or another factory, whose hyperparameters are part of its state, so that members
    with others share a program; `values` are those that the factory has beside `adamw`'s.
    """
    usual = {"learning_rate": 0.0, "weight_decay": 0.0, **({"clip": 1.0} if clip else {})}
    return optax.inject_hyperparams(factory, hyperparam_dtype=jnp.float32)(**usual, **values)


def rate_of(stage: StageConfig, steps: int) -> optax.Schedule:
    """The learning rate of a stage of `steps` steps: a linear warm-up, then constant or a cosine
    down to 0.
    """
    rate, warmup = stage.learning_rate, stage.warmup
    main = optax.constant_schedule(rate)
    if stage.schedule == "cosine":
        main = optax.cosine_decay_schedule(rate, max(steps - warmup, 1))
    if not warmup:
        return main
    rise = optax.constant_schedule(rate)
    if warmup > 1:
        rise = optax.linear_schedule(rate / warmup, rate, warmup - 1)
    return optax.join_schedules([rise, main], [warmup])


def mean_decay(ema: float) -> optax.Schedule:
    """Decay of a running mean of the weights: short at first, so that the initial weights are soon
    forgotten.
    """
    return lambda step: jnp.minimum(ema, (1 + step) / (10 + step))
