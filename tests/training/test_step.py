"""One step: schedules, clipping, decay, running means and micro-batches against what they should
be; thirty losses that must not change.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_task import toy_data, toy_examples, toy_member, toy_members, toy_parts

from medusa_jax.config.training import StageConfig
from medusa_jax.machines.mesh import devices_of
from medusa_jax.tasks.optimisers import rate_of
from medusa_jax.training.members import Lane, Lanes, lanes_of
from medusa_jax.training.step import epoch_of, new_state, next_phase, program_of, train_step
from medusa_jax.training.weights import new_weights

FIT, _ = toy_parts()


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return toy_examples(tmp_path_factory.mktemp("toy") / "stores")


def made(examples, seed=0, config=None, **training):
    """The toy member, by default without MixUp and decay; always with a clip and a mean, so that
    one program serves all.
    """
    plain = {"mixup_probability": 0.0, "weight_decay": 0.0, "clip": 1e9, "ema": 0.5}
    config = config or toy_member(seed, **{**plain, **training})
    (member,) = toy_members([config], toy_data(examples, config))
    facts = replace(member.task.facts, weights_c=np.ones(3, np.float32))
    return replace(member, task=replace(member.task, facts=facts))


@pytest.fixture(scope="module")
def batches(examples):
    return [jax.device_put(examples.batch(rows)) for rows in np.resize(FIT, (5, 16))]


def started(member):
    """Its weights and its first state."""
    weights = new_weights(member.task, member.initial_key)
    params = jax.tree.map(jnp.copy, weights.params)
    return weights, new_state(member.task, member.task.phases[0], params)


def stepped(member, batches, state=None, weights=None):
    """Losses `[step, 3]` of its first phase, and the last state."""
    task, phase = member.task, member.task.phases[0]
    begun = started(member)
    weights, state = weights or begun[0], state or begun[1]
    first = int(state.step)
    epoch = epoch_of(
        task,
        weights,
        phase,
        member.steps_key,
        first=first,
        start=first,
        steps=100,
        rows=100,
        size=16,
    )
    program, losses = train_step(program_of(task, weights.graph, phase)), []
    for batch in batches:
        state, now = program(state, weights.constants, epoch, True, task.view(batch))
        losses.append(np.asarray(now))
    return np.stack(losses), state


def adam(state):
    """optax's moments."""
    return state.optimiser.inner_state[1][0]


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_thirty_losses_as_they_always_were(examples, batches):
    """Weights, dropout, MixUp and both losses: a change of these numbers changes every result, and
    must be meant.
    """
    member = made(examples, mixup_probability=0.3, weight_decay=0.01)
    losses, _ = stepped(member, batches * 6)
    np.testing.assert_allclose(losses[:, 0], GOLDEN, rtol=1e-4)
    other, _ = stepped(replace(member, seed=(0, 1)), batches, weights=started(member)[0])
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
        rates = np.broadcast_to(rate_of(stage, 20)(np.arange(20)), 20)
        after = optax.constant_schedule(0.5)
        if schedule == "cosine":
            after = optax.cosine_decay_schedule(0.5, 20 - warmup)
        rise = [0.5 * (k + 1) / warmup for k in range(warmup)]
        expected = rise + [float(after(k - warmup)) for k in range(warmup, 20)]
        np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-7)


def test_a_step_is_adamws(examples, batches):
    """Three steps against optax's own AdamW on the same gradients, which the moments give away."""
    optimiser = optax.adamw(1e-2, weight_decay=0.1)
    member = made(examples, weight_decay=0.1)
    weights, state = started(member)
    params = weights.params
    reference = optimiser.init(params)
    for batch in batches[:3]:
        before = adam(state).mu
        _, state = stepped(member, [batch], jax.tree.map(jnp.copy, state), weights)
        pair = adam(state).mu, before
        gradients = jax.tree.map(lambda new, old: (new - 0.9 * old) / 0.1, *pair)
        updates, reference = optimiser.update(gradients, reference, params)
        params = optax.apply_updates(params, updates)
    moved = flat(params) - flat(weights.params)
    assert np.abs(moved).max() > 1e-2
    np.testing.assert_allclose(flat(state.params) - flat(weights.params), moved, atol=2e-5)


def test_clipping_bounds_the_norm_of_all_gradients(examples, batches):
    def gradient(clip):
        return flat(adam(stepped(made(examples, clip=clip), batches[:1])[1]).mu) / 0.1

    free, wide, narrow = gradient(1e9), gradient(1e3), gradient(0.5)
    np.testing.assert_array_equal(free, wide)
    assert np.linalg.norm(free) > 1
    np.testing.assert_allclose(narrow, free * 0.5 / np.linalg.norm(free), rtol=1e-4, atol=1e-7)


def test_the_running_mean_follows_the_weights_and_is_what_is_scored(examples, batches):
    member = made(examples, ema=0.5)
    weights, state = started(member)
    params = [flat(weights.params)]
    for batch in batches:
        _, state = stepped(member, [batch], state, weights)
        params.append(flat(state.params))
    mean = params[0]
    for step, now in enumerate(params[1:]):
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * now
    np.testing.assert_allclose(flat(state.scored), mean, rtol=1e-5, atol=1e-7)
    assert np.abs(flat(state.params) - mean).max() > 1e-3
    fresh = next_phase(member.task, member.task.phases[1], state, None)
    np.testing.assert_array_equal(flat(fresh.scored), flat(state.scored))
    assert (int(adam(fresh).count), int(fresh.step)) == (0, 5)
    assert not flat(adam(fresh).mu).any()


