"""Stages 3 and 4: meta-classifiers from several seeds in one compiled program, and their soup (spec section 6).

Legend: `n` utterance, `f` feature, `c` class, `s` seed, `e` epoch, `k` step of an epoch, `b` utterance of a batch.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from medusa_jax.config import EnsembleConfig, TrainingConfig
from medusa_jax.errors import CheckpointError
from medusa_jax.models import meta_classifier
from medusa_jax.training import checkpoint
from medusa_jax.training.objective import attribute_loss, classification_loss
from medusa_jax.training.sampling import balanced_subset
from medusa_jax.training.selection import balanced_macro_f1

Params = meta_classifier.Params


@dataclass(frozen=True)
class Targets:
    """What the meta-classifier learns: as in `training.examples`, for all utterances of the outputs."""

    soft: np.ndarray  # [n, c], zero rows without a class target
    attributes: np.ndarray  # [n, 3]
    rated: np.ndarray  # [n, 3]
    labels: np.ndarray  # [n], −1 without consensus


@dataclass(frozen=True)
class MetaClassifiers:
    """One set of weights a seed (`w [s, f, c+3]`, `b [s, c+3]`), each from its best epoch, with its held-out score."""

    params: Params
    scores: tuple[float, ...]
    epochs: tuple[int, ...]

    def single(self, seed: int = 0) -> Params:
        """Stage 3: the meta-classifier of one seed."""
        return jax.tree.map(lambda leaf: leaf[seed], self.params)

    def soup(self) -> Params:
        """Stage 4: the mean of all."""
        return meta_classifier.soup(self.params)

    def save(self, folder: Path, digest: str) -> None:
        """Save an orbax checkpoint with `seeds` and `soup`."""
        tree = {"seeds": self.params, "soup": self.soup()}
        checkpoint.save(folder, "meta", 0, tree, {"scores": self.scores, "epochs": self.epochs}, digest)

    @classmethod
    def load(cls, folder: Path) -> "MetaClassifiers":
        """Read what `save` wrote. Raises `CheckpointError` if it is missing or damaged."""
        found = checkpoint.restore(folder, "meta")
        if found is None:
            raise CheckpointError("there is no meta-classifier here", where=folder, mend="make it with `medusa ensemble`")
        return cls(found[0]["seeds"], tuple(found[1]["scores"]), tuple(found[1]["epochs"]))


def fit(
    x_nf: np.ndarray, targets: Targets, classes: tuple[str, ...], learn: np.ndarray, select: np.ndarray | None, config: EnsembleConfig, seed: int
) -> MetaClassifiers:
    """Train `config.seeds` linear meta-classifiers on the positions `learn`: balanced subsets, uniform class weights, no MixUp.

    Each keeps its best epoch on the positions `select`, or its last if None. Seeds differ in initialisation and in order.
    """
    seeds = [seed * 1000 + s for s in range(config.seeds)]
    plan = np.stack([_plan(targets.labels, classes, learn, config, s) for s in seeds])
    data = tuple(jnp.asarray(a) for a in (x_nf, targets.soft, targets.attributes, targets.rated))
    keys = jax.vmap(jax.random.key)(jnp.asarray([s % 2**32 for s in seeds], jnp.uint32))
    settings = (config.learning_rate, config.weight_decay, len(classes))
    history = jax.device_get(_fit(data, keys, jnp.asarray(plan), settings))  # leaves [s, e, …]
    best, scores = [config.epochs - 1] * len(seeds), [float("nan")] * len(seeds)
    if select is not None:
        table = _scores(history, x_nf[select], targets.labels[select], len(classes), seed)
        best, scores = table.argmax(axis=1).tolist(), table.max(axis=1).tolist()
    params = jax.tree.map(lambda leaf: np.stack([leaf[s, e] for s, e in enumerate(best)]), history)
    return MetaClassifiers(params, tuple(scores), tuple(best))


def _plan(labels: np.ndarray, classes: tuple[str, ...], learn: np.ndarray, config: EnsembleConfig, seed: int) -> np.ndarray:
    """Positions `[e, k, b]`: a new balanced subset each epoch, as in Stage 2."""
    epochs = []
    for epoch in range(config.epochs):
        chosen = learn[balanced_subset(labels[learn], classes, seed, epoch)]
        order = np.random.default_rng((seed, 4, epoch)).permutation(chosen)
        size = min(config.batch_size, len(order))
        epochs.append(order[: len(order) // size * size].reshape(-1, size))
    return np.stack(epochs)


@partial(jax.jit, static_argnums=3)
def _fit(data: tuple[jax.Array, ...], keys: jax.Array, plan: jax.Array, settings: tuple[float, float, int]) -> Params:
    """Weights after every epoch `[s, e, …]`: seeds by `vmap`, epochs and steps by `scan`."""
    rate, decay, classes = settings
    optimiser = optax.adamw(rate, weight_decay=decay)
    weights = TrainingConfig()

    def loss(params: Params, rows: jax.Array) -> jax.Array:
        x, soft, attributes, rated = (a[rows] for a in data)
        logits, predicted = meta_classifier.forward(params, x)
        class_part = classification_loss(logits, soft, jnp.ones(classes))
        return weights.class_loss * class_part + weights.attribute_loss * attribute_loss(predicted, attributes, rated)

    def one_step(state: tuple[Params, optax.OptState], rows: jax.Array) -> tuple[tuple[Params, optax.OptState], None]:
        params, moments = state
        updates, moments = optimiser.update(jax.grad(loss)(params, rows), moments, params)
        return (optax.apply_updates(params, updates), moments), None

    def one_epoch(state: tuple[Params, optax.OptState], steps: jax.Array) -> tuple[tuple[Params, optax.OptState], Params]:
        state, _ = jax.lax.scan(one_step, state, steps)
        return state, state[0]

    def one_seed(key: jax.Array, epochs: jax.Array) -> Params:
        params = meta_classifier.initial(key, data[0].shape[1], classes)
        return jax.lax.scan(one_epoch, (params, optimiser.init(params)), epochs)[1]

    return jax.vmap(one_seed)(keys, plan)


def _scores(history: Params, x_nf: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Selection score of every seed and epoch `[s, e]`."""
    logits = np.einsum("nf,sefc->senc", x_nf, history["w"][..., :classes]) + history["b"][:, :, None, :classes]
    predicted = logits.argmax(axis=-1)
    draws = TrainingConfig().selection_draws
    return np.array([[balanced_macro_f1(labels, epoch, classes, draws, seed) for epoch in one] for one in predicted])
