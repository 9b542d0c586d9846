"""Fine-tuning by the engine's own step against an independent loop in PyTorch, from equal weights.

Both take the same batches of padded waves. An update of AdamW is at most about one learning rate,
and where a gradient is nothing but rounding its sign is chance: weights are compared in units of
the rate times the steps.
"""

import jax
import numpy as np
import pytest
from flax import nnx
from tuned_task import CLASSES, tuned_member

from medusa_jax.backbones.pretrained import Backbone
from medusa_jax.batches.examples import Batch
from medusa_jax.machines.mesh import devices_of
from medusa_jax.tasks.facts import Facts
from medusa_jax.tasks.finetuning import FinetuningTask
from medusa_jax.training.checkpoint import as_dicts
from medusa_jax.training.members import Member, one_lane

torch = pytest.importorskip("torch", reason="the PyTorch reference needs the extra `torch`")
import torch_finetuning  # noqa: E402
from small_models import save_model  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*mismatched key_padding_mask")
RATE, STEPS, SIZE, LONGEST, WIDTH = 1e-4, 20, 4, 4000, 12
LOSSES = {"class": 1.5, "attribute": 0.4, "gender": 0.3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model("wavlm-large", tmp_path_factory.mktemp("model") / "wavlm", "tiny")


def batches(steps, seed=0):
    """Waves of many lengths, soft labels, some ratings, all three genders."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(steps):
        samples = rng.integers(450, LONGEST, SIZE)
        place = np.arange(LONGEST)
        valid = place < samples[:, None]
        tone = np.sin(place**2 * rng.uniform(1e-4, 4e-4, (SIZE, 1)))  # frames unlike each other
        wave = tone * np.sin(place / 400) ** 2 + rng.normal(0, 0.05, tone.shape)
        rated = (rng.random((SIZE, 1)) < 0.7) | (np.arange(SIZE) == 0)[:, None]
        found.append(
            {
                "wave": np.where(valid, wave, 0).astype(np.float32),
                "samples": samples,
                "soft": rng.dirichlet(np.ones(len(CLASSES)), SIZE).astype(np.float32),
                "attributes": rng.uniform(1, 7, (SIZE, 3)).astype(np.float32),
                "rated": np.repeat(rated, 3, axis=1).astype(np.float32),
                "gender": rng.permutation([0, 1, 2, 1]),
            }
        )
    return found


def trained(folder, given, **rates):
    """The member's initial and final weights, and its losses."""
    config = tuned_member(
        folder,
        training={
            "stage1": {"epochs": 1, "learning_rate": RATE},
            "mixup_probability": 0.0,
            "class_loss": LOSSES["class"],
            "attribute_loss": LOSSES["attribute"],
        },
        finetuning={
            "width": WIDTH,
            "dropout": 0.0,
            "noise": False,
            "gender": "sum",
            "gender_loss": LOSSES["gender"],
            **rates,
        },
    )
    weights_c = np.ones(len(CLASSES), np.float32)
    names = CLASSES, CLASSES, ()
    facts = Facts(*names, {"wave": 1}, {}, weights_c, np.zeros(1, int), 0)
    member = Member("one", FinetuningTask(config, facts), (0, 0), "")
    devices = devices_of(1)
    lanes = one_lane(member, 0, (len(given), SIZE), devices)
    before = jax.device_get(lanes.take(["one"])["one"].params)
    losses = []
    for one in given:
        inputs, lengths = {"wave": one["wave"][:, :, None]}, {"wave": one["samples"]}
        soft = one["soft"]
        rest = soft, one["attributes"], one["rated"], one["gender"].astype(np.int32)
        batch = Batch(inputs, lengths, soft, *rest)
        losses.append(float(lanes.step(devices.spread(batch, SIZE))[0]))
    return before, jax.device_get(lanes.take(["one"])["one"].params), losses


def heads(params, model):
    """All but the encoder: our arrays beside PyTorch's tensors, in one layout."""
    tree = as_dicts(params)
    (pool,), (share,) = tree["pools"].values(), tree["layer_weights"].values()
    yield share, model.layer_weights
    yield tree["gender"], model.gender.weight
    yield pool["outer"]["kernel"].T, model.pooling.outer.weight
    yield tree["norm"]["scale"], model.norm.weight
    yield tree["norm"]["bias"], model.norm.bias
    linear = {name: tree[name] for name in ("project", "classify", "regress")}
    linear |= {"tell": tree["tell_gender"]}
    modules = {name: getattr(model, name) for name in linear}
    for name, node in {**linear, "inner": pool["inner"]}.items():
        module = modules.get(name, model.pooling.inner)
        yield node["kernel"].T, module.weight
        yield node["bias"], module.bias


def reference(folder, before):
    """PyTorch's model with the member's initial heads."""
    model = torch_finetuning.TorchFinetuned(folder, WIDTH, len(CLASSES))
    with torch.no_grad():
        for ours, theirs in heads(before, model):
            theirs.copy_(torch.tensor(np.array(ours)))
    return model


def encoders(params, model, folder):
    """The encoder's arrays by path, ours beside PyTorch's, which pass through a model folder."""
    model.wavlm.save_pretrained(folder)
    filled = nnx.state(Backbone(folder, rngs=nnx.Rngs(0)), nnx.Param)
    theirs = dict(nnx.to_flat_state(filled))
    for path, leaf in nnx.to_flat_state(params["backbones"][0]):
        yield "/".join(map(str, path)), np.asarray(leaf[...]), np.asarray(theirs[path][...])


def close(after, before, model, folder, steps, rate=RATE):
    """No weight differs by more than a hundredth of what it may have moved; attention pooling's,
    whose gradient is hardly more than rounding, by no more than a twentieth on average.
    """
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after, before)
    assert max(jax.tree.leaves(moved)) > rate * steps / 2
    attention = set(map(id, model.pooling.parameters()))
    for ours, theirs in heads(after, model):
        away = np.abs(np.asarray(ours) - theirs.detach().numpy()) / (rate * steps)
        assert away.mean() < 0.05 if id(theirs) in attention else away.max() < 0.01
    for name, ours, theirs in encoders(after, model, folder):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.01 * RATE * steps, err_msg=name)


@pytest.mark.slow
def test_twenty_steps_are_pytorchs(folder, tmp_path):
    given = batches(STEPS)
    before, after, losses = trained(folder, given)
    model = reference(folder, before)
    groups = torch_finetuning.rates_by_layer(model, RATE, head=1.0, decay=1.0)
    wanted = torch_finetuning.train(model, given, LOSSES, groups)
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)
    close(after, before, model, tmp_path, STEPS)


@pytest.mark.slow
def test_rates_by_layer_are_pytorchs_groups(folder, tmp_path):
    """Heads at ten times the rate, which falls by half from a layer to the one below."""
    given = batches(5, seed=1)
    before, after, losses = trained(folder, given, head_factor=10.0, layer_decay=0.5)
    model = reference(folder, before)
    groups = torch_finetuning.rates_by_layer(model, RATE, head=10.0, decay=0.5)
    assert len(groups) == 1 + 3 + 1
    wanted = torch_finetuning.train(model, given, LOSSES, groups)
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)
    close(after, before, model, tmp_path, 5, 10 * RATE)
    other = reference(folder, before)
    alike = torch_finetuning.rates_by_layer(other, RATE, head=1.0, decay=1.0)
    assert (
        np.abs(np.divide(losses, torch_finetuning.train(other, given, LOSSES, alike)) - 1).max()
        > 1e-3
    )
