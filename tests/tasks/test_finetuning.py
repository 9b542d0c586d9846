"""Fine-tuning as a task: its phases, its numbers by stage, and predictions that depend on the
utterance alone.
"""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import softmax
from tuned_task import CLASSES, COUNT, tuned_data, tuned_member, tuned_members, tuned_stores

from medusa_jax.config.training import MemberConfig
from medusa_jax.errors import TrainingError
from medusa_jax.models.finetuned import Finetuned, Heads
from medusa_jax.models.mixup import Mix
from medusa_jax.tasks import staged
from medusa_jax.tasks.class_losses import secondary_loss
from medusa_jax.tasks.finetuning_inputs import check_inputs
from medusa_jax.tasks.task import Dataset, Task
from medusa_jax.training.memory import need_of
from medusa_jax.training.prediction import PREDICT_BATCH
from medusa_jax.training.step import predict_step, program_of
from medusa_jax.training.weights import new_weights

torch = pytest.importorskip("torch", reason="the encoders are made with PyTorch")
from small_models import save_model  # noqa: E402

PAD = 8  # a padded length's multiple
BOTH = {"modalities": ("wave", "text"), "finetuning": {"gender": "sum", "text": "multiply"}}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model("wavlm-large", tmp_path_factory.mktemp("model") / "wavlm", "tiny")


@pytest.fixture(scope="module")
def given(model, tmp_path_factory):
    return tuned_stores(tmp_path_factory.mktemp("tuned"), model)


def tuned(config: MemberConfig, given):
    """A member's task, its data and its initial weights."""
    data = tuned_data(*given, config)
    (member,) = tuned_members([config], data)
    return member.task, data, new_weights(member.task, member.initial_key)


def predicted(task, weights, batch):
    run = predict_step(program_of(task, weights.graph, None))
    return jax.device_get(run(weights.params, weights.constants, task.view(batch)))


def _is_key(x):
    return jnp.issubdtype(getattr(x, "dtype", np.int32), jax.dtypes.prng_key)


def with_section(config, **changes):
    own = config.finetuning.model_copy(update=changes)
    return config.model_copy(update={"finetuning": own})


def test_it_keeps_the_contract(model, given):
    task, data, _ = tuned(
        tuned_member(model, modalities=("text", "wave"), **{"finetuning": {"text": "sum"}}), given
    )
    assert isinstance(task, Task)
    assert isinstance(data, Dataset)
    facts = task.describe()
    assert facts["modalities"] == list(task.slots) == ["wave", "text"], "encoders come first"
    assert facts["widths"] == [1, 16]
    assert facts["classes"] == list(CLASSES)
    assert facts["backbones"]["wave"]["model"] == "wavlm"
    assert len(facts["backbones"]["wave"]["files"]) == 64


def test_an_encoder_is_described_by_its_files_wherever_they_lie(model, given, tmp_path):
    elsewhere = tmp_path / model.name
    elsewhere.mkdir()
    for file in model.iterdir():
        (elsewhere / file.name).write_bytes(file.read_bytes())
    one, other = (tuned(tuned_member(folder), given)[0] for folder in (model, elsewhere))
    assert one.describe() == other.describe()
    (elsewhere / "preprocessor_config.json").write_text('{"do_normalize": false}')
    assert tuned(tuned_member(elsewhere), given)[0].describe() != one.describe()


def test_class_weights_and_priors_are_of_stage_1_alone(model, given):
    """Stage 2 draws classes alike."""
    section = {"class_weights": True, "logit_adjustment": 0.5}
    task, _, _ = tuned(tuned_member(model, finetuning=section), given)
    first, second = map(task.knobs, task.phases)
    np.testing.assert_array_equal(first.weights_c, task.facts.weights_c)
    np.testing.assert_allclose(first.adjusted_c, 0.5 * np.log(task.facts.prior_c), rtol=1e-6)
    assert task.facts.prior_c.sum() == pytest.approx(1)
    np.testing.assert_array_equal(second.weights_c, 1)
    np.testing.assert_array_equal(second.adjusted_c, 0)


