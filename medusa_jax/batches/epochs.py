"""The utterances of an epoch of each stage, in batches (spec section 6): the same for every member of a run."""

import numpy as np

from medusa_jax.batches.examples import Examples
from medusa_jax.batches.sampling import balanced_subset, epoch_batches
from medusa_jax.config.training import StageConfig, TrainingConfig
from medusa_jax.errors import TrainingError


def epoch_plan(
    examples: Examples, fit: np.ndarray, config: TrainingConfig, seed: int, stage: int, epoch: int
) -> np.ndarray:
    """Batches of positions `[step, b]`: Stage 1 takes all of `fit` that has labels, Stage 2 a new balanced subset of it each epoch.

    A function of (seed, stage, epoch) and of what all members of a group agree on; every epoch of a stage has as many steps.
    Raises `TrainingError` if there is nothing to learn from.
    """
    if stage == 1:
        positions = fit[examples.trainable[fit]]
        if not len(positions):
            raise TrainingError(
                "no training utterance has votes or ratings",
                hint="is a split of the corpus without labels called train?",
            )
    else:
        positions = fit[
            balanced_subset(
                examples.corpus.labels[fit],
                examples.corpus.classes,
                seed,
                epoch,
                config.no_consensus,
            )
        ]
    return epoch_batches(positions, examples.rungs, config.batch_size, seed, stage, epoch)


def stage_of(config: TrainingConfig, stage: int) -> StageConfig:
    """What is configured for Stage 1 or 2."""
    return config.stage1 if stage == 1 else config.stage2


def class_targets(examples: Examples, config: TrainingConfig) -> np.ndarray:
    """The class targets `[n, c]` that a member learns from."""
    return examples.one_hot if config.targets == "one_hot" else examples.soft
