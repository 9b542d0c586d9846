"""Floating-point operations of a DeepSER and of SUMMER, by formula: the plan's times and the
benchmarks' FLOP/s are counted in them.

Only products of matrices count, 2·m·n·k each; everything else is small beside them. A training step
costs three forward passes.
"""

from collections.abc import Sequence

from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.config.model import ModelConfig

TRAINING = 3
"""Passes of a step: forward, and the gradients of every product's two operands."""


def forward_flops(
    config: ModelConfig,
    widths: Sequence[int],
    frames: Sequence[int | float],
    stacks: Sequence[int] | None = None,
) -> float:
    """Of one utterance with these padded `frames` and `widths` of its modalities."""
    stacks = stacks or [1] * len(widths)
    lengths = [-(-count // stack) for count, stack in zip(frames, stacks, strict=True)]
    total = sum(
        _encoder(config, width * stack, length)
        for width, stack, length in zip(widths, stacks, lengths, strict=True)
    )
    joined: int | float = 0
    for _ in range(config.layers if config.fusion == "deep" else 0):
        joined += sum(
            lengths
            # It takes every modality's frames and those of the fusion encoder before it.
        )
        total += _encoder(config, config.hidden, joined)
    return float(total + 2 * config.hidden**2 * (len(widths) + (config.fusion == "deep")))


def training_flops(
    config: ModelConfig,
    widths: Sequence[int],
    frames: Sequence[int | float],
    stacks: Sequence[int] | None = None,
) -> float:
    """Of one utterance of a training step: forward and backward."""
    return TRAINING * forward_flops(config, widths, frames, stacks)


def summer_flops(config: ConversationConfig, widths: Sequence[int], turns: int) -> float:
    """Of one dialogue of so many turns, forward, through teacher and student."""
    w, streams = config.width, len(widths) + 1  # the teacher is one more, or about one
    experts = 1 if config.routing == "none" else config.experts
    gru = experts * 2 * 3 * (w * w // 2 + (w // 2) ** 2)  # both directions, of half the width each
    blocks = streams * (1 + config.global_experts) * gru
    attention = streams * (4 * w * w + 2 * turns * w)
    return float(2 * turns * (w * sum(widths) + blocks + attention))


def _encoder(config: ModelConfig, width: int, length: int | float) -> int | float:
    """Of one encoder: two linear maps into it, then in each layer four products of width h, two of
    the feed-forward part, two of attention.
    """
    h, wide = config.hidden, config.feedforward
    into = 2 * (width * h + h * h)
    layer = 2 * (4 * h * h + 2 * h * wide) + 4 * h * length
    return length * (into + config.layers * layer)
