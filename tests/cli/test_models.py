"""Pretrained models: fetched at one commit, converted, found again without a network."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hub_server import MAIN, serving
from small_corpus import waves
from typer.testing import CliRunner

from medusa_jax.cli.models import app
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.errors import FeatureError
from medusa_jax.features.registry import build_extractor
from medusa_jax.hub.catalogue import ENCODERS
from medusa_jax.hub.convert import convert
from medusa_jax.hub.download import fetch
from medusa_jax.hub.locate import locate
from medusa_jax.hub.record import RECORD, Record

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from small_models import SIZES, extractor_of, save_model  # noqa: E402

TINY = {
    "width": SIZES["small"]["hidden_size"],
    "depth": SIZES["small"]["num_hidden_layers"],
    "revision": MAIN,
}
OTHER = "b" * 40


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of a WavLM, of the same with pickled weights alone, and of a RoBERTa."""
    root = tmp_path_factory.mktemp("models")
    for name in ("wavlm-large", "roberta"):
        save_model(name, root / name)
    pickled = shutil.copytree(root / "wavlm-large", root / "pickled")
    torch.save(
        transformers.AutoModel.from_pretrained(pickled).state_dict(), pickled / "pytorch_model.bin"
    )
    (pickled / "model.safetensors").unlink()
    return root


@pytest.fixture
def hub(saved, tmp_path, monkeypatch):
    """A hub on this machine with tiny models, and an empty folder for fetched ones."""
    with serving() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("MEDUSA_MODELS", str(tmp_path / "here"))
        for name in ("wavlm-large", "roberta-large"):
            monkeypatch.setitem(ENCODERS, name, dataclasses.replace(ENCODERS[name], **TINY))
        hub.add("microsoft/wavlm-large", saved / "pickled")
        hub.add("FacebookAI/roberta-large", saved / "roberta")
        hub.add("someone/wavlm", saved / "wavlm-large", OTHER)
        yield hub


def medusa(*arguments):
    return CliRunner().invoke(app, ["fetch", *arguments], catch_exceptions=False)


def test_a_fetched_model_is_found_by_name_with_the_network_off(hub, saved, tmp_path, monkeypatch):
    assert medusa("roberta-large").exit_code == 0
    folder = tmp_path / "here/roberta-large"
    record = Record.load(folder)
    assert (record.hub_id, record.revision, record.converted) == (
        "FacebookAI/roberta-large",
        MAIN,
        False,
    )
    assert set(record.files) == {path.name for path in (saved / "roberta").iterdir()}
    hub.served.clear()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert medusa("roberta-large").exit_code == 0, "it is here: nothing is asked"
    extractor = build_extractor(HuggingFaceConfig(model="roberta-large"))
    assert (extractor.name, extractor.combination, extractor.reads) == (
        "roberta-large",
        "sum_last_4",
        "text",
    )
    expected = extractor_of(saved / "roberta", "sum_last_4", backend="flax")
    assert np.array_equal(extractor(["why?"])[0], expected(["why?"])[0])
    assert extractor.identity()["files"] == expected.identity()["files"]
    assert not hub.served


def test_pickled_weights_are_converted_where_asked_and_only_there(hub, saved, tmp_path):
    with pytest.raises(FeatureError, match="no safetensors") as caught:
        fetch("wavlm-large", tmp_path / "here")
    assert "--convert" in caught.value.hint
    assert not hub.served, "nothing is downloaded in vain"
    assert medusa("wavlm-large", "--convert").exit_code == 0
    folder = tmp_path / "here/wavlm-large"
    assert not (folder / "pytorch_model.bin").exists()
    assert Record.load(folder).converted
    wave = waves(1)
    assert np.array_equal(
        build_extractor(HuggingFaceConfig(model="wavlm-large"))(wave)[0],
        extractor_of(saved / "wavlm-large", "sum_last_4", backend="flax")(wave)[0],
    )


def test_another_model_is_fetched_at_the_commit_that_main_is(hub, saved, tmp_path):
    hub.add("someone/wavlm", saved / "wavlm-large")
    assert medusa("hf:someone/wavlm").exit_code == 0
    folder = tmp_path / "here/someone--wavlm"
    assert Record.load(folder).revision == MAIN
    for model in ("hf:someone/wavlm", "someone/wavlm", f"hf:{folder}", str(folder)):
        assert locate(model) == folder
    assert build_extractor(HuggingFaceConfig(model="hf:someone/wavlm")).name == "wavlm"
    with pytest.raises(FeatureError, match=f"at commit {MAIN}, not {OTHER}"):
        locate("someone/wavlm", OTHER)
    fetch("someone/wavlm", tmp_path / "here", revision=OTHER)
    assert locate("someone/wavlm", OTHER) == folder


def test_what_another_commit_left_behind_is_not_mixed_in(hub, saved, tmp_path):
    fetch("hf:someone/wavlm", tmp_path, revision=OTHER)
    folder = tmp_path / "someone--wavlm"
    weights = (folder / "model.safetensors").read_bytes()
    hub.add("someone/wavlm", saved / "roberta")
    fetch("hf:someone/wavlm", tmp_path, revision=MAIN)
    assert (folder / "model.safetensors").read_bytes() != weights
    assert not (folder / "preprocessor_config.json").exists()