def test_layers_open_by_epoch_and_stage_2_goes_on_where_stage_1_ends(model, given):
    stages = {name: {"epochs": epochs} for name, epochs in (("stage1", 3), ("stage2", 2))}
    config = tuned_member(model, training=stages, finetuning={"unfreeze_epochs": 0.5})
    task, _, _ = tuned(config, given)
    opened = []
    for phase in task.phases:
        schedule = task.optimiser(phase, 4 * phase.epochs).schedules["opened"]
        opened.append(np.asarray(schedule(np.arange(4 * phase.epochs))).tolist())
    assert opened == [[1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6], [7, 7, 8, 8, 9, 9, 10, 10]]
    task, _, _ = tuned(tuned_member(model), given)
    schedule = task.optimiser(task.phases[0], 8).schedules["opened"]
    assert np.isinf(schedule(np.arange(8))).all()


def test_mixup_and_noise_are_drawn_from_keys_of_their_own(model, given, monkeypatch):
    keys, draw_mix = [], staged.draw_mix

    def noted(result):
        def call(*rest):
            (key,) = [x for x in rest if _is_key(x)]
            keys.append(jax.random.key_data(key).tolist())
            return result(*rest)

        return call

    task, data, weights = tuned(tuned_member(model), given)
    zeros = jnp.zeros((8, 3))
    monkeypatch.setattr(staged, "draw_mix", noted(draw_mix))
    monkeypatch.setattr(Finetuned, "pool", noted(lambda *_: zeros))
    monkeypatch.setattr(Finetuned, "heads", noted(lambda *_: Heads(zeros, zeros, None, None)))
    knobs = task.knobs(task.phases[0])
    drawn = task.draw(jax.random.key(3), knobs, 8)
    whole = nnx.merge(weights.graph, weights.params, *weights.constants)
    task.loss(
        whole, jax.device_put(task.view(data.batch(np.arange(8)))), knobs, drawn, jax.random.key(3)
    )
    assert len(np.unique(keys, axis=0)) == 3


def test_what_is_trained(model, given):
    """Not the convolutions; with a rank, of the encoder the low-rank parts alone."""
    for rank in (0, 2):
        _, _, weights = tuned(tuned_member(model, finetuning={"lora": rank}), given)
        paths = [path for path, _ in nnx.to_flat_state(weights.params)]
        assert not any("convolutions" in path for path in paths)
        inside = {path[-1] for path in paths if "backbones" in path}
        assert (inside == {"down", "up"}) == bool(rank)
        assert any("classify" in path for path in paths)
        assert any("layer_weights" in path for path in paths)
    assert any("convolutions" in path for path, _ in nnx.to_flat_state(weights.frozen))


