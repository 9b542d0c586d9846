"""Small random encoders of every class, saved with a tokenizer or feature extractor."""

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.features.registry import build_extractor

# The second size has as many layers as the speech models have convolutions, which must not be
# confused with each other.
SIZES = {
    "small": dict(hidden_size=32, num_hidden_layers=5, num_attention_heads=4),
    "wide": dict(hidden_size=48, num_hidden_layers=7, num_attention_heads=6),
    "tiny": dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2),
}
_FEED = dict(intermediate_size=37)
_SPEECH = dict(
    conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, **_FEED
)
# As the large models (a final layer norm after the last layer), and as the base ones.
_LARGE = dict(do_stable_layer_norm=True, feat_extract_norm="layer")
_TOKENS = dict(bos_token_id=0, pad_token_id=1, eos_token_id=2)
_TEXT = dict(vocab_size=300, max_position_embeddings=32, **_FEED)
_ROBERTA = {**_TEXT, **_TOKENS, "max_position_embeddings": 34}


def _whisper(shape):
    heads, layers = shape["num_attention_heads"], shape["num_hidden_layers"]
    encoder = dict(
        d_model=shape["hidden_size"],
        encoder_layers=layers,
        encoder_attention_heads=heads,
        encoder_ffn_dim=37,
        max_source_positions=50,
    )
    decoder = dict(
        decoder_layers=1,
        decoder_attention_heads=heads,
        decoder_ffn_dim=37,
        vocab_size=100,
        pad_token_id=0,
    )
    return transformers.WhisperModel(transformers.WhisperConfig(**encoder, **decoder))


def _distilbert(shape):
    names = dict(
        dim=shape["hidden_size"],
        n_layers=shape["num_hidden_layers"],
        n_heads=shape["num_attention_heads"],
        hidden_dim=37,
    )
    return transformers.DistilBertModel(
        transformers.DistilBertConfig(**names, vocab_size=300, max_position_embeddings=32)
    )


def _of(kind, **settings):
    """Makes a model of this kind from its shape."""
    return lambda shape: getattr(transformers, kind + "Model")(
        getattr(transformers, kind + "Config")(**shape, **settings)
    )


SPEECH = {
    "wavlm-large": _of("WavLM", **_SPEECH, **_LARGE),
    "wavlm-base": _of("WavLM", **_SPEECH),
    "hubert-large": _of("Hubert", **_SPEECH, **_LARGE),
    "hubert-base": _of("Hubert", **_SPEECH),
    "wav2vec2": _of("Wav2Vec2", **_SPEECH),
}
WHISPER = {"whisper": _whisper}
TEXT = {
    "roberta": _of("Roberta", **_ROBERTA),
    # As published: a masked-language model, whose pooler is in no checkpoint.
    "roberta-mlm": lambda shape: transformers.RobertaForMaskedLM(
        transformers.RobertaConfig(**shape, **_ROBERTA)
    ),
    "modernbert": _of(
        "ModernBert", **_TEXT, **_TOKENS, cls_token_id=0, sep_token_id=2, local_attention=8
    ),
    "bert": _of("Bert", **_TEXT),
}
# Others of these architectures, that hf ids may name.
SPEECH_KIN = {
    "data2vec-audio": _of("Data2VecAudio", **_SPEECH, conv_pos_kernel_size=5),
    "hubert-batch-norm": _of("Hubert", **_SPEECH, **_LARGE, conv_pos_batch_norm=True),
    "unispeech": _of("UniSpeech", **_SPEECH),
    "unispeech-sat": _of("UniSpeechSat", **_SPEECH, **_LARGE),
    "wav2vec2-lv60": _of("Wav2Vec2", **_SPEECH, **_LARGE),
}
TEXT_KIN = {
    "distilbert": _distilbert,
    "electra": _of("Electra", **_TEXT),
    "mpnet": _of("MPNet", **{**_ROBERTA}),
    "deberta-v2": _of("DebertaV2", **_TEXT, relative_attention=True, pos_att_type=["p2c", "c2p"]),
}
ALL_TEXT = {**TEXT, **TEXT_KIN}
SENTENCES = ["I am so happy to see you", "why?", "no, no, I told you not to do that again"]


def save_model(name, folder, size="small"):
    """Write the model `name` (a key of `SPEECH`, `WHISPER`, `TEXT` or their kin) to `folder`."""
    torch.manual_seed(sum(name.encode()))
    model = {**SPEECH, **SPEECH_KIN, **WHISPER, **ALL_TEXT}[name](SIZES[size])
    # fresh layer norms do nothing and fresh biases are zero: a mistake there would not show
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.2)
    model.save_pretrained(folder)
    if name in ALL_TEXT:
        tokenizer().save_pretrained(folder)
    elif name in WHISPER:
        transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=1).save_pretrained(
            folder
        )
    else:
        transformers.Wav2Vec2FeatureExtractor(
            do_normalize=not name.endswith("base")
        ).save_pretrained(folder)
    return folder


def extractor_of(folder, layers="last", backend="torch", **settings):
    """PyTorch's, the reference, unless another is named."""
    config = HuggingFaceConfig(model=str(folder), layers=layers, backend=backend, **settings)
    return build_extractor(config)


def tokenizer():
    """Train a byte-level tokenizer that adds <s> and </s> around a text, as RoBERTa's does."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer, raw.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=tokens, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    raw.train_from_iterator(SENTENCES, trainer)
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = dict(
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=512, **names)
