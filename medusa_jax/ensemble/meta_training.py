"""Stage 3: meta-classifiers of several seeds trained in one compiled program (paper section 3.6).

Legend: `n` utterance, `f` feature, `c` class, `a` attribute, `s` seed, `e` epoch, `k` step of an
epoch, `b` utterance of a batch, `h` held-out utterance, `o` output.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from medusa_jax.batches.sampling import balanced_subset
from medusa_jax.config.ensemble import EnsembleConfig
from medusa_jax.config.training import TrainingConfig
from medusa_jax.ensemble.meta import MetaClassifiers, Params, Targets
from medusa_jax.evaluation.balanced import class_weighted_error, selection_score
from medusa_jax.models import meta_classifier
from medusa_jax.tasks.objective import attribute_loss


class _Data(NamedTuple):
    """Features and targets of all utterances, and which of them are held out.

    `weight_h` makes classes count alike in the held-out cross-entropy; its sum is 1, or 0 where
    no utterance has a consensus.
    """

    x_nf: np.ndarray
    target_nc: np.ndarray
    attributes_na: np.ndarray
    rated_na: np.ndarray
    held_h: np.ndarray
    weight_h: np.ndarray


class _Rates(NamedTuple):
    """Numbers that change no compiled program."""

    learning: float
    decay: float
    classes: float  # λ1
    attributes: float  # λ2


class _Trace(NamedTuple):
    """Every epoch's weights, predicted classes of the held-out part, and its cross-entropy."""

    params: Params  # leaves [s, e, …]
    predicted: jax.Array  # [s, e, h]
    log_loss: jax.Array  # [s, e]


def fit(
    x_nf: np.ndarray,
    targets: Targets,
    classes: tuple[str, ...],
    learn: np.ndarray,
    select: np.ndarray | None,
    config: EnsembleConfig,
    training: TrainingConfig,
    seed: int,
) -> MetaClassifiers:
    """Train `config.seeds` linear meta-classifiers on the positions `learn`.

    As in Stage 2: balanced subsets and uniform class weights, with the loss weights, targets,
    sampling and selection score of `training`; no MixUp. An epoch is chosen on the positions
    `select` as `config.select` says; without them the last one is kept. Seeds differ in
    initialisation and order. Everything follows from the arguments: a fit that was killed is
    repeated to the same bits. Raises `TrainingError` if `learn` lacks a class.
    """
    seeds = seeds_of(config, seed)
    plan_sekb = np.stack(
        [_plan(targets.labels[learn], classes, config, training, s) for s in seeds]
    )
    plan_sekb = np.where(plan_sekb < 0, -1, learn[plan_sekb]).astype(np.int32)
    outputs = len(classes) + 3 * config.attributes
    starts = [_start(s, x_nf.shape[1], outputs) for s in seeds]
    held = np.zeros(0, int) if select is None else select
    rates = _Rates(
        config.learning_rate, config.weight_decay, training.class_loss, training.attribute_loss
    )
    data = _data(x_nf, targets, training, held)
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
    trace: _Trace = jax.device_get(_fit(data, params, plan_sekb, rates))
    if select is None:
        return _kept(trace, [plan_sekb.shape[1] - 1] * len(seeds), [float("nan")] * len(seeds))
    score = partial(
        selection_score,
        targets.labels[held],
        classes=len(classes),
        how=training.selection,
        draws=training.selection_draws,
        seed=seed,
    )
    return _selected(trace, targets.labels[held], score, config.select, len(classes))


def seeds_of(config: EnsembleConfig, seed: int) -> tuple[int, ...]:
    """The seeds of the soup in a run with this `seed`."""
    return tuple(seed * 1000 + s for s in range(config.seeds))


def _start(seed: int, features: int, outputs: int) -> Params:
    return meta_classifier.initial(np.random.default_rng((seed, 5)), features, outputs)


def _data(
    x_nf: np.ndarray, targets: Targets, training: TrainingConfig, held_h: np.ndarray
) -> _Data:
    labels_h = targets.labels[held_h]
    counts_c = np.bincount(labels_h[labels_h >= 0], minlength=targets.soft.shape[1])
    weight_h = (labels_h >= 0) / np.maximum(counts_c[labels_h] * (counts_c > 0).sum(), 1)
    target_nc = targets.learned(training.targets)
    return _Data(
        x_nf, target_nc, targets.attributes, targets.rated, held_h, weight_h.astype(np.float32)
    )


