"""Properties that only a GPU can show: `pytest -m gpu`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_task import (
    toy_data,
    toy_examples,
    toy_group,
    toy_members,
    toy_metrics,
    toy_parts,
    toy_train,
)

from medusa_jax.config.training import EngineConfig
from medusa_jax.layers.matmul import matmul_precision
from medusa_jax.training.memory import group_bytes, need_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu", reason="there is no GPU"),
]
FIT, HELD_OUT = toy_parts()


def error_of(precision):
    """Largest error of a product of 512 terms, relative to the largest result."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 512, 512)).astype(np.float32)
    with matmul_precision(precision):
        found = np.asarray(jnp.asarray(a) @ jnp.asarray(b))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    return np.abs(found - exact).max() / np.abs(exact).max()


def test_float32_is_float32_and_tf32_is_asked_for():
    assert error_of("float32") < 2e-6
    assert 1e-5 < error_of("tf32") < 1e-2


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return toy_examples(tmp_path_factory.mktemp("toy") / "stores")


def losses_of(examples, folder, **engine):
    toy_train(toy_group(), examples, FIT, HELD_OUT, folder, engine=EngineConfig(**engine))
    names = [config.id for config in toy_group()]
    return [[line["loss"] for line in toy_metrics(folder, name)] for name in names]


def test_members_train_alike_side_by_side_in_turn_and_by_the_tuned_layers(
    examples, tmp_path, monkeypatch
):
    loop = losses_of(examples, tmp_path / "loop", side_by_side="loop")
    vmap = losses_of(examples, tmp_path / "vmap", side_by_side="vmap")
    monkeypatch.setenv("MEDUSA_TUNED", "cpu")
    jax.clear_caches()
    tuned = losses_of(examples, tmp_path / "tuned", side_by_side="loop")
    for one, other, third in zip(loop, vmap, tuned, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3)
        np.testing.assert_allclose(third, one, rtol=1e-3)


def test_bfloat16_trains_near_float32(examples, tmp_path):
    config = toy_group()[0]
    model = config.model.model_copy(update={"precision": "bfloat16"})
    near = config.model_copy(update={"model": model})
    for name, one in (("exact", config), ("near", near)):
        toy_train([one], examples, FIT, HELD_OUT, tmp_path / name)
    exact, found = (toy_metrics(tmp_path / name, "first") for name in ("exact", "near"))
    assert found[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.02)


def test_memory_stays_within_the_plan(examples, tmp_path):
    configs = toy_group()
    data = toy_data(examples, configs[0])
    needs = [need_of(member.task, data) for member in toy_members(configs, data)]
    before = jax.devices()[0].memory_stats()["bytes_in_use"]
    toy_train(configs, examples, FIT, HELD_OUT, tmp_path)
    peak = jax.devices()[0].memory_stats()["peak_bytes_in_use"] - before
    assert peak < 4 * group_bytes(needs, True) + 64e6, "the programs' own buffers are extra"
