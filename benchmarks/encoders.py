"""Encoders with random weights in the shapes of the published ones, and their operations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGE = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
NORMED = dict(feat_extract_norm="layer", do_stable_layer_norm=True)
TINY = dict(
    hidden_size=256,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=512,
    conv_dim=(32,) * 7,
    num_conv_pos_embedding_groups=4,
)
WORDS = dict(vocab_size=1000, pad_token_id=1, bos_token_id=0, eos_token_id=2)
"""A small vocabulary: what is looked up takes no time."""
LAST_4, TOP = "sum_last_4", "last"
TOKENS_A_SECOND = 4.5  # an assumption: 3.5 words a second, 1.3 tokens a word


@dataclass(frozen=True)
class Encoder:
    """One architecture and size.

    `kind` is its class's name in transformers, `layers` how MEDUSA combines its hidden states.
    """

    kind: str
    settings: dict[str, Any]
    width: int
    layers: str = LAST_4

    @property
    def reads(self) -> str:
        """`audio` or `text`."""
        return "text" if self.kind in ("Roberta", "ModernBert") else "audio"


def whisper(width: int, layers: int, heads: int, bands: int) -> Encoder:
    encoder = dict(
        d_model=width,
        encoder_layers=layers,
        encoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        num_mel_bins=bands,
    )
    return Encoder(
        "Whisper",
        {**encoder, "decoder_layers": 1, "decoder_attention_heads": heads, "decoder_ffn_dim": 64},
        width,
        TOP,
    )


ENCODERS = {
    "wavlm-tiny": Encoder("WavLM", {**TINY, **NORMED}, 256),
    "wavlm-base-plus": Encoder("WavLM", {}, 768),
    "hubert-base": Encoder("Hubert", {}, 768),
    "whisper-base": whisper(512, 6, 8, 80),
    "roberta-base": Encoder("Roberta", {**WORDS, "max_position_embeddings": 514}, 768),
    "modernbert-base": Encoder("ModernBert", {**WORDS, "num_hidden_layers": 22}, 768),
    "wavlm-large": Encoder("WavLM", {**LARGE, **NORMED}, 1024),
    "hubert-large": Encoder("Hubert", {**LARGE, **NORMED}, 1024),
    "whisper-large-v3": whisper(1280, 32, 20, 128),
    "roberta-large": Encoder(
        "Roberta", {**LARGE, "vocab_size": 50265, "max_position_embeddings": 514}, 1024
    ),
    "modernbert-large": Encoder(
        "ModernBert", {**LARGE, "num_hidden_layers": 28, "intermediate_size": 2624}, 1024
    ),
}
MEDUSA = ("wavlm-large", "hubert-large", "whisper-large-v3", "roberta-large", "modernbert-large")
"""The five of the paper."""


def build(name: str) -> Any:
    """The model of `ENCODERS[name]`, random."""
    import transformers

    encoder = ENCODERS[name]
    config = getattr(transformers, encoder.kind + "Config")(**encoder.settings)
    return getattr(transformers, encoder.kind + "Model")(config).eval()


def save(name: str, folder: Path) -> Path:
    """Write the encoder `name` to `folder/name` by `save_pretrained`; equal at each call."""
    import torch
    import transformers

    encoder, path = ENCODERS[name], folder / name
    torch.manual_seed(0)
    build(name).save_pretrained(path)
    if encoder.kind == "Whisper":
        transformers.WhisperFeatureExtractor(
            feature_size=encoder.settings["num_mel_bins"]
        ).save_pretrained(path)
    elif encoder.reads == "text":
        tokenizer().save_pretrained(path)
    else:
        transformers.Wav2Vec2FeatureExtractor(
            do_normalize=encoder.settings.get("do_stable_layer_norm", False)
        ).save_pretrained(path)
    return path


def tokenizer() -> Any:
    """One token a word, of `w0`, `w1`, …, between `<s>` and `</s>`."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    names = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{place}" for place in range(900))]
    words = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    special = dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, model_max_length=512, **special
    )


def flops(name: str, seconds: float, *, window: str = "full") -> float:
    """Operations of an utterance of `seconds`, counted by PyTorch on meta tensors."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    encoder = ENCODERS[name]
    with torch.device("meta"), torch.no_grad():
        model = build(name)
        if encoder.kind == "Whisper":
            model = model.get_encoder()
            inputs = torch.zeros(1, encoder.settings["num_mel_bins"], 3000)
        elif encoder.reads == "text":
            inputs = torch.zeros(1, round(seconds * TOKENS_A_SECOND) + 2, dtype=torch.long)
        else:
            inputs = torch.zeros(1, round(seconds * 16_000))
        with FlopCounterMode(display=False) as counter:
            model(inputs)
        whole = float(counter.get_total_flops())
    # Attention's own products shrink faster than linearly with the real length; that is left out.
    return whole * seconds / 30 if encoder.kind == "Whisper" and window == "real" else whole