@pytest.mark.slow
@pytest.mark.parametrize("evaluation", ["first", "windows"])
def test_predictions_do_not_depend_on_the_batch_or_the_padded_length(model, given, evaluation):
    """Crops of 0.0826 s are 1322 samples, no multiple of the padding's."""
    config = with_section(tuned_member(model, **BOTH), evaluation=evaluation, crop_seconds=0.0826)
    task, data, weights = tuned(config, given)
    data = replace(data, examples=data.evaluated)
    seconds = data.evaluated.stored[:, 0]
    rows = np.argsort(seconds)[[0, 1, COUNT // 2, -1]]
    assert seconds[rows[0]] < 1322 < seconds[rows[-1]]
    together = predicted(task, weights, data.evaluated.batch(rows))
    for place in (0, 3):
        batch = data.evaluated.batch(rows[[place]])
        length = -(-batch.lengths["wave"][0] // PAD) * PAD
        short = {**batch.inputs, "wave": batch.inputs["wave"][:, :length]}
        alone = predicted(task, weights, batch._replace(inputs=short))
        for name, values in alone.items():
            np.testing.assert_allclose(values[0], together[name][place], atol=1e-5)
    posteriors = np.exp(together["logits"]).sum(axis=1)
    assert np.allclose(posteriors, 1, atol=1e-4) == (evaluation == "windows")


@pytest.mark.slow
def test_a_long_utterance_has_the_mean_of_its_windows(model, given):
    """Each window as an utterance of its own, weighed by its length."""
    size = 1328
    config = with_section(tuned_member(model, **BOTH), evaluation="windows", crop_seconds=0.083)
    task, data, weights = tuned(config, given)
    row = int(np.argmax(data.evaluated.stored[:, 0]))
    batch = data.evaluated.batch(np.array([row]))
    together = predicted(task, weights, batch)
    length = int(batch.lengths["wave"][0])
    starts = range(0, length, size)
    assert len(starts) == 3
    parts = data.evaluated.batch(np.full(len(starts), row))
    cut = [batch.inputs["wave"][0, start : start + size] for start in starts]
    waves = np.stack([np.pad(part, ((0, size - len(part)), (0, 0))) for part in cut])
    shares = np.array([min(size, length - start) for start in starts])
    inputs = {**parts.inputs, "wave": waves}
    lengths = {**parts.lengths, "wave": shares.astype(np.int32)}
    first, _, _ = tuned(with_section(config, evaluation="first"), given)
    alone = predicted(first, weights, parts._replace(inputs=inputs, lengths=lengths))
    shares = shares / length
    posteriors = softmax(alone["logits"], axis=1)
    np.testing.assert_allclose(np.exp(together["logits"][0]), shares @ posteriors, atol=1e-5)
    wanted = shares @ alone["attributes"]
    np.testing.assert_allclose(together["attributes"][0], wanted, atol=1e-4)


@pytest.mark.slow
def test_an_unknown_gender_has_a_row_of_its_own(model, given):
    task, data, weights = tuned(tuned_member(model, **BOTH), given)
    rows = np.array([np.flatnonzero(data.examples.gender == g)[0] for g in (0, 1, 2)])
    batch = data.examples.batch(rows)
    before = predicted(task, weights, batch)["logits"]
    weights.params["gender"][...] = weights.params["gender"][...].at[2].add(1.0)
    moved = np.abs(predicted(task, weights, batch)["logits"] - before).max(axis=1)
    np.testing.assert_array_equal(moved > 1e-4, [False, False, True])


@pytest.mark.slow
def test_stored_convolutions_and_half_precision_give_the_same_predictions(model, given):
    """Of audio no longer than the crop: what is stored was normalised as a whole."""
    found = {}
    for name in ("wave", "half", "conv"):
        config = with_section(tuned_member(model, wave=name), crop_seconds=1.0)
        task, data, weights = tuned(config, given)
        found[name] = predicted(task, weights, data.evaluated.batch(np.arange(8)))
    for name in ("half", "conv"):
        for output, wanted in found["wave"].items():
            np.testing.assert_allclose(found[name][output], wanted, atol=2e-3)
    assert np.ptp(found["wave"]["logits"], axis=0).max() > 0.02, "utterances differ by far more"


@pytest.mark.slow
def test_a_batch_in_parts_has_the_whole_ones_losses(model, given):
    """Without noise, which each part draws for itself."""
    found = []
    for parts in (1, 2):
        quiet = {"noise": False, "dropout": 0.0, "gender_loss": 0.5}
        config = tuned_member(model, training={"micro_batches": parts}, finetuning=quiet)
        task, data, weights = tuned(config, given)
        knobs, key = task.knobs(task.phases[0]), jax.random.key(0)
        drawn = task.draw(key, knobs, 8)
        batch = jax.device_put(task.view(data.batch(data.plan(0, 0)[0])))

        def losses(params, task=task, weights=weights, batch=batch, knobs=knobs, drawn=drawn):
            model = nnx.merge(weights.graph, params, *weights.constants)
            return task.loss(model, batch, knobs, drawn, jax.random.key(0))[1]

        found.append(jax.jit(losses)(weights.params))
    assert np.asarray(found[0]).min() > 0.1
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


@pytest.mark.slow
def test_secondary_emotions_are_learned_by_a_head_of_their_own(model, given):
    """Mixed as the vector is; without a weight there is neither head nor target."""
    quiet = {"noise": False, "dropout": 0.0, "secondary_loss": 0.5}
    task, data, weights = tuned(tuned_member(model, finetuning=quiet), given)
    rows = data.plan(0, 0)[0]
    batch, knobs = jax.device_put(task.view(data.batch(rows))), task.knobs(task.phases[0])
    lam, partner = jnp.linspace(0.1, 0.9, 8), jnp.arange(8)[::-1]

    def losses(params):
        model = nnx.merge(weights.graph, params, *weights.constants)
        total, parts = task.loss(model, batch, knobs, Mix(partner, lam), jax.random.key(0))
        x_bw = model.pool(batch.inputs, batch.lengths, batch.gender)
        mixed = lam[:, None] * x_bw + (1 - lam[:, None]) * x_bw[partner]
        return total, (parts, model.heads(mixed).secondary_bc)

    (gradient, (parts, logits)) = jax.jit(jax.grad(losses, has_aux=True))(weights.params)
    named = data.examples.secondary[rows]
    assert 0 < named[:, -1].sum() < 8
    mixed = lam[:, None] * named + (1 - lam[:, None]) * named[::-1]
    wanted = float(secondary_loss(logits, mixed[:, :-1], mixed[:, -1]))
    found = dict(zip(task.losses, map(float, parts), strict=True))
    assert found["secondary_loss"] == pytest.approx(wanted, rel=1e-4)
    others = found["class_loss"], found["attribute_loss"], found["secondary_loss"]
    shares = float(knobs.class_loss), float(knobs.attribute_loss), 0.5
    assert found["loss"] == pytest.approx(np.dot(shares, others), rel=1e-5)
    assert np.abs(gradient["secondary"]["kernel"][...]).max() > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("evaluation", ["first", "windows"])
def test_predictions_need_no_more_memory_than_is_reckoned(model, given, evaluation):
    """Of small batches in training, of whole utterances in several windows each."""
    config = tuned_member(model, training={"batch_size": 1}, finetuning={"pooling": "mean"})
    config = with_section(config, evaluation=evaluation, crop_seconds=0.06)
    task, data, weights = tuned(config, given)
    need, shapes = need_of(task, data), data.evaluated.largest_batch(PREDICT_BATCH)
    assert (jax.tree.leaves(shapes.inputs)[0].shape[1] > 3 * 960) == (evaluation == "windows")
    run = predict_step(program_of(task, weights.graph, None))
    program = run.lower(weights.params, weights.constants, task.view(shapes)).compile()
    used = program.memory_analysis().temp_size_in_bytes
    assert need.predicting / 4 < used < need.predicting
    assert need.predicting > need.step, "else the reckoning would not matter"


def products(jaxpr):
    """Multiplications of all matrix products in a program, those of a scan at each of its steps."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            total += math.prod(out) * math.prod(left[axis] for axis in contracted)
        inner = (
            getattr(one, "jaxpr", one) for one in jax.tree.leaves(list(equation.params.values()))
        )
        times = equation.params.get("length", 1)
        total += times * sum(products(one) for one in inner if hasattr(one, "eqns"))
    return total


def gradients_cost(model, given, **section):
    """Multiplications of a step's gradient, its forward pass aside."""
    quiet = {"noise": False, "remat": False, "pooling": "mean", **section}
    task, data, weights = tuned(tuned_member(model, finetuning=quiet), given)
    batch = jax.device_put(task.view(data.batch(data.plan(0, 0)[0])))
    knobs, key = task.knobs(task.phases[0]), jax.random.key(0)
    drawn = task.draw(key, knobs, 8)

    def loss(params):
        whole = nnx.merge(weights.graph, params, *weights.constants)
        return task.loss(whole, batch, knobs, drawn, key)[0]

    both = (jax.make_jaxpr(make)(weights.params) for make in (jax.grad(loss), loss))
    return float(np.subtract(*(products(one.jaxpr) for one in both)))


@pytest.mark.parametrize("name", ["wavlm-large", "whisper"])
def test_frozen_layers_cost_no_gradient(name, given, tmp_path):
    """Of three layers each costs the same; with none trained the heads alone are left."""
    folder = save_model(name, tmp_path / "model", "tiny")
    costs = [gradients_cost(folder, given, top_layers=layers) for layers in (0, 1, 2)]
    heads, layer = costs[0], costs[1] - costs[0]
    assert costs[2] - costs[1] == pytest.approx(layer, rel=0.01)
    assert heads < layer / 20
    everything = gradients_cost(folder, given)
    assert everything > costs[2] + 0.9 * layer


def test_without_a_weight_no_secondary_emotions_are_carried(model, given):
    task, data, weights = tuned(tuned_member(model), given)
    assert data.batch(np.arange(4)).secondary is None
    assert "secondary" not in weights.params
    assert "secondary_loss" not in task.losses


def test_secondary_emotions_that_no_rater_named_are_refused(model, given):
    corpus, stores = given
    unnamed = {name: 0 for name in corpus.frame.columns if name.startswith("secondary_")}
    silent = replace(corpus, frame=corpus.frame.assign(**unnamed))
    config = tuned_member(model, finetuning={"secondary_loss": 0.5})
    check_inputs(config, tuned_data(*given, config))
    with pytest.raises(TrainingError, match="no training utterance has secondary emotions"):
        check_inputs(config, tuned_data(silent, stores, config))
