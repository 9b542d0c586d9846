"""Models that JAX can run: all of the catalogue and of the shipped configurations."""

import json
from pathlib import Path

import pytest

from medusa_jax.backbones.ported import unported
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.config.yaml_file import load_config
from medusa_jax.errors import FeatureError
from medusa_jax.hub.catalogue import ENCODERS, PREFIX
from medusa_jax.transcription.prompt import unported_search

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
_SPEECH = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "add_adapter": False,
}
OPTIONS = {
    "wavlm-large": {**_SPEECH, "num_buckets": 320, "max_bucket_distance": 800},
    "hubert-large": {**_SPEECH, "conv_bias": True},
    "whisper-large-v3": {
        "activation_function": "gelu",
        "num_mel_bins": 128,
        "max_source_positions": 1500,
    },
    "roberta-large": {"hidden_act": "gelu", "position_embedding_type": "absolute"},
    "modernbert-large": {
        "hidden_activation": "gelu",
        "position_embedding_type": "absolute",
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
    },
    "hf:sentence-transformers/all-MiniLM-L6-v2": {
        "model_type": "bert",
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
    },
}
"""By entry of the catalogue or repository: the options in its config.json that decide."""
_MEL = {"feature_size": 128, "hop_length": 160, "n_fft": 400, "chunk_length": 30}


@pytest.fixture
def published(tmp_path):
    """A folder with the settings of an entry, `changes` among them."""

    def write(name, **changes):
        known = {"model_type": ENCODERS[name].kind} if name in ENCODERS else {}
        settings = {**known, **OPTIONS[name], **changes}
        (tmp_path / "config.json").write_text(json.dumps(settings))
        if settings["model_type"] == "whisper":
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(_MEL))
            (tmp_path / "generation_config.json").write_text('{"is_multilingual": true}')
        return tmp_path

    return write


@pytest.mark.parametrize("name", ENCODERS)
def test_every_entry_of_the_catalogue_runs_in_jax(published, name):
    assert unported(published(name)) == []
    if ENCODERS[name].kind == "whisper":
        assert unported_search(published(name)) == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_runs_in_jax(published, path):
    config, used = load_config(path), []
    for feature in config.features.values():
        if isinstance(feature, HuggingFaceConfig):
            used.append(feature)
    if config.transcription is not None:
        used.append(config.transcription)
    for one in used:
        assert (one.backend, unported(published(one.model))) == ("auto", [])
        assert one.compute != "float16"
    if config.finetuning is not None:  # fine-tuning is in JAX, whatever the model
        models = config.finetuning.backbones.values()
        assert all(model in ENCODERS or model.startswith(PREFIX) for model in models)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("wavlm-large", "add_adapter", True),
        ("hubert-large", "conv_pos_batch_norm", True),
        ("whisper-large-v3", "activation_function", "relu"),
        ("whisper-large-v3", "feature_size", None),
        ("roberta-large", "position_embedding_type", "relative_key"),
        ("modernbert-large", "hidden_activation", "silu"),
        ("roberta-large", "model_type", "electra"),
    ],
)
def test_what_is_not_ported_is_named(published, name, key, value):
    changes = {"num_mel_bins": 80} if key == "feature_size" else {key: value}
    (found,) = unported(published(name, **changes))
    assert key in found or "electra" in found


def test_a_folder_without_settings_is_refused(tmp_path):
    with pytest.raises(FeatureError, match=r"config\.json cannot be read"):
        unported(tmp_path)
