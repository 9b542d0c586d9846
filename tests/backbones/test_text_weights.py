"""Weights of text encoders under all their published names, and those that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from medusa_jax.backbones.text_weights import load_text
from medusa_jax.errors import FeatureError

torch = pytest.importorskip("torch")
from model_files import copied, reset, rewrite, same  # noqa: E402
from small_models import save_model  # noqa: E402

PREFIXES = {"bert": "bert", "roberta": "roberta", "modernbert": "model"}
# A key of one layer, one of none, and the parameters that they fill.
MISSING = {
    "bert": ("encoder.layer.1.attention.self.query.weight", "embeddings.LayerNorm.bias"),
    "roberta": ("encoder.layer.4.output.dense.weight", "embeddings.word_embeddings.weight"),
    "modernbert": ("layers.2.attn_norm.weight", "embeddings.norm.weight"),
}
UNFILLED = {
    "bert": ("layers.query.kernel", "embeddings.norm.bias"),
    "roberta": ("layers.narrow.kernel", "embeddings.words.embedding"),
    "modernbert": ("layers.after.scale", "norm.scale"),
}


@pytest.fixture(scope="module", params=PREFIXES)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def saved(kind, tmp_path_factory):
    return save_model(kind, tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to change."""
    return copied(saved, tmp_path)


def test_a_model_with_a_head_gives_its_encoder(kind, saved, folder):
    def change(tensors):
        headed = {f"{PREFIXES[kind]}.{key}": value for key, value in tensors.items()}
        heads = ("lm_head.weight", "head.norm.weight", "decoder.bias", "classifier.dense.bias")
        heads += ("cls.predictions.bias", f"{PREFIXES[kind]}.pooler.dense.bias")
        return {**headed, **{name: np.zeros((4, 4), np.float32) for name in heads}}

    rewrite(folder, change)
    assert same(load_text(folder), load_text(saved))


def test_older_files_have_other_names_for_norms_and_tables_of_positions(kind, saved, folder):
    def change(tensors):
        for key in [key for key in tensors if "LayerNorm" in key]:
            new = key.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
            tensors[new] = tensors.pop(key)
        tensors["embeddings.position_ids"] = np.arange(32)[None]

    rewrite(folder, change)
    assert same(load_text(folder), load_text(saved))


def test_every_fault_is_named_in_one_error(kind, folder):
    def change(tensors):
        for key in MISSING[kind]:
            del tensors[key]
        bias = next(key for key in tensors if key.endswith(("output.dense.bias", "Wo.weight")))
        tensors[bias] = np.zeros(3, np.float32)
        tensors["encoder.surprise"] = np.zeros(1, np.float32)

    rewrite(folder, change)
    with pytest.raises(FeatureError) as caught:
        load_text(folder)
    for word in (*UNFILLED[kind], "several shapes", "encoder.surprise"):
        assert word in caught.value.what


def test_the_final_norm_is_not_forgotten(tmp_path):
    folder = save_model("modernbert", tmp_path)
    rewrite(folder, lambda tensors: tensors.pop("final_norm.weight") is None)
    with pytest.raises(FeatureError, match=r"after\.scale is \(4, 32\), not \(5, 32\)"):
        load_text(folder)


def test_weights_of_another_architecture(folder):
    rewrite(folder, lambda tensors: {"encoder.layers.0.fc1.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(FeatureError, match="do not fit the model"):
        load_text(folder)


def test_the_folder_of_another_architecture(tmp_path):
    with pytest.raises(FeatureError, match="architecture 'wavlm'"):
        load_text(save_model("wavlm-base", tmp_path))


def test_an_option_that_is_not_ported(folder, kind):
    key = "hidden_activation" if kind == "modernbert" else "hidden_act"
    reset(folder, **{key: "gelu_new"})
    with pytest.raises(FeatureError, match="gelu_new") as caught:
        load_text(folder)
    assert "torch" in str(caught.value.hint)


def test_layers_computed_again_give_the_same_gradient(saved):
    graph, params = nnx.split(load_text(saved))
    ids_bt = jnp.array(np.random.default_rng(0).integers(5, 300, (3, 9)))

    def scalar(params, remat):
        states_lbth = nnx.merge(graph, params)(
            ids_bt, jnp.array([9, 5, 1]), remat=remat
        ).states_lbth
        return (states_lbth[-1] ** 2 * jnp.arange(states_lbth.shape[-1])).mean()

    own = jax.jit(jax.grad(scalar), static_argnums=1)
    plain, again = (jax.tree.leaves(own(params, remat)) for remat in (False, True))
    largest = max(np.abs(leaf).max() for leaf in plain)
    assert largest > 0
    for one, other in zip(again, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6 * largest)
