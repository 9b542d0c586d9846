"""Stages 3 and 4: meta-classifiers from several seeds in one compiled program, and their soup (spec section 6).

Legend: `n` utterance, `f` feature, `c` class, `s` seed, `e` epoch, `k` step of an epoch, `b` utterance of a batch,
`d` sample that an epoch is scored on (there `k` counts its utterances).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from medusa_jax.batches.sampling import balanced_subset
from medusa_jax.config.ensemble import EnsembleConfig
from medusa_jax.config.training import TrainingConfig
from medusa_jax.ensemble.predictions import Predictions, stacked
from medusa_jax.errors import CheckpointError
from medusa_jax.evaluation.balanced import balanced_draws
from medusa_jax.models import meta_classifier
from medusa_jax.tasks.objective import attribute_loss, classification_loss
from medusa_jax.training import checkpoint

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
        checkpoint.save(
            folder, "meta", 0, tree, {"scores": self.scores, "epochs": self.epochs}, digest
        )

    @classmethod
    def load(cls, folder: Path) -> "MetaClassifiers":
        """Read what `save` wrote. Raises `CheckpointError` if it is missing or damaged."""
        found = checkpoint.restore(folder, "meta")
        if found is None:
            raise CheckpointError(
                "there is no meta-classifier here",
                where=folder,
                hint="make it with `medusa ensemble`",
            )
        return cls(found[0]["seeds"], tuple(found[1]["scores"]), tuple(found[1]["epochs"]))


def inputs_of(members: Sequence[Predictions], config: EnsembleConfig) -> np.ndarray:
    """The meta-classifier's features `[n, f]` of the members' utterances."""
    logits, attributes = stacked(members)
    return np.asarray(
        meta_classifier.features_of(
            jnp.asarray(logits), jnp.asarray(attributes) if config.attributes else None
        )
    )


def outputs_of(params: Params, x_nf: np.ndarray, like: Predictions) -> Predictions:
    """What one meta-classifier says of these features; `like` names the utterances and classes."""
    logits, attributes = meta_classifier.forward(params, jnp.asarray(x_nf))
    return Predictions(like.ids, like.classes, np.asarray(logits), np.asarray(attributes))


class Draws(NamedTuple):
    """What each epoch is scored on: samples of `k` utterances, the same number of each class."""

    x: np.ndarray  # [n, f] of the utterances they are drawn from
    chosen: np.ndarray  # [d, k] positions in `x`
    labels: np.ndarray  # [d, k]


class _Trained(NamedTuple):
    """The state of one seed: weights and moments, and the weights of the best epoch so far with its score."""

    params: Params
    moments: optax.OptState
    best: Params
    score: jax.Array
    epoch: jax.Array


def fit(
    x_nf: np.ndarray,
    targets: Targets,
    classes: tuple[str, ...],
    learn: np.ndarray,
    select: np.ndarray | None,
    config: EnsembleConfig,
    seed: int,
) -> MetaClassifiers:
    """Train `config.seeds` linear meta-classifiers on the positions `learn`: balanced subsets, uniform class weights, no MixUp.

    Each keeps its best epoch on the positions `select`, or its last if None. Seeds differ in initialisation and in order.
    Everything follows from the arguments: a fit that was killed is repeated, in seconds, to the same bits.
    """
    seeds = [seed * 1000 + s for s in range(config.seeds)]
    plan = np.stack([_plan(targets.labels, classes, learn, config, s) for s in seeds])
    draws = None
    if select is not None:
        chosen = balanced_draws(
            targets.labels[select], len(classes), TrainingConfig().selection_draws, seed
        )
        draws = Draws(x_nf[select], chosen, targets.labels[select][chosen])
    starts = [
        meta_classifier.initial(np.random.default_rng((s, 5)), x_nf.shape[1], len(classes))
        for s in seeds
    ]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
    data = x_nf, targets.soft, targets.attributes, targets.rated
    best = jax.device_get(
        _fit(data, params, plan, draws, config.learning_rate, config.weight_decay)
    )
    scores = [float("nan")] * len(seeds) if select is None else best.score.tolist()
    return MetaClassifiers(best.best, tuple(scores), tuple(best.epoch.tolist()))


def _plan(
    labels: np.ndarray,
    classes: tuple[str, ...],
    learn: np.ndarray,
    config: EnsembleConfig,
    seed: int,
) -> np.ndarray:
    """Positions `[e, k, b]`: a new balanced subset each epoch, as in Stage 2."""
    epochs = []
    for epoch in range(config.epochs):
        chosen = learn[balanced_subset(labels[learn], classes, seed, epoch)]
        order = np.random.default_rng((seed, 4, epoch)).permutation(chosen)
        size = min(config.batch_size, len(order))
        epochs.append(order[: len(order) // size * size].reshape(-1, size))
    return np.stack(epochs).astype(np.int32)


@jax.jit
def _fit(
    data: tuple[jax.Array, ...],
    params: Params,
    plan_sekb: jax.Array,
    draws: Draws | None,
    rate: float,
    decay: float,
) -> _Trained:
    """One program: seeds by `vmap`, epochs and steps by `scan`, each epoch scored on the `draws`; every leaf has a leading `s`."""
    optimiser = optax.adamw(rate, weight_decay=decay)
    weights = TrainingConfig()

    table = jnp.concatenate(
        data, axis=1
    )  # one look-up a step: on a CPU a step is as long as the operations in it are many
    ends = np.cumsum([part.shape[1] for part in data])[:-1]

    def loss(params: Params, rows: jax.Array) -> jax.Array:
        x, soft, attributes, rated = jnp.split(table[rows], ends, axis=1)
        logits, predicted = meta_classifier.forward(params, x)
        class_part = classification_loss(logits, soft, jnp.ones(soft.shape[1]))
        return weights.class_loss * class_part + weights.attribute_loss * attribute_loss(
            predicted, attributes, rated
        )

    def one_step(
        state: tuple[Params, optax.OptState], rows: jax.Array
    ) -> tuple[tuple[Params, optax.OptState], None]:
        params, moments = state
        updates, moments = optimiser.update(jax.grad(loss)(params, rows), moments, params)
        return (optax.apply_updates(params, updates), moments), None

    def one_epoch(state: _Trained, epoch: tuple[jax.Array, jax.Array]) -> tuple[_Trained, None]:
        number, rows_kb = epoch
        (params, moments), _ = jax.lax.scan(
            one_step, (state.params, state.moments), rows_kb, unroll=4
        )
        score = number.astype(jnp.float32) if draws is None else _macro_f1(params, draws)
        best, score, number = jax.tree.map(
            partial(jnp.where, score > state.score),
            (params, score, number),
            (state.best, state.score, state.epoch),
        )
        return _Trained(params, moments, best, score, number), None

    def one_seed(params: Params, plan_ekb: jax.Array) -> _Trained:
        start = _Trained(params, optimiser.init(params), params, jnp.float32(-1), jnp.int32(0))
        return jax.lax.scan(one_epoch, start, (jnp.arange(len(plan_ekb)), plan_ekb))[0]

    return jax.vmap(one_seed)(params, plan_sekb)


def _macro_f1(params: Params, draws: Draws) -> jax.Array:
    """Mean Macro-F1 over the samples, as `balanced_macro_f1`."""
    logits_nc, _ = meta_classifier.forward(params, jnp.asarray(draws.x))
    true_dkc, said_dkc = (
        jax.nn.one_hot(a, logits_nc.shape[1])
        for a in (draws.labels, logits_nc.argmax(axis=1)[draws.chosen])
    )
    true_dc, said_dc = true_dkc.sum(axis=1), said_dkc.sum(axis=1)
    f1_dc = 2 * (true_dkc * said_dkc).sum(axis=1) / jnp.maximum(true_dc + said_dc, 1)
    return (f1_dc.sum(axis=1, where=true_dc > 0) / (true_dc > 0).sum(axis=1)).mean()
