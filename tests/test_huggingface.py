"""Features of pretrained encoders equal transformers' own hidden states: random models of every class, saved to disk and read back."""

import json
import os
import sys

import numpy as np
import pytest
from small_corpus import RATE, small_corpus, waves

from medusa_jax.config import HuggingFaceConfig
from medusa_jax.errors import AudioError, ConfigError, DependencyError, FeatureError
from medusa_jax.features.extract import extract, store_name
from medusa_jax.features.registry import build_extractor

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: E402

LAYERS = ("last", "sum_last_4", "mean_last_4", "all")
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


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of a saved model by name, made once."""
    made = {}

    def save(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("models") / name
            _save(name, made[name])
        return made[name]

    return save


def _save(name, folder):
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


def extractor_of(folder, layers="last", **settings):
    return build_extractor(HuggingFaceConfig(model=str(folder), layers=layers, **settings))


def states_of(model, **inputs):
    """`[layer, t, d]`, transformers' own; the last is the encoder's result, which transformers 5 replaces by what comes
    before the final layer norm in the large speech models alone."""
    with torch.inference_mode():
        output = model.eval()(**inputs, output_hidden_states=True)
    states, result = torch.stack(output.hidden_states)[:, 0].numpy(), output.last_hidden_state[0].numpy()
    large = getattr(model.config, "do_stable_layer_norm", False)
    assert large or np.array_equal(states[-1], result)
    return np.stack([*states[:-1], result])


def combined(states, layers):
    """The definition (spec section 1)."""
    if layers == "all":
        return np.concatenate(list(states), axis=1)
    return {"last": states[-1], "sum_last_4": sum(states[-4:]), "mean_last_4": sum(states[-4:]) / 4}[layers]


def model_of(folder):
    return transformers.AutoModel.from_pretrained(folder)


def check(frames, expected, layers):
    assert frames.dtype == np.float32
    assert frames.shape[1] == 32 * (6 if layers == "all" else 1)
    assert frames.shape == expected.shape
    np.testing.assert_allclose(frames, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("name", SPEECH)
def test_speech_features_are_the_hidden_states(saved, name, layers):
    wave = waves(1, longest=1.0)[0]
    values = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7) if not name.endswith("base") else wave
    states = states_of(model_of(saved(name)), input_values=torch.tensor(values)[None])
    check(extractor_of(saved(name), layers)([wave])[0], combined(states, layers), layers)


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("samples", [1, 319, 320, 321, 6_000, 16_000])
def test_whisper_is_cut_to_the_real_length(saved, samples, layers):
    wave = (np.random.default_rng(samples).standard_normal(samples) * 0.1).astype(np.float32)
    mel = transformers.AutoFeatureExtractor.from_pretrained(saved("whisper"))(wave, sampling_rate=RATE, return_tensors="pt")["input_features"]
    assert mel.shape == (1, 80, 100), "the window, padded"
    expected = combined(states_of(model_of(saved("whisper")).get_encoder(), input_features=mel), layers)
    assert len(expected) == 50
    check(extractor_of(saved("whisper"), layers)([wave])[0], expected[: -(-samples // 320)], layers)


def test_speech_longer_than_whispers_window_is_joined_from_windows(saved):
    extractor = extractor_of(saved("whisper"))
    wave = (np.random.default_rng(0).standard_normal(2 * RATE + 5000) * 0.1).astype(np.float32)
    parts = extractor([wave[:RATE], wave[RATE : 2 * RATE], wave[2 * RATE :]])
    assert np.array_equal(extractor([wave])[0], np.concatenate(parts))
    assert sum(map(len, parts)) == 50 + 50 + 16


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("text", SENTENCES)
def test_text_features_are_the_hidden_states_without_special_tokens(saved, name, layers, text):
    ids = transformers.AutoTokenizer.from_pretrained(saved(name))(text, return_tensors="pt")["input_ids"]
    assert (ids[0, 0], ids[0, -1]) == (0, 2)
    expected = combined(states_of(model_of(saved(name)), input_ids=ids), layers)[1:-1]
    check(extractor_of(saved(name), layers)([text])[0], expected, layers)


@pytest.mark.parametrize("name", TEXT)
def test_text_longer_than_the_model_takes_is_joined_from_windows(saved, name):
    """30 tokens of content fit: 34 positions of which RoBERTa cannot use two, or 32, less the two special tokens."""
    plain = transformers.AutoTokenizer.from_pretrained(saved(name))
    text = "x" * 70
    assert len(plain(text)["input_ids"]) == 72
    extractor = extractor_of(saved(name))
    expected = np.concatenate(extractor(["x" * 30, "x" * 30, "x" * 10]))
    np.testing.assert_allclose(extractor([text])[0], expected, atol=1e-5)


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("layers", ["last", "all"])
def test_an_empty_transcript_is_one_zero_frame(saved, name, layers):
    extractor = extractor_of(saved(name), layers)
    frames = extractor([""])[0]
    assert frames.shape == (1, extractor.width)
    assert not frames.any()


@pytest.mark.parametrize("name", [*SPEECH, *WHISPER, *TEXT])
def test_nothing_depends_on_neighbours_or_on_chance(saved, name):
    inputs = SENTENCES if name in TEXT else waves(3)
    extractor = extractor_of(saved(name), "sum_last_4")
    assert extractor.reads == ("text" if name in TEXT else "audio")
    together, backwards = extractor(inputs), extractor(inputs[::-1])[::-1]
    alone = [extractor_of(saved(name), "sum_last_4")([one])[0] for one in inputs]
    for one, two, three in zip(together, backwards, alone, strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one, three)


@pytest.mark.parametrize("name", SPEECH)
def test_speech_shorter_than_a_frame_is_refused(saved, name):
    extractor = extractor_of(saved(name))
    assert len(extractor([np.zeros(400, np.float32)])[0]) == 1
    for samples in (1, 399):
        with pytest.raises(AudioError, match="too short"):
            extractor([np.zeros(samples, np.float32)])


# Through the store


def test_features_go_into_a_store_and_come_back(saved, tmp_path):
    corpus = small_corpus(tmp_path / "corpus", 3)
    for name in ("hubert-base", "roberta"):
        config = HuggingFaceConfig(model=str(saved(name)))
        folder = tmp_path / store_name(corpus, build_extractor(config))
        assert folder.name.startswith(f"{name}-")
        store = extract(corpus, config, folder)
        inputs = corpus.frame["transcript"].tolist() if name == "roberta" else [wave for wave in waves(3)]
        for id, frames in zip(store.ids, build_extractor(config)(inputs), strict=True):
            assert np.array_equal(store[id], frames.astype(np.float16))
        assert {"torch", "transformers", "medusa-jax"} <= set(store.entries[0].made_with)


def test_a_model_that_does_not_load_stops_the_run_not_each_row(saved, tmp_path):
    corpus = small_corpus(tmp_path / "corpus", 3)
    folder = _copy(saved("hubert-base"), tmp_path)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(FeatureError, match="does not load"):
        extract(corpus, HuggingFaceConfig(model=str(folder)), tmp_path / "store", max_failures=1.0)


def test_the_identity_is_of_the_files_not_of_their_place(saved, tmp_path):
    folder = _copy(saved("wavlm-base"), tmp_path)
    original = extractor_of(saved("wavlm-base")).identity()
    assert extractor_of(folder).identity() == original
    assert json.loads(json.dumps(original)) == original
    assert str(saved("wavlm-base").parent) not in json.dumps(original)
    assert extractor_of(folder, "all").identity() != original
    for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
        assert name in original["files"]
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert extractor_of(folder).identity() != original


def test_building_one_loads_no_torch(saved):
    import subprocess

    code = (
        "import sys; from medusa_jax.config import HuggingFaceConfig; from medusa_jax.features.registry import build_extractor;"
        f"x = build_extractor(HuggingFaceConfig(model={str(saved('roberta'))!r})); x.identity(); print(x.width, 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == ["32", "False"]


def test_weights_in_several_files_are_read_and_all_are_in_the_identity(saved, tmp_path):
    whole = saved("roberta")
    model = transformers.AutoModel.from_pretrained(whole)
    folder = _copy(whole, tmp_path)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    parts = sorted(path.name for path in folder.glob("model-*.safetensors"))
    assert len(parts) > 1
    assert set(parts) <= set(extractor_of(folder).identity()["files"])
    assert np.array_equal(extractor_of(folder)(SENTENCES)[0], extractor_of(whole)(SENTENCES)[0])
    (folder / parts[0]).unlink()
    with pytest.raises(FeatureError, match=parts[0]):
        extractor_of(folder).identity()


# What is refused


def _copy(folder, tmp_path):
    import shutil

    return shutil.copytree(folder, tmp_path / folder.name)


def _rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _pickle(folder):
    torch.save(transformers.AutoModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _drop_a_weight(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "layers.2" in name or "layer.2" in name)
    save_file({k: v for k, v in weights.items() if k != name}, folder / "model.safetensors", metadata={"format": "pt"})


def _escape(folder):
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {"a": "../outside.safetensors"}}))


def _use(folder):
    extractor = extractor_of(folder)
    extractor.identity()
    extractor.prepare()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("roberta", lambda folder: (folder / "config.json").unlink(), r"config\.json cannot be read"),
        ("roberta", lambda folder: (folder / "config.json").write_text("{"), r"config\.json cannot be read"),
        ("roberta", lambda folder: (folder / "config.json").write_text("[]"), "not a mapping"),
        ("roberta", lambda folder: _rewrite(folder / "config.json", model_type="llama"), "'llama' are not supported"),
        ("roberta", lambda folder: _rewrite(folder / "config.json", hidden_size=None), "width and number of layers"),
        ("roberta", _pickle, "pickled ones are never loaded"),
        ("hubert-base", _pickle, "pickled ones are never loaded"),
        ("roberta", _escape, "outside"),
        ("roberta", _drop_a_weight, "the weights lack 1 "),
        ("wavlm-large", _drop_a_weight, "the weights lack 1 "),
        ("whisper", _drop_a_weight, "the weights lack 1 "),
        ("roberta", lambda folder: _rewrite(folder / "config.json", vocab_size=400), "does not load|lack"),
        ("roberta", lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "does not load"),
        ("roberta", lambda folder: [path.unlink() for path in folder.glob("tokenizer*")], "no tokenizer"),
        ("hubert-base", lambda folder: (folder / "preprocessor_config.json").unlink(), "does not load"),
        ("hubert-base", lambda folder: _rewrite(folder / "preprocessor_config.json", sampling_rate=8000), "8000 Hz"),
    ],
)
def test_a_model_folder_that_is_not_whole_is_refused(saved, tmp_path, name, damage, message):
    folder = _copy(saved(name), tmp_path)
    damage(folder)
    with pytest.raises(FeatureError, match=message):
        _use(folder)


def test_pickled_weights_are_not_loaded_even_where_nobody_asks_for_the_identity(saved, tmp_path):
    folder = _copy(saved("roberta"), tmp_path)
    _pickle(folder)
    with pytest.raises(FeatureError, match="does not load"):
        extractor_of(folder).prepare()


def test_code_in_a_model_folder_is_never_run(saved, tmp_path):
    folder = _copy(saved("roberta"), tmp_path)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    _rewrite(folder / "config.json", auto_map={"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"})
    assert np.array_equal(extractor_of(folder)(SENTENCES)[0], extractor_of(saved("roberta"))(SENTENCES)[0])
    assert not (tmp_path / "ran").exists()


def test_fewer_than_four_layers_have_no_last_four(saved, tmp_path):
    folder = _copy(saved("roberta"), tmp_path)
    _rewrite(folder / "config.json", num_hidden_layers=3)
    for layers in ("sum_last_4", "mean_last_4"):
        with pytest.raises(ConfigError, match="has 3 layers"):
            extractor_of(folder, layers)
    assert extractor_of(folder, "all").width == 4 * 32


@pytest.mark.parametrize(("model", "message"), [("nobody/no-such-model", "not to be had"), ("/no/such/folder", "no such folder")])
def test_a_model_that_is_not_here_is_not_fetched_unless_asked(model, message, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was used"))
    with pytest.raises(FeatureError, match=message):
        build_extractor(HuggingFaceConfig(model=model))
    assert os.listdir(tmp_path) == []


def test_a_local_model_has_no_revision(saved):
    with pytest.raises(FeatureError, match="no revisions"):
        extractor_of(saved("roberta"), revision="main")


def test_missing_torch_names_its_extra(saved, monkeypatch):
    extractor = extractor_of(saved("roberta"))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError) as caught:
        extractor.prepare()
    assert "medusa-jax[extract]" in str(caught.value)
