"""One step: schedules, clipping, decay, running means and micro-batches against what they should be; thirty losses that must not change."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from medusa_jax.tasks.hyperparameters import Settings, learning_rate, settings_of
from medusa_jax.training.member import build, member_keys, moments_of
from medusa_jax.training.stack import Lane, Stack, stacks_of
from toy_task import toy_examples, toy_member, toy_parts

from medusa_jax.config.training import StageConfig
from medusa_jax.machines.mesh import devices_of
from medusa_jax.training.step import for_next_stage, new_state, train_step

FIT, _ = toy_parts()


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return toy_examples(tmp_path_factory.mktemp("toy") / "stores")


@pytest.fixture(scope="module")
def member(examples):
    return build(toy_member(), examples, moments_of([toy_member()], examples, FIT), 0)


@pytest.fixture(scope="module")
def batches(examples):
    return [jax.device_put(examples.batch(rows)) for rows in np.resize(FIT, (5, 16))]


def settings(seed=0, steps=100, **training):
    """Of Stage 1 of the toy member, by default without MixUp and decay; always with a clip and a mean, so that one program serves all."""
    config = toy_member(
        **{"mixup_probability": 0.0, "weight_decay": 0.0, "clip": 1e9, "ema": 0.5, **training}
    )
    return settings_of(
        config.training, 1, steps, np.ones(3, np.float32), member_keys(seed, config)[1]
    )


def stepped(member, batches, own: Settings, micro_batches=1, state=None):
    """Losses `[step, 3]` and the last state."""
    state = state or new_state(member.params, own.ema is not None)
    program, losses = train_step(member.graph, micro_batches, False), []
    for batch in batches:
        state, now = program(state, member.statistics, own, batch)
        losses.append(np.asarray(now))
    return np.stack(losses), state


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_thirty_losses_as_they_always_were(member, batches):
    """Weights, dropout, MixUp and both losses: a change of these numbers changes every result, and must be meant."""
    own = settings(mixup_probability=0.3, weight_decay=0.01)
    losses, _ = stepped(member, batches * 6, own)
    np.testing.assert_allclose(losses[:, 0], GOLDEN, rtol=1e-4)
    other, _ = stepped(member, batches, settings(seed=1, mixup_probability=0.3, weight_decay=0.01))
    assert np.abs(other[:, 0] / GOLDEN[:5] - 1).max() > 1e-3, "and they do depend on the key"


GOLDEN = np.array(
    [
        3.062542,
        2.647531,
        2.809391,
        2.424124,
        2.497524,
        2.858711,
        2.227255,
        2.683716,
        2.587605,
        2.929897,
        2.778992,
        2.417939,
        2.611495,
        2.379768,
        2.774286,
        2.495275,
        2.281406,
        2.425325,
        2.317971,
        2.601213,
        2.381015,
        2.031651,
        1.935518,
        2.085296,
        2.152389,
        1.968597,
        1.774682,
        1.38995,
        1.806898,
        1.645536,
    ]
)


@pytest.mark.parametrize("warmup", [0, 1, 4])
def test_the_schedules_are_optaxs(warmup):
    for schedule in ("constant", "cosine"):
        stage = StageConfig(epochs=1, learning_rate=0.5, schedule=schedule, warmup=warmup)
        own = settings_of(
            toy_member().training.model_copy(update={"stage1": stage}),
            1,
            20,
            np.ones(3),
            jax.random.key(0),
        )
        rates = [float(learning_rate(own, jnp.int32(k))) for k in range(20)]
        after = (
            optax.constant_schedule(0.5)
            if schedule == "constant"
            else optax.cosine_decay_schedule(0.5, 20 - warmup)
        )
        expected = [
            0.5 * (k + 1) / warmup if k < warmup else float(after(k - warmup)) for k in range(20)
        ]
        np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-7)


def test_a_step_is_adamws(member, batches):
    """Three steps against optax's own AdamW on the same gradients, which a step at rate 0 and the moments give away."""
    optimiser = optax.adamw(1e-2, weight_decay=0.1)
    own = settings(weight_decay=0.1)
    state, params = new_state(member.params, True), member.params
    reference = optimiser.init(params)
    for batch in batches[:3]:
        before = state.adam.mu
        _, state = stepped(member, [batch], own, state=jax.tree.map(jnp.copy, state))
        gradients = jax.tree.map(lambda new, old: (new - 0.9 * old) / 0.1, state.adam.mu, before)
        updates, reference = optimiser.update(gradients, reference, params)
        params = optax.apply_updates(params, updates)
    moved = flat(params) - flat(member.params)
    assert np.abs(moved).max() > 1e-2
    np.testing.assert_allclose(flat(state.params) - flat(member.params), moved, atol=2e-5)


