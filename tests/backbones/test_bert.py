"""BERT, RoBERTa and their kin in Flax against transformers, on random and on published weights."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.backbones.text_weights import load_text

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from text_states import COUNTS, VOCABULARY, run, saved, states_in_torch, tokens  # noqa: E402

NARROW = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4)
WIDE = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, layer_norm_eps=1e-5)
KIN = dict(pad_token_id=1, type_vocab_size=1)
MODELS = {
    "bert": ("Bert", {**NARROW, "pad_token_id": 0}),
    "bert-wide": ("Bert", {**WIDE, "pad_token_id": 3}),
    "roberta": ("Roberta", {**WIDE, **KIN}),
    "roberta-narrow": ("Roberta", {**NARROW, "pad_token_id": 0}),
    "xlm-roberta": ("XLMRoberta", {**NARROW, **KIN}),
    "camembert": ("Camembert", {**NARROW, **KIN}),
}


@pytest.fixture(scope="module", params=MODELS)
def both(request, tmp_path_factory):
    """PyTorch's model and ours with its weights."""
    name, settings = MODELS[request.param]
    shape = dict(intermediate_size=37, vocab_size=VOCABULARY, max_position_embeddings=210)
    config = getattr(transformers, f"{name}Config")(**shape, **settings)
    model = getattr(transformers, f"{name}Model")(config).eval()
    return model, load_text(saved(model, tmp_path_factory.mktemp("model")))


def test_every_hidden_state_in_a_padded_batch_is_that_of_each_alone(both):
    model, ours = both
    ids_bt = tokens()
    found = run(ours, ids_bt, COUNTS)
    for row, count in enumerate(COUNTS):
        wanted = states_in_torch(model, ids_bt[row, :count])
        assert found.valid_bt[row].sum() == count
        np.testing.assert_allclose(found.states_lbth[:, row, :count], wanted, atol=1e-4, rtol=1e-4)


def test_padding_changes_nothing(both):
    """Neither its length, up to past the table of positions, nor the tokens that it holds."""
    _, ours = both
    count, ids_t = COUNTS[1], tokens()[1]
    alone = run(ours, ids_t[None, :count], [count]).states_lbth[:, 0]
    longer = np.concatenate([ids_t[:count], np.full(150, VOCABULARY - 1)])
    padded = run(ours, longer[None], [count]).states_lbth[:, 0]
    np.testing.assert_allclose(padded[:, :count], alone, atol=1e-5)
    assert np.isfinite(padded).all()
    changed = run(ours, longer[None], [count + 1]).states_lbth[:, 0]
    assert np.abs(changed[:, :count] - alone).max() > 1e-2


def test_a_filler_within_a_text_has_transformers_position(both):
    model, ours = both
    ids_t = tokens()[0, : COUNTS[0]].copy()
    ids_t[3] = ours.config.filler
    wanted = states_in_torch(model, ids_t)
    found = run(ours, ids_t[None], [len(ids_t)]).states_lbth[:, 0]
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)


def test_as_many_tokens_as_there_are_positions(both):
    model, ours = both
    longest = ours.config.longest
    ids_t = np.random.default_rng(5).integers(3, VOCABULARY, longest)
    found = run(ours, ids_t[None], [longest]).states_lbth[:, 0]
    np.testing.assert_allclose(found, states_in_torch(model, ids_t), atol=1e-4, rtol=1e-4)


def test_bfloat16_is_near_float32(both):
    _, ours = both
    exact = run(ours, tokens(), COUNTS).states_lbth
    rounded = run(ours, tokens(), COUNTS, jnp.bfloat16).states_lbth
    assert rounded.dtype == jnp.float32
    error = np.abs(rounded - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.05


@pytest.fixture(scope="module")
def minilm():
    """The folder of a published sentence encoder, a BERT of 6 layers."""
    folder = Path(os.environ.get("MEDUSA_TEST_MODELS", "")) / "minilm"
    if not (folder / "config.json").is_file():
        pytest.skip("MEDUSA_TEST_MODELS has no minilm")
    return folder


def test_minilm_with_published_weights(minilm):
    """Every hidden state, and the embedding: the mean over the tokens at length 1."""
    texts = ["Kids are talking by the door.", "no!", " ".join(["dogs sit by the window"] * 40)]
    plain = transformers.AutoTokenizer.from_pretrained(minilm)(texts)["input_ids"]
    count_b = [len(ids) for ids in plain]
    assert max(count_b) > 130
    ids_bt = np.zeros((len(texts), max(count_b)), np.int32)
    for row, ids in zip(ids_bt, plain, strict=True):
        row[: len(ids)] = ids
    model = transformers.AutoModel.from_pretrained(minilm).eval()
    found = run(load_text(minilm), ids_bt, count_b)
    for row, ids in enumerate(plain):
        states, wanted = found.states_lbth[:, row, : len(ids)], states_in_torch(model, ids)
        np.testing.assert_allclose(states, wanted, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(pooled(states[-1]), pooled(wanted[-1]), atol=1e-5)


def pooled(state_th):
    mean_h = np.asarray(state_th).mean(axis=0)
    return mean_h / np.linalg.norm(mean_h)
