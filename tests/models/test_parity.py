"""The JAX DeepSER against an independent one in PyTorch, with the same weights."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from medusa_jax.batches.examples import Batch
from medusa_jax.config.model import ModelConfig
from medusa_jax.config.training import MemberConfig, StageConfig, TrainingConfig
from medusa_jax.models.deepser import DeepSER, Statistic
from medusa_jax.tasks.deepser import DeepSERTask
from medusa_jax.tasks.facts import Facts
from medusa_jax.tasks.objective import attribute_loss, class_weights, classification_loss
from medusa_jax.training.checkpoint import as_dicts
from medusa_jax.training.step import epoch_of, new_state, program_of, train_step
from medusa_jax.training.weights import Weights

torch = pytest.importorskip("torch", reason="the PyTorch reference needs the extra `torch`")
import torch_deepser  # noqa: E402

HIDDEN, FEEDFORWARD, BATCH, LONGEST = 24, 40, 6, 12
WIDTHS = {"speech": 10, "text": 7, "whisper": 5}


def torch_weights(params):
    """The weights of a JAX DeepSER under the PyTorch reference's names."""
    weights = {}

    def put(name, leaf):
        weights[name] = torch.tensor(np.array(leaf))

    def put_linear(name, node):
        put(f"{name}.weight", node["kernel"].T)
        put(f"{name}.bias", node["bias"])

    def put_encoder(name, node):
        put_linear(f"{name}.w1", node["w1"])
        put_linear(f"{name}.w2", node["w2"])
        for i, layer in node["layers"].items():
            at = f"{name}.layers.{i}"
            put(f"{at}.self_attn.in_proj_weight", layer["attention"]["into"]["kernel"].T)
            put(f"{at}.self_attn.in_proj_bias", layer["attention"]["into"]["bias"])
            put_linear(f"{at}.self_attn.out_proj", layer["attention"]["out"])
            put_linear(f"{at}.linear1", layer["wide"])
            put_linear(f"{at}.linear2", layer["narrow"])
            for norm in ("norm1", "norm2"):
                put(f"{at}.{norm}.weight", layer[norm]["scale"])
                put(f"{at}.{norm}.bias", layer[norm]["bias"])

    tree = as_dicts(params)
    for group in ("encoders", "fusions"):
        for i, node in tree.get(group, {}).items():
            put_encoder(f"{group}.{i}", node)
    for name in ("project", "classify", "regress"):
        put_linear(name, tree[name])
    return weights


def pair(modalities, fusion, layers=2):
    """A JAX DeepSER (graph, params, statistics) and the reference with its weights, dropout off."""
    widths = dict(list(WIDTHS.items())[:modalities])
    config = ModelConfig(
        hidden=HIDDEN, feedforward=FEEDFORWARD, layers=layers, fusion=fusion, dropout=0.0
    )
    graph, params, statistics = nnx.split(
        DeepSER(config, list(widths.values()), 8, rngs=nnx.Rngs(3)), nnx.Param, Statistic
    )
    reference = torch_deepser.TorchDeepSER(
        list(widths.values()), HIDDEN, FEEDFORWARD, layers, 8, 0.0, fusion
    )
    missing = reference.load_state_dict(torch_weights(params), strict=True)
    assert not missing.missing_keys
    return widths, graph, params, statistics, reference


def ragged(widths, seed):
    """A batch with padding, an utterance without votes and one without ratings."""
    rng = np.random.default_rng(seed)
    lengths = {name: rng.integers(1, LONGEST + 1, BATCH).astype(np.int32) for name in widths}
    inputs = {
        name: rng.normal(size=(BATCH, LONGEST + 2, d)).astype(np.float32)
        for name, d in widths.items()
    }
    soft = rng.dirichlet(np.ones(8), BATCH).astype(np.float32)
    soft[1] = 0
    rated = np.ones((BATCH, 3), np.float32)
    rated[2] = 0
    truth = rng.uniform(1, 7, (BATCH, 3)).astype(np.float32) * rated
    slots = tuple(inputs.values()), tuple(lengths.values())
    return jax.device_put(Batch(*slots, soft, np.zeros_like(soft), truth, rated))


@partial(jax.jit, static_argnums=0)
def predicted(graph, params, statistics, batch):
    return nnx.merge(graph, params, statistics)(batch.inputs, batch.lengths)


def torch_loss(reference, batch, weights):
    batch = jax.tree.map(lambda leaf: torch.tensor(np.array(leaf)), batch)
    logits, attributes = reference(list(batch.inputs), list(batch.lengths))
    everyone = torch.ones(len(batch.soft), dtype=torch.bool)  # zeros add nothing to the plain mean
    has_class, has_ratings = everyone, batch.rated.sum(1) > 0
    value = torch_deepser.loss(
        logits,
        attributes,
        batch.soft,
        batch.attributes,
        torch.tensor(np.array(weights)),
        has_class,
        has_ratings,
    )
    return logits, attributes, value


