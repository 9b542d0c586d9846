"""A tiny random Whisper with a tokenizer and a window of one second."""

from pathlib import Path
from typing import Any

import torch
import transformers
from small_models import tokenizer

from medusa_jax.config.transcription import TranscriptionConfig

LANGUAGES = ("en", "de")
SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{name}|>" for name in LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
)
SPECIAL += ("<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")

TOKENS = 6
"""Longest text, in tokens, of `config_of`."""


def config_of(folder: Path, **settings: Any) -> TranscriptionConfig:
    """Configure transcription by the Whisper in `folder`: PyTorch's, unless another is named."""
    default = {"max_tokens": TOKENS, "backend": "transformers"}
    return TranscriptionConfig(model=str(folder), **{**default, **settings})


def save_whisper(folder, *, seconds=1, multilingual=True):
    """Write it to `folder` and return that."""
    torch.manual_seed(1)
    raw = tokenizer().backend_tokenizer
    raw.post_processor = None
    raw.add_special_tokens(list(SPECIAL))
    ids = {token: raw.token_to_id(token) for token in SPECIAL}
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    marks = dict(bos_token_id=end, eos_token_id=end, pad_token_id=end, decoder_start_token_id=start)
    size = dict(
        d_model=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=37,
        decoder_ffn_dim=37,
    )
    depth = dict(
        encoder_layers=2,
        decoder_layers=2,
        max_source_positions=50 * seconds,
        max_target_positions=40,
    )
    config = transformers.WhisperConfig(
        **size, **depth, **marks, vocab_size=raw.get_vocab_size(), init_std=0.3, num_mel_bins=80
    )
    config.suppress_tokens = config.begin_suppress_tokens = []
    model = transformers.WhisperForConditionalGeneration(config)
    with torch.no_grad():  # sharp enough that what is heard decides what is written
        model.model.encoder.layer_norm.weight.mul_(4)
    model.generation_config = transformers.GenerationConfig(
        **marks,
        is_multilingual=multilingual,
        lang_to_id={f"<|{name}|>": ids[f"<|{name}|>"] for name in LANGUAGES},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        max_length=40,
    )
    model.save_pretrained(folder)
    names = dict(
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **names).save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=seconds).save_pretrained(
        folder
    )
    return folder
