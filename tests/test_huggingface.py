"""Features of pretrained encoders equal transformers' own hidden states: random models of every class, saved to disk and read back."""

import functools

import numpy as np
import pytest
from small_corpus import RATE, small_corpus, waves

from medusa_jax.config import HuggingFaceConfig
from medusa_jax.errors import AudioError
from medusa_jax.features.extract import extract, store_name
from medusa_jax.features.registry import build_extractor

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from small_models import SENTENCES, SPEECH, TEXT, WHISPER, extractor_of, save_model  # noqa: E402

LAYERS = ("last", "sum_last_4", "mean_last_4", "all")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of a saved model by name, made once."""
    return functools.cache(lambda name: save_model(name, tmp_path_factory.mktemp("models") / name))


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
