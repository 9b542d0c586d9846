"""Whisper's decoder in Flax, with its cache, against transformers."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from medusa_jax.backbones.whisper_weights import load_whisper
from medusa_jax.errors import FeatureError

torch = pytest.importorskip("torch")
from small_whisper_decoders import WORDS, encoded, energies, save_decoder  # noqa: E402

TOKENS = 9


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """PyTorch's model and ours with its weights; norms and biases are not their initial ones."""
    folder = tmp_path_factory.mktemp("model")
    model = save_decoder(folder)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.8, std=0.2)
    model.save_pretrained(folder)
    return model, load_whisper(folder)


def logits_of(decoder, encoded_bsh, tokens_bki, compute=jnp.float32):
    """Logits `[b, k, i, v]` of given tokens, one at a time."""
    b, k, count = tokens_bki.shape
    heard = decoder.heard(jnp.asarray(encoded_bsh), compute)
    own = decoder.empty(b * k, count + 3, compute)  # more places than tokens

    @nnx.jit
    def step(decoder, tokens_bk, position, own):
        x_bkh, own = decoder(tokens_bk, position, own, heard, compute)
        return decoder.logits(x_bkh, compute), own

    found = []
    for i in range(count):
        logits_bkv, own = step(decoder, jnp.asarray(tokens_bki[:, :, i]), jnp.int32(i), own)
        found.append(np.asarray(logits_bkv))
    return np.stack(found, axis=2)


@pytest.mark.parametrize("beams", [1, 3])
def test_logits_of_every_hypothesis_are_those_without_a_cache(both, beams):
    model, ours = both
    states_bsh = encoded(model, energies(2))
    tokens_bki = np.random.default_rng(0).integers(WORDS, size=(2, beams, TOKENS))
    found = logits_of(ours.decoder, states_bsh, tokens_bki)
    for row in range(2):
        for beam in range(beams):
            with torch.inference_mode():
                out = model(
                    encoder_outputs=(torch.tensor(states_bsh[row : row + 1]),),
                    decoder_input_ids=torch.tensor(tokens_bki[row, beam][None]),
                )
            np.testing.assert_allclose(found[row, beam], out.logits[0], atol=1e-4, rtol=1e-4)


def test_bfloat16_is_near_float32(both):
    model, ours = both
    states_bsh = encoded(model, energies(2))
    tokens_bki = np.random.default_rng(0).integers(WORDS, size=(2, 1, TOKENS))
    exact = logits_of(ours.decoder, states_bsh, tokens_bki)
    rounded = logits_of(ours.decoder, states_bsh, tokens_bki, jnp.bfloat16)
    assert rounded.dtype == np.float32
    assert 1e-5 < np.abs(rounded - exact).max() / np.abs(exact).max() < 0.05


def test_every_fault_is_named_in_one_error(tmp_path):
    save_decoder(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.decoder.layers.1.encoder_attn.v_proj.bias"]
    tensors["model.decoder.embed_tokens.weight"] = np.zeros((3, 32), np.float32)
    tensors["model.decoder.surprise"] = np.zeros(1, np.float32)
    save_file(tensors, file)
    with pytest.raises(FeatureError) as caught:
        load_whisper(tmp_path)
    for word in ("layers.1.cross.value.bias", "words", "surprise"):
        assert word in caught.value.what