def test_an_offline_run_fetches_nothing_and_another_may(hub):
    with pytest.raises(FeatureError, match="not on this machine") as caught:
        build_extractor(HuggingFaceConfig(model="roberta-large"))
    assert "medusa models fetch roberta-large" in caught.value.hint
    assert not hub.served
    assert (
        build_extractor(HuggingFaceConfig(model="roberta-large", offline=False)).name
        == "roberta-large"
    )


def _remove(hub, name):
    del hub.repos[name]


@pytest.mark.parametrize(
    ("model", "trouble", "message", "hint"),
    [
        (
            "roberta-large",
            lambda hub: _remove(hub, "FacebookAI/roberta-large"),
            "no such model, or it is private",
            "check the name",
        ),
        (
            "roberta-large",
            lambda hub: hub.gated.add("FacebookAI/roberta-large"),
            "gated",
            "agree on the model's page",
        ),
        ("hf:someone/wavlm", lambda hub: None, "no such revision", "a branch, tag or commit"),
        (
            "roberta-large",
            lambda hub: hub.flipped.add("model.safetensors"),
            "not match the hub's digest",
            "again",
        ),
        pytest.param(
            *(
                "roberta-large",
                lambda hub: hub.cut.add("model.safetensors"),
                "cannot be reached",
                "again",
            ),
            marks=pytest.mark.slow,
        ),
        (
            "wavlm-large",
            lambda hub: hub.add(
                "microsoft/wavlm-large", hub.repos["FacebookAI/roberta-large"][MAIN]
            ),
            "this is not wavlm-large",
            "fetch",
        ),
        ("no such thing", lambda hub: None, "neither an entry nor a hub id", "models list"),
    ],
)
def test_each_trouble_is_named_and_leaves_no_model_behind(
    hub, tmp_path, model, trouble, message, hint
):
    trouble(hub)
    with pytest.raises(FeatureError, match=message) as caught:
        fetch(model, tmp_path / "here")
    assert hint in caught.value.hint
    assert not list((tmp_path / "here").glob(f"*/{RECORD}"))


@pytest.mark.slow
def test_a_download_that_broke_off_goes_on(hub, tmp_path):
    hub.cut.add("model.safetensors")
    with pytest.raises(FeatureError):
        fetch("roberta-large", tmp_path / "here")
    with pytest.raises(FeatureError, match="not on this machine"):
        locate("roberta-large")
    hub.cut.clear()
    hub.served.clear()
    assert locate("roberta-large", offline=False) == fetch("roberta-large", tmp_path / "here")
    assert "config.json" not in hub.served


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_fetched_file_that_changed_is_refused(hub, tmp_path, file):
    folder = fetch("roberta-large", tmp_path / "here")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(
        content[:-2] + b" " + content[-1:]
        if file.endswith("json")
        else content[:-1] + bytes([content[-1] ^ 1])
    )
    with pytest.raises(FeatureError, match=f"{file} has changed since|cannot be read"):
        build_extractor(HuggingFaceConfig(model="roberta-large")).identity()
    with pytest.raises(FeatureError, match=f"{file} has changed since"):
        fetch("roberta-large", tmp_path / "here")


def test_a_checkpoint_with_code_in_it_is_refused_and_the_code_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save({"weight": torch.zeros(2), "evil": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(FeatureError, match="as weights alone"):
        convert(tmp_path)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "model.safetensors").exists()
    torch.save([torch.zeros(2)], tmp_path / "pytorch_model.bin")
    with pytest.raises(FeatureError, match="other than tensors"):
        convert(tmp_path)


@pytest.mark.slow
def test_the_command_lists_and_fetches_without_a_traceback(hub, tmp_path):
    def run(*arguments, **env):
        command = [
            sys.executable,
            "-c",
            "from medusa_jax.cli.app import main; main()",
            "models",
            *arguments,
        ]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**os.environ, "HF_ENDPOINT": hub.url, **env},
        )

    hub.add("someone/roberta", hub.repos["FacebookAI/roberta-large"][MAIN])
    done = run("fetch", "hf:someone/roberta", "--to", str(tmp_path / "to"))
    assert done.returncode == 0, done.stderr
    assert f"MEDUSA_MODELS={tmp_path / 'to'}" in done.stdout
    assert json.loads((tmp_path / "to/someone--roberta" / RECORD).read_text())["revision"] == MAIN
    listed = run("list", MEDUSA_MODELS=str(tmp_path / "to")).stdout
    assert "hf:someone/roberta" in listed
    assert all(name in listed for name in ENCODERS)
    refused = run("fetch", "roberta-large", HF_HUB_OFFLINE="1")
    assert refused.returncode == FeatureError.exit_code
    assert refused.stderr.splitlines()[0] == "error: downloads are disabled by HF_HUB_OFFLINE"
    assert len(refused.stderr.splitlines()) == 3