def _plan(
    labels: np.ndarray,
    classes: tuple[str, ...],
    config: EnsembleConfig,
    training: TrainingConfig,
    seed: int,
) -> np.ndarray:
    """Positions `[e, k, b]` among `labels`: a new balanced subset each epoch, as in Stage 2.

    An epoch has every utterance of its subset once; −1 fills its last batch.
    """
    subset = partial(balanced_subset, labels, classes, seed, no_consensus=training.no_consensus)
    count = len(subset(0))
    size = min(config.batch_size, count)
    steps = -(-count // size)
    epochs = config.epochs if config.updates is None else -(-config.updates // steps)
    plan = np.full((epochs, steps * size), -1)
    for epoch in range(epochs):
        order = np.random.default_rng((seed, 4, epoch)).permutation(subset(epoch))
        plan[epoch, :count] = order
    return plan.reshape(epochs, steps, size)


@jax.jit
def _fit(data: _Data, params: Params, plan_sekb: jax.Array, rates: _Rates) -> _Trace:
    """One program: seeds by `vmap`, epochs and steps by `scan`."""
    optimiser = optax.adamw(rates.learning, weight_decay=rates.decay)
    # One look-up a step: on a CPU, a step takes as long as it has operations.
    table = jnp.concatenate(data[:4], axis=1)
    ends = np.cumsum([part.shape[1] for part in data[:3]])
    held_x, held_target = data.x_nf[data.held_h], data.target_nc[data.held_h]
    classes = data.target_nc.shape[1]

    def loss(params: Params, rows_b: jax.Array) -> jax.Array:
        return _loss(params, jnp.split(table[rows_b], ends, axis=1), rows_b >= 0, rates)

    def one_step(
        state: tuple[Params, optax.OptState], rows_b: jax.Array
    ) -> tuple[tuple[Params, optax.OptState], None]:
        params, moments = state
        updates, moments = optimiser.update(jax.grad(loss)(params, rows_b), moments, params)
        return (optax.apply_updates(params, updates), moments), None

    def one_epoch(
        state: tuple[Params, optax.OptState], rows_kb: jax.Array
    ) -> tuple[tuple[Params, optax.OptState], _Trace]:
        state, _ = jax.lax.scan(one_step, state, rows_kb, unroll=4)
        logits_hc, _ = meta_classifier.forward(state[0], held_x, classes)
        log_loss = data.weight_h @ _cross_entropy(logits_hc, held_target)
        return state, _Trace(state[0], logits_hc.argmax(axis=1), jnp.asarray(log_loss))

    def one_seed(params: Params, plan_ekb: jax.Array) -> _Trace:
        return jax.lax.scan(one_epoch, (params, optimiser.init(params)), plan_ekb)[1]

    return jax.vmap(one_seed)(params, plan_sekb)


def _loss(params: Params, batch: list[jax.Array], valid_b: jax.Array, rates: _Rates) -> jax.Array:
    """λ1 · CE + λ2 · MSE (paper eq. 1): CE averaged over the valid rows, MSE over their ratings.

    Without attribute outputs it is the first term alone.
    """
    x_bf, target_bc, attributes_ba, rated_ba = batch
    logits_bc, predicted_ba = meta_classifier.forward(params, x_bf, target_bc.shape[1])
    class_part = (valid_b * _cross_entropy(logits_bc, target_bc)).sum() / valid_b.sum()
    if not predicted_ba.shape[1]:
        return rates.classes * class_part
    attribute_part = attribute_loss(predicted_ba, attributes_ba, rated_ba * valid_b[:, None])
    return rates.classes * class_part + rates.attributes * attribute_part


def _cross_entropy(logits_bc: jax.Array, target_bc: jax.Array) -> jax.Array:
    """−Σ_c y_c log p_c of each row; 0 for a row without a class target."""
    return -(target_bc * jax.nn.log_softmax(logits_bc)).sum(axis=1)


def _selected(
    trace: _Trace, labels_h: np.ndarray, score: partial[float], rule: str, classes: int
) -> MetaClassifiers:
    """The epoch of each seed that `EnsembleConfig.select` asks for; of equal ones the first."""
    epochs, scores = [], []
    for predicted_eh, log_loss_e in zip(trace.predicted, trace.log_loss, strict=True):
        scores_e = np.array([score(predicted_h) for predicted_h in predicted_eh])
        best = int(scores_e.argmax())
        if rule == "last":
            best = len(scores_e) - 1
        elif rule == "log_loss":
            best = int(log_loss_e.argmin())
        elif rule == "one_se":
            error = class_weighted_error(labels_h, predicted_eh[best], classes)
            best = int((scores_e >= scores_e[best] - error).argmax())
        epochs.append(best)
        scores.append(float(scores_e[best]))
    return _kept(trace, epochs, scores)


def _kept(trace: _Trace, epochs: list[int], scores: list[float]) -> MetaClassifiers:
    """The weights of one epoch a seed."""
    params = jax.tree.map(lambda leaf: leaf[np.arange(len(epochs)), epochs], trace.params)
    return MetaClassifiers(params, tuple(scores), tuple(epochs))
