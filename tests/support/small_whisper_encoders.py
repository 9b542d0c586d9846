"""Random Whispers for the tests of its Flax modules, and their waves."""

import numpy as np
import torch
import transformers

from medusa_jax.audio.decode import RATE

# As the published ones differ: bands, heads, layers; windows of a second and of two.
SHAPES = {
    "80 bands": dict(num_mel_bins=80, d_model=32, encoder_layers=3, encoder_attention_heads=4),
    "128 bands": dict(num_mel_bins=128, d_model=24, encoder_layers=2, encoder_attention_heads=2),
}
SECONDS = {"80 bands": 1, "128 bands": 2}


def save_encoder(name, folder):
    """Write a model with a decoder and its feature extractor to `folder`; gives both."""
    torch.manual_seed(1)
    config = transformers.WhisperConfig(
        **SHAPES[name],
        encoder_ffn_dim=48,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=20,
        vocab_size=100,
        pad_token_id=0,
        max_source_positions=50 * SECONDS[name],
        init_std=0.1,
    )
    model = transformers.WhisperModel(config).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.8, std=0.2)
    model.save_pretrained(folder)
    bands = config.num_mel_bins
    feeder = transformers.WhisperFeatureExtractor(bands, chunk_length=SECONDS[name])
    feeder.save_pretrained(folder)
    return model, feeder


def waves(window):
    """Noises `[b, n]` with zeros behind them, and their samples: the whole window, a frame short
    of it, a few frames, less than one frame.
    """
    samples = (window, window - 333, 5_001, 90)
    rng = np.random.default_rng(0)
    wave_bn = np.zeros((len(samples), window), np.float32)
    for row, count in zip(wave_bn, samples, strict=True):
        row[:count] = rng.standard_normal(count) * np.hanning(count + 2)[1:-1]
    return wave_bn, np.array(samples)


def energies(feeder, wave_n, samples=None):
    """transformers' log-mel energies `[1, d, t]` of one wave, padded with silence to `samples`."""
    made = feeder(wave_n, sampling_rate=RATE, return_tensors="pt", max_length=samples)
    return made["input_features"]
