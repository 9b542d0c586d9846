"""Random Whispers of few words, whose texts end early and late, and what they hear."""

import numpy as np
import torch
import transformers

WORDS, START, PLAIN, END = 20, 20, 21, 22
"""Tokens: the words, then the start, no timestamps, and the end."""
NEVER, NEVER_FIRST = (START, PLAIN, 5), (END, 3)
FRAMES = 25


def save_decoder(folder, seed=0):
    """Write a model to `folder` and give it."""
    torch.manual_seed(seed)
    marks = dict(bos_token_id=END, eos_token_id=END, pad_token_id=END, decoder_start_token_id=START)
    config = transformers.WhisperConfig(
        **marks,
        vocab_size=END + 1,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=40,
        max_source_positions=FRAMES,
        max_target_positions=30,
        init_std=0.4,
    )
    config.suppress_tokens = config.begin_suppress_tokens = None
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():  # what is heard, and where, decides what is written
        model.model.encoder.layer_norm.weight.mul_(4)
        model.model.decoder.embed_positions.weight.mul_(3)
        torch.nn.init.normal_(model.model.decoder.embed_tokens.weight[END], std=0.6)
    model.generation_config = transformers.GenerationConfig(
        **marks,
        no_timestamps_token_id=PLAIN,
        suppress_tokens=list(NEVER),
        begin_suppress_tokens=list(NEVER_FIRST),
        is_multilingual=False,
        max_length=30,
    )
    model.save_pretrained(folder)
    return model


def energies(rows, seed=0):
    """Noise in place of log-mel energies `[b, d, t]`."""
    noise = np.random.default_rng(seed).standard_normal((rows, 80, 2 * FRAMES), np.float32)
    return torch.tensor(noise)


def encoded(model, mel_bdt):
    """The encoder's output `[b, s, h]` by PyTorch."""
    with torch.inference_mode():
        return model.model.encoder(mel_bdt).last_hidden_state.numpy()
