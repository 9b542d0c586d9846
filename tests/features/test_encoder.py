"""Features of pretrained encoders equal transformers' own hidden states."""

import functools
import gc
import json
import shutil
import sys

import jax
import numpy as np
import pytest
from small_corpus import RATE, bytes_of, small_corpus, waves

from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.errors import AudioError, ConfigError, DependencyError, FeatureError
from medusa_jax.features.extract import extract
from medusa_jax.features.registry import build_extractor
from medusa_jax.features.store_plan import store_name

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from small_models import (  # noqa: E402
    ALL_TEXT,
    SENTENCES,
    SPEECH,
    SPEECH_KIN,
    TEXT,
    WHISPER,
    extractor_of,
    save_model,
)

LAYERS = ("last", "sum_last_4", "mean_last_4", "all")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of a saved model by name and size, made once."""
    return functools.cache(
        lambda name, size="small": save_model(name, tmp_path_factory.mktemp("models") / name, size)
    )


def states_of(model, **inputs):
    """transformers' own states `[layer, t, d]`, with the encoder's result as the last one.

    In the large speech models transformers 5 gives the state before the final layer norm instead.
    """
    with torch.inference_mode():
        output = model.eval()(**inputs, output_hidden_states=True)
    states, result = (
        torch.stack(output.hidden_states)[:, 0].numpy(),
        output.last_hidden_state[0].numpy(),
    )
    large = getattr(model.config, "do_stable_layer_norm", False)
    assert large or np.array_equal(states[-1], result)
    return np.stack([*states[:-1], result])


def combined(states, layers):
    """The definition."""
    if layers == "all":
        return np.concatenate(list(states), axis=1)
    return {
        "last": states[-1],
        "sum_last_4": sum(states[-4:]),
        "mean_last_4": sum(states[-4:]) / 4,
    }[layers]


def model_of(folder):
    return transformers.AutoModel.from_pretrained(folder)


def check(folder, value, states):
    """Every combination of the layers is what it is defined to be."""
    for layers in LAYERS:
        extractor, expected = extractor_of(folder, layers), combined(states, layers)
        (frames,) = extractor([value])
        assert frames.dtype == np.float32
        assert frames.shape == expected.shape
        assert extractor.width == expected.shape[1]
        np.testing.assert_allclose(
            frames, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max(), err_msg=layers
        )


@pytest.mark.parametrize("size", ["small", "wide"])
@pytest.mark.parametrize("name", [*SPEECH, *SPEECH_KIN])
def test_speech_features_are_the_hidden_states(saved, name, size):
    wave = waves(1, longest=1.0)[0]
    values = (
        (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7) if not name.endswith("base") else wave
    )
    folder = saved(name, size)
    check(folder, wave, states_of(model_of(folder), input_values=torch.tensor(values)[None]))


@pytest.mark.parametrize(
    ("samples", "size"),
    [
        (1, "small"),
        (319, "small"),
        (320, "wide"),
        (321, "small"),
        (6_000, "wide"),
        (16_000, "small"),
    ],
)
def test_whisper_is_cut_to_the_real_length(saved, samples, size):
    wave, folder = (
        (np.random.default_rng(samples).standard_normal(samples) * 0.1).astype(np.float32),
        saved("whisper", size),
    )
    mel = transformers.AutoFeatureExtractor.from_pretrained(folder)(
        wave, sampling_rate=RATE, return_tensors="pt"
    )["input_features"]
    assert mel.shape == (1, 80, 100), "the window, padded"
    states = states_of(model_of(folder).get_encoder(), input_features=mel)
    assert states.shape[1] == 50
    check(folder, wave, states[:, : -(-samples // 320)])


def test_speech_longer_than_whispers_window_is_joined_from_windows(saved):
    extractor = extractor_of(saved("whisper"))
    wave = (np.random.default_rng(0).standard_normal(2 * RATE + 5000) * 0.1).astype(np.float32)
    parts = extractor([wave[:RATE], wave[RATE : 2 * RATE], wave[2 * RATE :]])
    assert np.array_equal(extractor([wave])[0], np.concatenate(parts))
    assert sum(map(len, parts)) == 50 + 50 + 16


@pytest.mark.parametrize("size", ["small", "wide"])
@pytest.mark.parametrize("name", ALL_TEXT)
def test_text_features_are_the_hidden_states_without_special_tokens(saved, name, size):
    folder = saved(name, size)
    model, plain = model_of(folder), transformers.AutoTokenizer.from_pretrained(folder)
    for text in SENTENCES:
        ids = plain(text, return_tensors="pt")["input_ids"]
        assert (ids[0, 0], ids[0, -1]) == (0, 2)
        check(folder, text, states_of(model, input_ids=ids)[:, 1:-1])


@pytest.mark.parametrize("name", TEXT)
def test_text_longer_than_the_model_takes_is_joined_from_windows(saved, name):
    """30 tokens of content fit: 32 positions (RoBERTa: 34, two unused) less two special tokens."""
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


@pytest.mark.parametrize("name", SPEECH)
def test_speech_shorter_than_a_frame_is_an_error_in_its_place(saved, name):
    noise = waves(2)
    results = extractor_of(saved(name))(
        [
            noise[0],
            np.zeros(399, np.float32),
            np.zeros(400, np.float32),
            np.zeros(1, np.float32),
            noise[1],
        ]
    )
    assert [len(frames) if isinstance(frames, np.ndarray) else type(frames) for frames in results][
        1:4
    ] == [AudioError, 1, AudioError]
    assert "too short" in results[1].what
    for frames, wave in zip(results[::4], noise, strict=True):
        assert len(frames) == (len(wave) - 400) // 320 + 1


# Through the store


def test_features_go_into_a_store_and_come_back(saved, tmp_path):
    corpus = small_corpus(tmp_path / "corpus", 3)
    for name in ("hubert-base", "roberta"):
        config = HuggingFaceConfig(model=str(saved(name)), backend="torch")
        folder = tmp_path / store_name(corpus, build_extractor(config))
        assert folder.name.startswith(f"{name}-")
        store = extract(corpus, config, folder)
        inputs = (
            corpus.frame["transcript"].tolist()
            if name == "roberta"
            else [wave for wave in waves(3)]
        )
        for id, frames in zip(store.ids, build_extractor(config)(inputs), strict=True):
            assert np.array_equal(store[id], frames.astype(np.float16))
        assert {"torch", "transformers", "medusa-jax"} <= set(store.entries[0].made_with)


# The library


PORTED = (*SPEECH, "wav2vec2-lv60", *WHISPER, *TEXT)


@pytest.mark.parametrize("name", [*SPEECH, *SPEECH_KIN, *WHISPER, *ALL_TEXT])
def test_jax_runs_the_models_that_are_ported_and_pytorch_the_others(saved, name):
    extractor = extractor_of(saved(name), backend="auto")
    assert ("jax" in extractor.packages) == (name in PORTED)
    assert ("torch" in extractor.packages) == (name not in PORTED)


OPTIONS = {
    "hubert-base": {"conv_pos_batch_norm": True},
    "wavlm-large": {"hidden_act": "relu"},
    "whisper": {"activation_function": "relu"},
    "roberta": {"is_decoder": True},
    "modernbert": {"rope_scaling": {"type": "linear"}},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_is_not_ported_is_left_to_pytorch(saved, name, tmp_path, monkeypatch):
    folder, ((key, value),) = shutil.copytree(saved(name), tmp_path / name), OPTIONS[name].items()
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, key: value}))
    with pytest.raises(FeatureError, match=f"not ported .*{key}"):
        extractor_of(folder, backend="flax")
    extractor = extractor_of(folder, backend="auto")
    assert "torch" in extractor.packages
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match=f"PyTorch is not installed; not ported .*{key}"):
        extractor.prepare()
    if name in ("hubert-base", "wavlm-large"):
        with pytest.raises(ConfigError, match="conv") as caught:
            extractor_of(folder, "conv", backend="auto")
        assert key in caught.value.hint


def test_other_energies_than_whispers_are_left_to_pytorch(saved, tmp_path):
    folder = shutil.copytree(saved("whisper"), tmp_path / "whisper")
    feeder = transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=1, hop_length=80)
    feeder.save_pretrained(folder)
    assert "torch" in extractor_of(folder, backend="auto").packages
    with pytest.raises(FeatureError, match="hop_length 80"):
        extractor_of(folder, backend="flax")


def test_half_precision_is_pytorchs(saved):
    of = functools.partial(extractor_of, saved("roberta"), compute="float16")
    assert of(backend="auto").packages == of().packages
    assert of(backend="auto").identity() == of().identity()
    with pytest.raises(FeatureError, match="float16"):
        of(backend="flax")


def test_a_store_of_rounded_numbers_is_one_librarys(saved, tmp_path):
    """In float32 either library fills the store; in bfloat16 PyTorch's is not taken for JAX's."""
    corpus = small_corpus(tmp_path / "corpus", 3)

    def made(backend, compute):
        model = str(saved("roberta"))
        config = HuggingFaceConfig(model=model, backend=backend, compute=compute)
        return extract(corpus, config, tmp_path / compute)

    for compute, stores in (("float32", 1), ("bfloat16", 2)):
        first = made("torch", compute)
        assert "backend" not in first.plan.extractor, "as before there was a choice"
        before = bytes_of(first.folder)
        second = made("auto", compute)
        assert bytes_of(first.folder) == before
        assert len(list((tmp_path / compute).iterdir())) == stores
        assert made("flax", compute).folder == second.folder
    assert second.plan.extractor["backend"] == "flax"
    assert "torch" not in second.entries[0].made_with


def test_jax_keeps_nothing_on_the_device(saved, tmp_path):
    """Training needs the memory: no process ends between."""
    corpus = small_corpus(tmp_path / "corpus", 3)
    gc.collect()
    before = sum(array.nbytes for array in jax.live_arrays())
    config = HuggingFaceConfig(model=str(saved("roberta")), backend="flax")
    extract(corpus, config, tmp_path / "store")
    assert sum(array.nbytes for array in jax.live_arrays()) <= before