def test_clipping_bounds_the_norm_of_all_gradients(member, batches):
    free, wide, narrow = (
        flat(stepped(member, batches[:1], settings(clip=clip))[1].adam.mu) / 0.1
        for clip in (1e9, 1e3, 0.5)
    )
    np.testing.assert_array_equal(free, wide)
    assert np.linalg.norm(free) > 1
    np.testing.assert_allclose(narrow, free * 0.5 / np.linalg.norm(free), rtol=1e-4, atol=1e-7)


def test_the_running_mean_follows_the_weights_and_is_what_is_scored(member, batches):
    own, weights = settings(ema=0.5), [flat(member.params)]
    state = new_state(member.params, True)
    for batch in batches:
        _, state = stepped(member, [batch], own, state=state)
        weights.append(flat(state.params))
    mean = weights[0]
    for step, now in enumerate(weights[1:]):
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * now
    np.testing.assert_allclose(flat(state.scored), mean, rtol=1e-5, atol=1e-7)
    assert np.abs(flat(state.params) - mean).max() > 1e-3
    fresh = for_next_stage(state)
    np.testing.assert_array_equal(flat(fresh.scored), flat(state.scored))
    assert (int(fresh.adam.count), int(fresh.step)) == (0, 5)
    assert not flat(fresh.adam.mu).any()


@pytest.mark.slow
def test_micro_batches_have_the_whole_batchs_gradient(examples, batches):
    """With MixUp across them, one utterance without ratings and none dropped."""
    config = toy_member(mixup_probability=1.0)
    config = config.model_copy(update={"model": config.model.model_copy(update={"dropout": 0.0})})
    member = build(config, examples, moments_of([config], examples, FIT), 0)
    own = settings(mixup_probability=1.0)
    (whole, state), (parts, other) = (stepped(member, batches[:1], own, count) for count in (1, 4))
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    np.testing.assert_allclose(flat(other.adam.mu), flat(state.adam.mu), rtol=1e-4, atol=1e-7)
    assert np.abs(flat(state.adam.mu)).max() > 1e-3


def test_a_member_takes_its_kind_of_target(member, batches):
    """The loss on one-hot targets does not see the soft ones, and the other way round."""
    batch = batches[0]
    turned = batch._replace(soft=jnp.roll(batch.soft, 1, axis=1))

    def loss(targets, batch):
        return float(stepped(member, [batch], settings(targets=targets))[0][0, 1])

    assert loss("one_hot", batch) == loss("one_hot", turned)
    assert abs(loss("soft", batch) - loss("soft", turned)) > 1e-3


def test_a_mixed_rating_exists_only_where_both_were_rated(member, examples):
    """One rated utterance: in a mixed batch (three in ten) its partner has no rating to mix with, so no error is left."""
    batch = examples.batch(FIT[:16])
    alone, everyone = np.zeros((16, 3), np.float32), np.ones((16, 3), np.float32)
    alone[4] = 1

    def attribute_loss(rated, seed):
        changed = jax.device_put(batch._replace(attributes=7 * rated, rated=rated))
        return stepped(member, [changed], settings(seed, mixup_probability=0.3))[0][0, 2]

    lonely = [attribute_loss(alone, seed) for seed in range(20)]
    assert 1 <= lonely.count(0.0) <= 14
    assert min(attribute_loss(everyone, seed) for seed in range(20)) > 0


def test_members_of_equal_structure_are_one_stack(member, examples):
    words = build(toy_member().model_copy(update={"modalities": ("words",)}), examples, {}, 0)

    def lane(name, of=member, micro_batches=1, **training):
        own = settings(**training)
        return Lane(name, of, micro_batches, own, new_state(of.params, own.ema is not None))

    lanes = [
        lane("a"),
        lane("b", seed=1, weight_decay=0.3, targets="one_hot"),
        lane("free", clip=None),
        lane("last", ema=None),
        lane("words", words),
    ]
    lanes += [lane("parts", micro_batches=2), lane("c")]
    assert [stack.ids for stack in stacks_of(lanes, True, devices_of(1))] == [
        ["a", "b", "c"],
        ["free"],
        ["last"],
        ["words"],
        ["parts"],
    ]
    assert [stack.ids for stack in stacks_of(lanes, False, devices_of(1))] == [
        [one.id] for one in lanes
    ]
    stack = Stack(lanes[:2], devices_of(1))
    np.testing.assert_array_equal(flat(stack.states()["b"]), flat(stack.fetched()["b"]))
    np.testing.assert_array_equal(flat(stack.states()["b"]), flat(lanes[1].state))
