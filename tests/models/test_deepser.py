"""DeepSER: padding never changes an output, missing features count as average ones, dropout is what
it says.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from medusa_jax.batches.examples import Batch
from medusa_jax.config.model import ModelConfig
from medusa_jax.models.deepser import FARTHEST, DeepSER, Frames, Statistic
from medusa_jax.models.encoder import Encoder, seeds_of

WIDTHS = {"speech": 6, "text": 5}
PADDED = (12, 7)  # at this length, and at others
# 0: no features; 3 is no multiple of the stack
LENGTHS = [
    (1, 1),
    (12, 1),
    (3, 7),
    (4, 4),
    (11, 5),
    (0, 6),
    (9, 0),
    (0, 0),
]


def member(fusion="deep", stack=1, standardise=False, layers=2):
    """A small DeepSER as (graph, params, statistics); standardised ones with statistics that are
    not trivial.
    """
    config = ModelConfig(
        hidden=16,
        feedforward=16,
        layers=layers,
        fusion=fusion,
        stack={"speech": stack},
        standardise=standardise,
    )
    model = DeepSER(config, list(WIDTHS.values()), 4, rngs=nnx.Rngs(0))
    if standardise:
        for frames in model.frames:
            width = frames.mean[...].shape[0]
            frames.mean[...], frames.scale[...] = (
                jnp.linspace(-3, 3, width),
                jnp.linspace(0.1, 4, width),
            )
    return nnx.split(model, nnx.Param, Statistic)


def utterances():
    """Frames of every modality, one list an utterance."""
    rng = np.random.default_rng(0)
    return [
        [
            rng.normal(0, 2, (n, d)).astype(np.float32)
            for n, d in zip(lengths, WIDTHS.values(), strict=True)
        ]
        for lengths in LENGTHS
    ]


def padded(chosen, to, fill=0.0):
    """A batch of these utterances, padded to the lengths `to` with `fill`."""
    inputs, lengths = {}, {}
    for k, (length, (name, width)) in enumerate(zip(to, WIDTHS.items(), strict=True)):
        x = np.full((len(chosen), length, width), fill, np.float32)
        for row, frames in enumerate(chosen):
            x[row, : len(frames[k])] = frames[k]
        inputs[name] = x
        lengths[name] = np.array([len(frames[k]) for frames in chosen], np.int32)
    targets, ratings = (
        np.zeros((len(chosen), 4), np.float32),
        np.zeros((len(chosen), 3), np.float32),
    )
    return jax.device_put(Batch(inputs, lengths, targets, targets, ratings, ratings))


@partial(jax.jit, static_argnums=0)
def predicted(graph, params, statistics, batch):
    return nnx.merge(graph, params, statistics)(batch.inputs, batch.lengths)


def predict(parts, batch):
    graph, params, statistics = parts
    own = batch.of(tuple(WIDTHS))
    return np.concatenate(jax.device_get(predicted(graph, params, statistics, own)), axis=1)


@pytest.fixture(
    scope="module",
    params=[("deep", 1), ("late", 1), ("deep", 4)],
    ids=["deep", "late", "deep, frames stacked"],
)
def system(request):
    """A member, and its predictions for all utterances in one batch."""
    fusion, stack = request.param
    parts = member(fusion, stack, standardise=stack > 1, layers=2 if stack == 1 else 1)
    return parts, predict(parts, padded(utterances(), PADDED))


def test_an_utterance_alone_at_its_own_length(system):
    parts, together = system
    alone = predict(parts, padded(utterances()[2:3], LENGTHS[2]))
    np.testing.assert_allclose(alone[0], together[2], atol=1e-5)


def test_any_padded_length(system):
    parts, together = system
    np.testing.assert_allclose(predict(parts, padded(utterances(), (29, 18))), together, atol=1e-5)


def test_any_company_in_any_order(system):
    parts, together = system
    rng = np.random.default_rng(1)
    for _ in range(20):
        rows = rng.integers(0, len(LENGTHS), len(LENGTHS))
        np.testing.assert_allclose(
            predict(parts, padded([utterances()[row] for row in rows], PADDED)),
            together[rows],
            atol=1e-5,
        )


@pytest.mark.parametrize("fill", [1e6, np.inf, np.nan])
def test_whatever_stands_behind_the_end_is_not_read(system, fill):
    parts, together = system
    np.testing.assert_allclose(
        predict(parts, padded(utterances(), PADDED, fill)), together, atol=1e-5
    )


def test_utterances_do_differ_and_length_counts(system):
    """The negative control: these comparisons could fail."""
    parts, together = system
    assert np.isfinite(together).all()
    spread = np.abs(together[:, None] - together[None]).max(axis=2) + np.eye(len(together))
    assert spread.min() > 1e-4
    batch = padded(utterances(), PADDED)
    longer = batch._replace(
        lengths={
            name: jnp.minimum(n + 1, batch.inputs[name].shape[1])
            for name, n in batch.lengths.items()
        }
    )
    assert np.abs(predict(parts, longer) - together).max() > 1e-3


@pytest.mark.parametrize("stack", [1, 4])
def test_missing_features_count_as_one_average_frame(stack):
    parts = member(stack=stack, standardise=True, layers=1)
    frames = nnx.merge(*parts).frames
    missing, average = utterances()[:1], utterances()[:1]
    missing[0][0] = np.zeros((0, WIDTHS["speech"]), np.float32)
    average[0][0] = np.asarray(frames[0].mean[...])[None]
    found = predict(parts, padded([*missing, *average] * 4, PADDED))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_attributes_stay_between_one_and_seven():
    parts = member()
    loud = [[1e4 * frames for frames in utterance] for utterance in utterances()]
    attributes = predict(parts, padded(loud, PADDED))[:, -3:]
    assert ((attributes >= 1) & (attributes <= 7)).all()


def test_frames_are_standardised_by_hand_clipped_and_stacked():
    frames = Frames(2, 2, standardised=True)
    frames.mean[...], frames.scale[...] = jnp.array([1.0, 10.0]), jnp.array([2.0, 0.5])
    x = jnp.array([[[2.0, 10.0], [0.0, 14.0], [1e9, -1e9], [5.0, 5.0]]])
    stacked, valid = frames(x, jnp.array([3]))
    # (x − mean) · scale: (2, 0), (−2, 2), (2e9, −5e8) clipped to ±10; the fourth frame is padding.
    np.testing.assert_allclose(stacked, [[[2, 0, -2, 2], [FARTHEST, -FARTHEST, 0, 0]]])
    np.testing.assert_array_equal(valid, [[True, True]])
    _, valid = frames(x, jnp.array([2]))
    np.testing.assert_array_equal(valid, [[True, False]])


def test_raw_frames_are_not_clipped():
    raw, _ = Frames(2, 1, standardised=False)(jnp.array([[[300.0, -4000.0]]]), jnp.array([1]))
    np.testing.assert_array_equal(raw, [[[300, -4000]]])


def test_a_key_drops_something_in_the_model():
    graph, params, statistics = member("late", layers=1)
    batch = padded(utterances(), PADDED).of(tuple(WIDTHS))
    fuse = jax.jit(
        lambda key: nnx.merge(graph, params, statistics).fuse(batch.inputs, batch.lengths, key)
    )
    one, same, other = (np.asarray(fuse(jax.random.key(seed))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


def test_bfloat16_within_its_rounding(system):
    parts, together = system
    graph, params, statistics = parts
    model = nnx.merge(graph, params, statistics)
    for _, module in nnx.iter_modules(model):
        if hasattr(module, "compute"):
            module.compute = jnp.dtype("bfloat16")
    rounded = predict(nnx.split(model, nnx.Param, Statistic), padded(utterances(), PADDED))
    assert 1e-5 < np.abs(rounded - together).max() < 0.1  # logits of about 1, attributes of 1 to 7
    longer = predict(nnx.split(model, nnx.Param, Statistic), padded(utterances(), (29, 18)))
    np.testing.assert_allclose(longer, rounded, atol=0.03)


def test_remat_keeps_less_for_the_same_gradients():
    x, valid = (
        jax.random.normal(jax.random.key(0), (4, 24, 6)),
        jnp.arange(24) < jnp.array([[24], [9], [1], [17]]),
    )
    seeds = seeds_of(jax.random.key(1), encoders=1, layers=2)[0]
    kept, gradients = [], []
    for remat in (False, True):
        graph, params = nnx.split(
            Encoder(6, ModelConfig(hidden=16, feedforward=64, remat=remat), rngs=nnx.Rngs(0))
        )

        def loss(params, graph=graph):
            return (nnx.merge(graph, params)(x, valid, seeds)[1] ** 2).sum()

        back = jax.eval_shape(lambda params, loss=loss: jax.vjp(loss, params)[1], params)
        kept.append(sum(leaf.size for leaf in jax.tree.leaves(back)))
        gradients.append(jax.tree.leaves(jax.jit(jax.grad(loss))(params)))
    assert kept[1] < 0.5 * kept[0]
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
