"""ModernBERT in Flax against transformers, on random weights."""

import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.backbones.modernbert import rotated, rotations
from medusa_jax.backbones.text_weights import load_text

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from text_states import COUNTS, VOCABULARY, run, saved, states_in_torch, tokens  # noqa: E402

KINDS = {
    "published": dict(num_hidden_layers=4, local_attention=128),
    "narrow-window": dict(num_hidden_layers=3, local_attention=9, hidden_size=48),
    "biased": dict(num_hidden_layers=2, norm_bias=True, attention_bias=True, mlp_bias=True),
    "one-layer": dict(num_hidden_layers=1),
    "listed": dict(
        num_hidden_layers=3,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 500.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 80.0},
        },
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def both(request, tmp_path_factory):
    """PyTorch's model and ours with its weights."""
    shape = dict(hidden_size=32, num_attention_heads=4, intermediate_size=37)
    config = transformers.ModernBertConfig(
        **{**shape, **KINDS[request.param]},
        vocab_size=VOCABULARY,
        max_position_embeddings=300,
        pad_token_id=1,
    )
    model = transformers.ModernBertModel(config).eval()
    return model, load_text(saved(model, tmp_path_factory.mktemp("model")))


def test_every_hidden_state_in_a_padded_batch_is_that_of_each_alone(both):
    model, ours = both
    found = run(ours, tokens(), COUNTS)
    for row, count in enumerate(COUNTS):
        wanted = states_in_torch(model, tokens()[row, :count])
        assert found.valid_bt[row].sum() == count
        np.testing.assert_allclose(found.states_lbth[:, row, :count], wanted, atol=1e-4, rtol=1e-4)


def test_padding_changes_nothing(both):
    _, ours = both
    count, ids_t = COUNTS[1], tokens()[1]
    alone = run(ours, ids_t[None, :count], [count]).states_lbth[:, 0]
    longer = np.concatenate([ids_t[:count], np.full(240, VOCABULARY - 1)])
    padded = run(ours, longer[None], [count]).states_lbth[:, 0]
    np.testing.assert_allclose(padded[:, :count], alone, atol=1e-5)
    assert np.isfinite(padded).all()
    changed = run(ours, longer[None], [count + 1]).states_lbth[:, 0]
    assert np.abs(changed[:, :count] - alone).max() > 1e-2


def test_a_sliding_layer_sees_no_farther_than_its_window(tmp_path):
    """Of one sliding layer a token's state changes with tokens 64 away, not with those 65 away."""
    config = transformers.ModernBertConfig(
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=8,
        num_hidden_layers=1,
        layer_types=["sliding_attention"],
        vocab_size=VOCABULARY,
        pad_token_id=1,
    )
    ours = load_text(saved(transformers.ModernBertModel(config), tmp_path))
    ids_t = tokens()[0]
    other_t = ids_t.copy()
    other_t[100] = 4
    first, second = (
        run(ours, ids[None], [len(ids)]).states_lbth[-1, 0] for ids in (ids_t, other_t)
    )
    changed = np.flatnonzero(np.abs(first - second).max(axis=-1))
    assert list(changed) == list(range(36, 165))


def test_scores_of_rotary_positions_depend_on_the_distance_alone():
    turns = rotations(50, 8, (160_000.0, 100.0))[1]
    q_nte, k_nte = np.random.default_rng(0).standard_normal((2, 1, 1, 8), np.float32).repeat(50, 2)
    scores_ts = np.asarray(rotated(q_nte[None], turns)[0, 0] @ rotated(k_nte[None], turns)[0, 0].T)
    for distance in (-20, 0, 7):
        along = np.diagonal(scores_ts, distance)
        np.testing.assert_allclose(along, along[0], atol=1e-4)
    assert np.ptp(scores_ts) > 1


def test_bfloat16_is_near_float32(both):
    _, ours = both
    exact = run(ours, tokens(), COUNTS).states_lbth
    rounded = run(ours, tokens(), COUNTS, jnp.bfloat16).states_lbth
    assert rounded.dtype == jnp.float32
    error = np.abs(rounded - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.05
