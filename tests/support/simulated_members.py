"""Members of known reliability, for tests of the meta-classifier."""

import numpy as np

from medusa_jax.config.ensemble import EnsembleConfig
from medusa_jax.config.training import TrainingConfig
from medusa_jax.ensemble import meta, meta_training
from medusa_jax.ensemble.predictions import Predictions

CLASSES = ("angry", "sad", "happy", "neutral")
CONFIG = EnsembleConfig(seeds=3, epochs=15, batch_size=32, learning_rate=2e-2)
TRAINING = TrainingConfig()
LEARN, SELECT = np.arange(0, 500), np.arange(500, 800)


def simulated() -> tuple[list[Predictions], meta.Targets]:
    """Four members of an uneven corpus: number 2 is right, the others are loudly wrong."""
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 800, p=[0.6, 0.2, 0.1, 0.1])
    logits = rng.normal(0, 3, (800, 4, 4)).astype(np.float32)
    logits[:, 2] = 1.5 * np.eye(4)[labels] + rng.normal(0, 0.5, (800, 4))
    ratings = rng.uniform(1, 7, (800, 3)).astype(np.float32)
    attributes = rng.uniform(1, 7, (800, 4, 3)).astype(np.float32)
    attributes[:, 2] = np.clip(ratings + rng.normal(0, 0.3, ratings.shape), 1, 7)
    soft = (0.8 * np.eye(4)[labels] + 0.05).astype(np.float32)
    labels[::10] = -1
    soft[::20] = 0
    ids = tuple(map(str, range(800)))
    members = [Predictions(ids, CLASSES, logits[:, m], attributes[:, m]) for m in range(4)]
    return members, meta.Targets(soft, ratings, np.ones_like(ratings), labels)


def fit(
    x_nf: np.ndarray,
    targets: meta.Targets,
    learn: np.ndarray = LEARN,
    held_out: np.ndarray | None = SELECT,
    *,
    seed: int = 0,
    training: TrainingConfig = TRAINING,
    **settings: object,
) -> meta.MetaClassifiers:
    """Stage 3 on these features, with `CONFIG` but for `settings`."""
    config = CONFIG.model_copy(update=settings)
    return meta_training.fit(x_nf, targets, CLASSES, learn, held_out, config, training, seed)
