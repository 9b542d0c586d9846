"""A pretrained model's folder: its identity, and the folders that are refused."""

import functools
import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from small_corpus import small_corpus

from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.errors import ConfigError, DependencyError, FeatureError
from medusa_jax.features.extract import extract
from medusa_jax.features.registry import build_extractor

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from small_models import SENTENCES, extractor_of, save_model  # noqa: E402


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of a saved model by name, made once."""
    return functools.cache(lambda name: save_model(name, tmp_path_factory.mktemp("models") / name))


def _copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / folder.name)


@pytest.mark.parametrize(
    ("backend", "message"), [("torch", "does not load"), ("flax", "weights are damaged")]
)
def test_a_model_that_does_not_load_stops_the_run_not_each_row(saved, tmp_path, backend, message):
    corpus = small_corpus(tmp_path / "corpus", 3)
    folder = _copy(saved("hubert-base"), tmp_path)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    config = HuggingFaceConfig(model=str(folder), backend=backend)
    with pytest.raises(FeatureError, match=message):
        extract(corpus, config, tmp_path / "store", max_failures=1.0)


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
    code = (
        "import sys; from medusa_jax.config.features import HuggingFaceConfig;"
        "from medusa_jax.features.registry import build_extractor;"
        f"x = build_extractor(HuggingFaceConfig(model={str(saved('roberta'))!r}));"
        "x.identity(); print(x.width, 'torch' in sys.modules)"
    )
    assert subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split() == ["32", "False"]


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


def _rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _pickle(folder):
    torch.save(
        transformers.AutoModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin"
    )
    (folder / "model.safetensors").unlink()


def _drop_a_weight(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "layers.2" in name or "layer.2" in name)
    save_file(
        {k: v for k, v in weights.items() if k != name},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def _escape(folder):
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {"a": "../outside.safetensors"}})
    )


def _use(folder):
    extractor = extractor_of(folder)
    extractor.identity()
    extractor.prepare()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (
            "roberta",
            lambda folder: (folder / "config.json").unlink(),
            r"config\.json cannot be read",
        ),
        (
            "roberta",
            lambda folder: (folder / "config.json").write_text("{"),
            r"config\.json cannot be read",
        ),
        ("roberta", lambda folder: (folder / "config.json").write_text("[]"), "not a mapping"),
        (
            "roberta",
            lambda folder: _rewrite(folder / "config.json", model_type="llama"),
            "'llama' are not supported",
        ),
        (
            "roberta",
            lambda folder: _rewrite(folder / "config.json", hidden_size=None),
            "width or its number of layers",
        ),
        ("roberta", _pickle, "pickled .* never loaded"),
        ("hubert-base", _pickle, "pickled .* never loaded"),
        ("roberta", _escape, "outside"),
        ("roberta", _drop_a_weight, "the weights lack 1 "),
        ("wavlm-large", _drop_a_weight, "the weights lack 1 "),
        ("whisper", _drop_a_weight, "the weights lack 1 "),
        (
            "roberta",
            lambda folder: _rewrite(folder / "config.json", vocab_size=400),
            "does not load|lack",
        ),
        (
            "roberta",
            lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100),
            "does not load",
        ),
        (
            "roberta",
            lambda folder: [path.unlink() for path in folder.glob("tokenizer*")],
            "no tokenizer",
        ),
        (
            "hubert-base",
            lambda folder: (folder / "preprocessor_config.json").unlink(),
            "does not load",
        ),
        (
            "hubert-base",
            lambda folder: _rewrite(folder / "preprocessor_config.json", sampling_rate=8000),
            "8000 Hz",
        ),
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
    assert np.array_equal(
        extractor_of(folder)(SENTENCES)[0], extractor_of(saved("roberta"))(SENTENCES)[0]
    )
    assert not (tmp_path / "ran").exists()


def test_fewer_than_four_layers_have_no_last_four(saved, tmp_path):
    folder = _copy(saved("roberta"), tmp_path)
    _rewrite(folder / "config.json", num_hidden_layers=3)
    for layers in ("sum_last_4", "mean_last_4"):
        with pytest.raises(ConfigError, match="has 3 layers"):
            extractor_of(folder, layers)
    assert extractor_of(folder, "all").width == 4 * 32


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nobody/no-such-model", "not on this machine"),
        ("wavlm-large", "not on this machine"),
        ("/no/such/folder", "neither a folder nor a hub id"),
    ],
)
def test_a_model_that_is_not_here_is_not_fetched_unless_asked(
    model, message, tmp_path, monkeypatch
):
    monkeypatch.setenv("MEDUSA_MODELS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
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
    assert "medusa-jax[torch]" in str(caught.value)