@pytest.mark.parametrize("fusion", ["deep", "late"])
@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_logits_attributes_loss_and_gradients(modalities, fusion):
    widths, graph, params, statistics, reference = pair(modalities, fusion)
    batch = ragged(widths, seed=modalities)
    soft = np.asarray(batch.soft)
    weights = class_weights(soft)
    np.testing.assert_allclose(
        weights, torch_deepser.class_weights(torch.tensor(soft[soft.sum(1) > 0])), rtol=1e-6
    )
    weights = jnp.asarray(weights)

    def loss(params):
        logits, attributes = nnx.merge(graph, params, statistics)(batch.inputs, batch.lengths)
        return 1.5 * classification_loss(logits, batch.soft, weights) + 0.4 * attribute_loss(
            attributes, batch.attributes, batch.rated
        )

    value, gradients = jax.value_and_grad(loss)(params)
    logits, attributes = predicted(graph, params, statistics, batch)
    wanted_logits, wanted_attributes, wanted = torch_loss(reference, batch, weights)
    wanted.backward()
    np.testing.assert_allclose(logits, wanted_logits.detach(), atol=1e-5)
    np.testing.assert_allclose(attributes, wanted_attributes.detach(), atol=1e-5)
    np.testing.assert_allclose(value, wanted.item(), rtol=1e-5)
    found = torch_weights(gradients)
    for name, parameter in reference.named_parameters():
        np.testing.assert_allclose(found[name], parameter.grad, atol=1e-5, err_msg=name)


def test_three_layers_follow_the_general_rule():
    widths, graph, params, statistics, reference = pair(2, "deep", layers=3)
    batch = ragged(widths, seed=9)
    logits, _ = predicted(graph, params, statistics, batch)
    wanted, _, _ = torch_loss(reference, batch, np.ones(8, np.float32))
    np.testing.assert_allclose(logits, wanted.detach(), atol=1e-5)


@pytest.mark.parametrize("modalities", [2, 3])
def test_parameters_after_twenty_steps(modalities):
    widths, graph, params, statistics, reference = pair(modalities, "deep")
    config = TrainingConfig(mixup_probability=0.0, stage1=StageConfig(epochs=1, learning_rate=1e-3))
    weights = np.linspace(0.5, 2, 8, dtype=np.float32)
    sizes = ModelConfig(hidden=HIDDEN, feedforward=FEEDFORWARD, dropout=0.0)
    member = MemberConfig(id="m", modalities=tuple(widths), model=sizes, training=config)
    names = tuple("abcdefgh")
    facts = Facts(names, names, (), widths, {}, weights, np.zeros(1, int), 0)
    task = DeepSERTask(member, facts)
    phase, own = task.phases[0], Weights(graph, params, nnx.State({}), statistics)
    key, places = jax.random.key(0), dict(first=0, start=0, steps=20, rows=20, size=BATCH)
    epoch = epoch_of(task, own, phase, key, **places)
    state = new_state(task, phase, params)
    optimiser = torch.optim.AdamW(reference.parameters(), lr=1e-3, weight_decay=config.weight_decay)
    step = train_step(program_of(task, graph, phase))
    for k in range(20):
        batch = ragged(widths, seed=100 + k)
        # Every utterance has votes here: the gradients' test has one without.
        batch = batch._replace(soft=batch.soft.at[1].set(batch.soft[0]))
        state, losses = step(state, own.constants, epoch, True, batch)
        optimiser.zero_grad()
        wanted = torch_loss(reference, batch, weights)[2]
        wanted.backward()
        optimiser.step()
        np.testing.assert_allclose(losses[0], wanted.item(), rtol=1e-4)
    found = torch_weights(state.params)
    for name, parameter in reference.named_parameters():
        matters = np.ones(parameter.shape[0], bool)
        # Softmax cancels the keys' bias: its gradient is rounding noise, which Adam blows up.
        if name.endswith("in_proj_bias"):
            matters[HIDDEN : 2 * HIDDEN] = False
        found_p, wanted_p = found[name].numpy()[matters], parameter.detach().numpy()[matters]
        np.testing.assert_allclose(found_p, wanted_p, atol=1e-4, err_msg=name)


def test_the_reference_disagrees_when_padding_is_not_masked():
    """The negative control: the comparison would notice a missing mask."""
    widths, graph, params, statistics, reference = pair(2, "deep")
    batch = ragged(widths, seed=4)
    everything = batch._replace(
        lengths=tuple(
            jnp.full_like(n, x.shape[1]) for n, x in zip(batch.lengths, batch.inputs, strict=True)
        )
    )
    logits, _ = predicted(graph, params, statistics, everything)
    wanted, _, _ = torch_loss(reference, batch, np.ones(8, np.float32))
    assert np.abs(np.asarray(logits) - wanted.detach().numpy()).max() > 1e-3
