"""The authors' published weights, under their own names, in our DeepSER."""

import jax
import numpy as np
import pytest
from flax import nnx

from medusa_jax.config.model import ModelConfig
from medusa_jax.errors import CheckpointError, FeatureError
from medusa_jax.hub.convert import read_arrays
from medusa_jax.models.deepser import DeepSER
from medusa_jax.models.published import published_deepser, published_name

torch = pytest.importorskip("torch", reason="the PyTorch reference needs the extra `torch`")
import torch_deepser  # noqa: E402

HIDDEN, FEEDFORWARD = 24, 40
WIDTHS = {"speech": 10, "whisper": 5, "text": 7}
CONFIG = ModelConfig(hidden=HIDDEN, feedforward=FEEDFORWARD)
# The reference's names: the published ones (net/skeleton.py and net/leg.py of the published code).
RENAMED = {
    "encoders.": "legs.",
    "fusions.0.": "leg4.",
    "fusions.1.": "leg5.",
    ".w1.": ".linear1.",
    ".w2.": ".linear2.",
    ".layers.": ".transformer.layers.",
}
HEADS = {"project": "linear1", "classify": "linear2", "regress": "linear3"}


def as_published(name):
    head, _, rest = name.partition(".")
    if head in HEADS:
        return f"{HEADS[head]}.{rest}"
    for ours, theirs in RENAMED.items():
        name = name.replace(ours, theirs)
    return name


def reference():
    torch.manual_seed(0)
    return torch_deepser.TorchDeepSER(list(WIDTHS.values()), HIDDEN, FEEDFORWARD).eval()


def state_of(model):
    return {as_published(name): tensor for name, tensor in model.state_dict().items()}


@pytest.fixture
def arrays():
    return {name: tensor.numpy() for name, tensor in state_of(reference()).items()}


def test_a_published_file_gives_the_same_predictions(tmp_path):
    torch.save(state_of(reference()), tmp_path / "model.pt")
    ours = published_deepser(read_arrays(tmp_path / "model.pt"), CONFIG, WIDTHS)
    rng = np.random.default_rng(1)
    lengths = {name: np.array([9, 4], np.int32) for name in WIDTHS}
    inputs = {name: rng.normal(size=(2, 9, d)).astype(np.float32) for name, d in WIDTHS.items()}
    logits, attributes = ours(*jax.device_put((list(inputs.values()), list(lengths.values()))))
    with torch.no_grad():
        wanted = reference()(
            [torch.tensor(x) for x in inputs.values()], [torch.tensor(n) for n in lengths.values()]
        )
    np.testing.assert_allclose(logits, wanted[0], atol=1e-5)
    np.testing.assert_allclose(attributes, wanted[1], atol=1e-5)


def test_every_parameter_has_one_published_name(arrays):
    model = DeepSER(CONFIG, list(WIDTHS.values()), 8, rngs=nnx.Rngs(0))
    names = [published_name(path) for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))]
    assert len(set(names)) == len(names)
    assert set(names) == set(arrays)


def test_all_that_is_wrong_is_named_at_once(arrays):
    del arrays["leg5.linear1.bias"]
    arrays["legs.3.linear1.bias"] = np.zeros(HIDDEN)
    arrays["linear2.weight"] = np.zeros((9, HIDDEN))
    with pytest.raises(CheckpointError) as caught:
        published_deepser(arrays, CONFIG, WIDTHS)
    for part in ("leg5.linear1.bias is missing", "legs.3.linear1.bias is unknown", "(9, 24)"):
        assert part in str(caught.value)


def test_long_lists_of_mistakes_are_cut(arrays):
    del arrays["linear3.bias"]
    arrays = {f"module.{name}": array for name, array in arrays.items()}
    with pytest.raises(CheckpointError, match="more"):
        published_deepser(arrays, CONFIG, WIDTHS)


def test_modalities_in_another_order_are_refused(arrays):
    widths = dict(reversed(WIDTHS.items()))
    with pytest.raises(CheckpointError, match=r"legs\.0\.linear1\.weight"):
        published_deepser(arrays, CONFIG, widths)


@pytest.mark.parametrize(
    "change", [{"layers": 3}, {"heads": 2}, {"fusion": "late"}, {"standardise": True}]
)
def test_a_configuration_that_differs_is_refused(arrays, change):
    with pytest.raises(CheckpointError, match=next(iter(change))):
        published_deepser(arrays, CONFIG.model_copy(update=change), WIDTHS)


def test_half_precision_is_read_as_float32(tmp_path):
    torch.save({"a": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "half.pt")
    found = read_arrays(tmp_path / "half.pt")["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [1, 1])


def test_a_file_that_holds_more_than_tensors_is_refused(tmp_path):
    torch.save({"model": {"a": torch.ones(2)}}, tmp_path / "model.pt")
    with pytest.raises(FeatureError, match="tensors"):
        read_arrays(tmp_path / "model.pt")