@pytest.mark.slow
def test_micro_batches_have_the_whole_batchs_gradient(examples, batches):
    """With MixUp across them, one utterance without ratings and none dropped."""
    config = toy_member(mixup_probability=1.0, clip=1e9, ema=0.5)
    model = config.model.model_copy(update={"dropout": 0.0})
    found = []
    for count in (1, 4):
        training = config.training.model_copy(update={"micro_batches": count})
        own = config.model_copy(update={"model": model, "training": training})
        found.append(stepped(made(examples, config=own), batches[:1]))
    (whole, state), (parts, other) = found
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    moments = flat(adam(state).mu)
    np.testing.assert_allclose(flat(adam(other).mu), moments, rtol=1e-4, atol=1e-7)
    assert np.abs(moments).max() > 1e-3


def test_a_member_takes_its_kind_of_target(examples, batches):
    """The loss on one-hot targets does not see the soft ones, and the other way round."""
    batch = batches[0]
    turned = batch._replace(soft=jnp.roll(batch.soft, 1, axis=1))

    def loss(targets, batch):
        return float(stepped(made(examples, targets=targets), [batch])[0][0, 1])

    assert loss("one_hot", batch) == loss("one_hot", turned)
    assert abs(loss("soft", batch) - loss("soft", turned)) > 1e-3


def test_a_mixed_rating_exists_only_where_both_were_rated(examples):
    """One rated utterance: in a mixed batch (three in ten) its partner has no rating to mix with,
    so no error is left.
    """
    batch = examples.batch(FIT[:16])
    alone, everyone = np.zeros((16, 3), np.float32), np.ones((16, 3), np.float32)
    alone[4] = 1

    def attribute_loss(rated, seed):
        changed = jax.device_put(batch._replace(attributes=7 * rated, rated=rated))
        return stepped(made(examples, seed, mixup_probability=0.3), [changed])[0][0, 2]

    lonely = [attribute_loss(alone, seed) for seed in range(20)]
    assert 1 <= lonely.count(0.0) <= 14
    assert min(attribute_loss(everyone, seed) for seed in range(20)) > 0


def test_members_of_equal_structure_share_lanes(examples):
    def lane(name, seed=0, **changes):
        modalities = changes.pop("modalities", ("words", "letters"))
        config = toy_member(seed, **{"clip": 1.0, "ema": 0.5, **changes})
        config = config.model_copy(update={"id": name, "modalities": modalities})
        member = made(examples, config=config)
        weights, state = started(member)
        return Lane(member, replace(weights, params=None), member.task.phases[0], state)

    lanes = [
        lane("a"),
        lane("b", seed=1, weight_decay=0.3, targets="one_hot", learning_rate=1e-3),
        lane("free", clip=None),
        lane("last", ema=None),
        lane("words", modalities=("words",)),
        lane("turned", modalities=("letters", "words")),
        lane("parts", micro_batches=2),
        lane("c"),
    ]
    stacked = [["a", "b", "c"], ["free"], ["last"], ["words"], ["turned"], ["parts"]]
    assert [some.ids for some in lanes_of(lanes, True, devices_of(1))] == stacked
    single = [[one.member.id] for one in lanes]
    assert [some.ids for some in lanes_of(lanes, False, devices_of(1))] == single
    both = Lanes(lanes[:2], devices_of(1))
    np.testing.assert_array_equal(flat(both.take(["b"])["b"]), flat(both.fetched()["b"]))
    np.testing.assert_array_equal(flat(both.take(["b"])["b"]), flat(lanes[1].state))


@pytest.mark.slow
def test_a_member_that_has_finished_keeps_its_lane_and_its_state(examples, batches):
    """Masked: the other one goes on to the same losses as if both did, and nothing is compiled
    again.
    """
    members = [made(examples, seed) for seed in (0, 1)]
    members = [replace(one, id=name) for one, name in zip(members, "ab", strict=True)]
    lanes = []
    for member in members:
        weights, state = started(member)
        phase = member.task.phases[0]
        lanes.append(Lane(member, replace(weights, params=None), phase, state))
    weights = started(members[0])[0]
    both = Lanes(lanes, devices_of(1))
    places = dict(first=0, start=0, steps=5, rows=5, size=16)
    phase = members[0].task.phases[0]
    epochs = {m.id: epoch_of(m.task, weights, phase, m.steps_key, **places) for m in members}
    before = flat(both.fetched()["a"])
    both.begin({"b": epochs["b"]}, fresh=True)
    masked = [np.asarray(both.step(batches[0]))[1]]
    compiled = both._train._cache_size()  # with what other tests compiled of the same program
    masked += [np.asarray(both.step(batch))[1] for batch in batches[1:]]
    np.testing.assert_array_equal(flat(both.fetched()["a"]), before)
    assert both._train._cache_size() == compiled
    np.testing.assert_allclose(masked, stepped(members[1], batches)[0], rtol=1e-5)
    assert list(both.sums()) == ["b"]
