"""Failures of an encoder's batch as errors of its inputs, whatever library ran it."""

from medusa_jax.errors import FeatureError


def failure(reason: str, *, out_of_memory: bool) -> FeatureError:
    """The error of every input of a batch that failed for this reason."""
    if out_of_memory:
        hint = "lower batch_seconds, or for long audio chunk_seconds, or compute in bfloat16"
        return FeatureError(f"the encoder ran out of memory: {hint}", hint=hint)
    return FeatureError(f"the encoder failed: {reason}")
