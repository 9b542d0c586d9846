"""Random encoders of every class, small, saved as transformers saves them, with a tokenizer or feature extractor trained here."""

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from medusa_jax.config import HuggingFaceConfig
from medusa_jax.features.registry import build_extractor

_SHAPE = dict(hidden_size=32, num_hidden_layers=5, num_attention_heads=4, intermediate_size=37)
_SPEECH = dict(conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4)
# As the large models (a final layer norm after the last layer), and as the base ones.
_LARGE = dict(do_stable_layer_norm=True, feat_extract_norm="layer")
_WHISPER = dict(encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=37, decoder_ffn_dim=37, vocab_size=100, pad_token_id=0)
_TOKENS = dict(bos_token_id=0, pad_token_id=1, eos_token_id=2)

SPEECH = {
    "wavlm-large": lambda: transformers.WavLMModel(transformers.WavLMConfig(**_SHAPE, **_SPEECH, **_LARGE)),
    "wavlm-base": lambda: transformers.WavLMModel(transformers.WavLMConfig(**_SHAPE, **_SPEECH)),
    "hubert-large": lambda: transformers.HubertModel(transformers.HubertConfig(**_SHAPE, **_SPEECH, **_LARGE)),
    "hubert-base": lambda: transformers.HubertModel(transformers.HubertConfig(**_SHAPE, **_SPEECH)),
    "wav2vec2": lambda: transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**_SHAPE, **_SPEECH)),
}
WHISPER = {
    "whisper": lambda: transformers.WhisperModel(
        transformers.WhisperConfig(d_model=32, encoder_layers=5, decoder_layers=1, max_source_positions=50, **_WHISPER)
    ),
}
TEXT = {
    "roberta": lambda: transformers.RobertaModel(transformers.RobertaConfig(**_SHAPE, **_TOKENS, vocab_size=300, max_position_embeddings=34)),
    # As published: a masked-language model, whose pooler is in no checkpoint.
    "roberta-mlm": lambda: transformers.RobertaForMaskedLM(
        transformers.RobertaConfig(**_SHAPE, **_TOKENS, vocab_size=300, max_position_embeddings=34)
    ),
    "modernbert": lambda: transformers.ModernBertModel(
        transformers.ModernBertConfig(**_SHAPE, **_TOKENS, cls_token_id=0, sep_token_id=2, vocab_size=300, max_position_embeddings=32)
    ),
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**_SHAPE, vocab_size=300, max_position_embeddings=32)),
}
SENTENCES = ["I am so happy to see you", "why?", "no, no, I told you not to do that again"]


def save_model(name, folder):
    """Write the model called `name` (a key of `SPEECH`, `WHISPER` or `TEXT`) to `folder`, and return that."""
    torch.manual_seed(sum(name.encode()))
    model = {**SPEECH, **WHISPER, **TEXT}[name]()
    for parameter in model.parameters():  # fresh layer norms do nothing and fresh biases are zero: a mistake there would not show
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.2)
    model.save_pretrained(folder)
    if name in TEXT:
        tokenizer().save_pretrained(folder)
    elif name in WHISPER:
        transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=1).save_pretrained(folder)
    else:
        transformers.Wav2Vec2FeatureExtractor(do_normalize=not name.endswith("base")).save_pretrained(folder)
    return folder


def extractor_of(folder, layers="last", **settings):
    return build_extractor(HuggingFaceConfig(model=str(folder), layers=layers, **settings))


def tokenizer():
    """A byte-level one, trained here on a few words, that puts <s> and </s> around a text as RoBERTa's does."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=tokens, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    raw.train_from_iterator(SENTENCES, trainer)
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = dict(bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>", sep_token="</s>", unk_token="<unk>", mask_token="<mask>")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=512, **names)
