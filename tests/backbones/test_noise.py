"""The noise of fine-tuning: its rates, its spans, and that they follow from the key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.backbones.noise import Rates, draw_noise, masked_spans

FRAMES = (200, 120, 25, 5)
VALID_BT = jnp.arange(200) < jnp.array(FRAMES)[:, None]


def test_rates_are_those_of_the_configuration():
    given = {
        "hidden_dropout": 0.0,
        "layerdrop": 0.05,
        "mask_time_prob": 0.3,
        "feat_proj_dropout": 0.2,
    }
    rates = Rates.published({**given, "vocab_size": 32})
    assert {name: getattr(rates, name) for name in given} == given
    assert rates.attention_dropout == 0.1
    quiet = Rates.published({"apply_spec_augment": False, "mask_feature_prob": 0.5})
    assert quiet.mask_time_prob == quiet.mask_feature_prob == 0


def test_masked_spans_are_transformers():
    """As many frames on average, in spans of the same length, all within the utterance."""
    torch = pytest.importorskip("torch")
    from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

    rates, keys = Rates(mask_time_prob=0.3), jax.random.split(jax.random.key(0), 400)
    ours = np.stack([masked_spans(rates.time, key, VALID_BT) for key in keys[:200]])
    np.random.seed(0)
    attended = np.asarray(VALID_BT).astype(int)
    theirs = np.stack(
        [
            _compute_mask_indices(VALID_BT.shape, 0.3, 10, torch.tensor(attended), min_masks=2)
            for _ in range(200)
        ]
    )
    for row, frames in enumerate(FRAMES):
        assert not ours[:, row, frames:].any()
        if frames < Rates().mask_time_length:
            continue  # transformers masks the last frame of one that is shorter than a span
        expected = theirs[:, row].sum(axis=1).mean()
        assert ours[:, row].sum(axis=1).mean() == pytest.approx(expected, rel=0.05, abs=0.5)
    starts = np.diff(ours[:, 0].astype(int), prepend=0, axis=1) == 1
    assert starts[:, :-10].any(axis=0).mean() > 0.9, "spans start anywhere"
    runs = ours[:, 0, :10].all(axis=1).sum()
    assert runs == ours[:, 0, 0].sum(), "a span that starts has its whole length"


def test_short_utterances_have_no_more_spans_than_fit():
    masked = masked_spans(Rates(mask_time_prob=0.9).time, jax.random.key(1), VALID_BT)
    assert not masked[3].any()
    assert not masked_spans(Rates().time, jax.random.key(1), VALID_BT).any()


def test_layers_are_skipped_at_their_rate():
    keys = jax.random.split(jax.random.key(2), 300)

    def skipped(key, first_stays):
        return draw_noise(Rates(layerdrop=0.2), key, 12, VALID_BT, 8, first_stays).skipped_l

    some = np.asarray(jax.vmap(lambda key: skipped(key, False))(keys))
    assert some.mean() == pytest.approx(0.2, abs=0.03)
    first = np.asarray(jax.vmap(lambda key: skipped(key, True))(keys))
    assert not first[:, 0].any()
    np.testing.assert_array_equal(first[:, 1:], some[:, 1:])


def test_every_dropout_has_a_seed_of_its_own():
    noise = draw_noise(Rates(), jax.random.key(3), 6, VALID_BT, 8, True)
    seeds = np.concatenate([noise.outside_s2, noise.layers_ls2.reshape(-1, 2)])
    assert len(np.unique(seeds, axis=0)) == 2 + 6 * 4


def test_masked_features_are_transformers_too():
    """Spans of the whole width of each utterance, none unless they are asked for."""
    pytest.importorskip("torch")
    from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

    rates = Rates(mask_feature_prob=0.2, mask_feature_length=6)
    draw = jax.jit(lambda key: draw_noise(rates, key, 2, VALID_BT, 64).masked_bd)
    ours = np.stack([draw(key) for key in jax.random.split(jax.random.key(4), 200)])
    np.random.seed(0)
    theirs = np.stack([_compute_mask_indices((4, 64), 0.2, 6) for _ in range(200)])
    assert ours.mean() == pytest.approx(theirs.mean(), rel=0.05)
    np.testing.assert_allclose(ours.mean(axis=(0, 1)), theirs.mean(axis=(0, 1)), atol=0.08)
    assert (ours[:, 0] != ours[:, 1]).any(), "each utterance has spans of its own"
    assert draw_noise(Rates(), jax.random.key(4), 2, VALID_BT, 64).masked_bd is None
