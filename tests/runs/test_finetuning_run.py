"""Runs that fine-tune an encoder: their plan, and what they refuse in one clear error."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from tuned_task import tuned_corpus, tuned_member

from medusa_jax.config.run import RunConfig
from medusa_jax.files import digest_of
from medusa_jax.runs.folder import opened
from medusa_jax.runs.plan import plan_of
from medusa_jax.runs.prepare import prepare
from medusa_jax.runs.run import Run
from medusa_jax.runs.training_plan import Readings, training_digest
from medusa_jax.tasks.finetuning_inputs import encoders_of

pytest.importorskip("torch")
from safetensors.numpy import load_file, save_file
from small_models import save_model

CONFIG = "preprocessor_config.json"
FEATURES = {
    "wave": {"extractor": "waveform"},
    "logmel": {"extractor": "logmel", "bands": 16},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus, a WavLM, and the runs' folder, whose stores all runs share."""
    folder = tmp_path_factory.mktemp("runs")
    tuned_corpus(folder / "audio").save(folder / "corpus.parquet")
    save_model("wavlm-large", folder / "wavlm", "tiny")
    return folder


def raw_config(place, model=None, features=(), corpus="corpus.parquet", **changes):
    """A run of one member."""
    member = tuned_member(model or place / "wavlm", **changes)
    wanted = {name: FEATURES[name] for name in ("wave", *member.modalities) if name in FEATURES}
    return {
        "name": "tuned",
        "corpus": {"source": "table", "path": str(place / corpus), "hold_out": 0.25},
        "features": {**wanted, **dict(features)},
        "members": [member.model_dump(mode="json")],
        "engine": {"memory_gb": 1},
    }


def prepared(place, **changes):
    run = Run(RunConfig.model_validate(raw_config(place, **changes)), place / "out")
    with opened(run):
        return prepare(run)


def test_the_command_plans_a_finetuning(medusa, place, tmp_path):
    path = tmp_path / "tuned.yaml"
    path.write_text(yaml.safe_dump(raw_config(place)))
    code, said, _ = medusa("train", path, "--out", place / "out", "--plan", "--speed", 1e-3)
    assert code == 0
    for words in ("group 1", "Stage 1: 2 steps of 8 × 2 epochs", "wave: 2400", "memory", "fits"):
        assert words in said, words


@pytest.mark.slow
def test_the_plan_counts_what_will_be_computed(place):
    """Operations of windows, of shorter parts, of convolutions, of Whisper's full window."""
    save_model("whisper", place / "whisper", "tiny")
    whisper = {"model": place / "whisper"}
    conv = {
        "extractor": "huggingface",
        "model": f"hf:{place / 'wavlm'}",
        "layers": "conv",
        "backend": "flax",
    }
    plans = {
        "first": {},
        "windows": {"finetuning": {"evaluation": "windows"}},
        "shorter": {"finetuning": {"crop_seconds": 0.1}},
        "conv": {"wave": "conv", "features": {"conv": conv}},
        "real": whisper,
        "full": {**whisper, "finetuning": {"window": "full"}},
    }
    plans = {name: plan_of(prepared(place, **changes)) for name, changes in plans.items()}
    flops = {name: plan.flops for name, plan in plans.items()}
    assert flops["shorter"] < flops["first"] < flops["windows"] < 2 * flops["first"]
    assert flops["conv"] < flops["first"]
    assert 3 < flops["full"] / flops["real"] < 12, "a second against a tenth to a quarter"
    (group,) = plans["first"].groups
    assert group.shapes == [{"wave": 2400}]
    assert group.members[0].need.state > 3 * 4 * group.members[0].need.parameters


def test_tasks_read_their_own_features(place):
    """Of a run with both, DeepSER's batches hold no samples and the encoder's no energies."""
    raw = raw_config(place)
    raw["features"]["logmel"] = FEATURES["logmel"]
    raw["members"].append({"id": "deep", "modalities": ["logmel"], "model": {"hidden": 8}})
    run = Run(RunConfig.model_validate(raw), place / "out")
    with opened(run):
        found = prepare(run)
    read = Readings(found)
    kept = [read.data(one, found.folds[0]).examples.modalities for one in run.config.members]
    assert kept == [("wave",), ("logmel",)]


def changed(name, change):
    """A damaged copy of the encoder."""

    def make(place, folder):
        path = shutil.copytree(place / "wavlm", folder) / name
        if name.endswith("json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | change))
        else:
            tensors = load_file(path)
            change(tensors)
            save_file(tensors, path)
        return {"model": folder}

    return make


def test_another_encoder_is_another_training_and_another_place_is_not(place, tmp_path):
    """Else a killed training would go on with the convolutions of other files."""
    changes = {
        "same": {"model": shutil.copytree(place / "wavlm", tmp_path / "wavlm")},
        "other": changed(CONFIG, {"do_normalize": False})(place, tmp_path / "other"),
    }
    digests = []
    for own in ({}, changes["same"], changes["other"]):
        found = prepared(place, **own)
        (member,) = found.run.config.members
        data = Readings(found).data(member, found.folds[0])
        digests.append(training_digest(member, data, 0))
    assert digests[0] == digests[1] != digests[2]


def test_a_key_added_later_leaves_a_training_as_it_was(place):
    """Else members trained by an earlier version would be refused."""
    found = prepared(place)
    (member,) = found.run.config.members
    data = Readings(found).data(member, found.folds[0])
    own = member.model_dump(mode="json", exclude={"id", "conversation"})
    for key in ("backbones", "secondary_loss"):
        del own["finetuning"][key]
    wanted = digest_of([own, 0, data.digest, encoders_of(member.finetuning)])
    assert training_digest(member, data, 0) == wanted
    tuned = member.finetuning.model_copy(update={"secondary_loss": 1.0})
    other = member.model_copy(update={"finetuning": tuned})
    assert training_digest(other, data, 0) != wanted


def drop(tensors):
    del tensors["encoder.layers.1.attention.q_proj.weight"]


def reshape(tensors):
    tensors["encoder.layer_norm.bias"] = np.zeros(3, np.float32)


def with_conv(model, layers):
    """A member on frames of another model, or of other layers."""

    def make(place, folder):
        save_model(model, folder, "tiny")
        if model == "wavlm-large":
            folder = place / "wavlm"
        section = {"extractor": "huggingface", "model": f"hf:{folder}", "backend": "flax"}
        return {"wave": "frames", "features": {"frames": {**section, "layers": layers}}}

    return make


def with_whisper(**settings):
    def make(place, folder):
        save_model("whisper", folder, "tiny")
        return {"model": folder, "finetuning": settings}

    return make


def with_genders(value):
    def make(place, folder):
        table = pq.read_table(place / "corpus.parquet")
        column = table.schema.get_field_index("gender")
        made = pa.array([value] * len(table), pa.string())
        file = f"{folder.name}.parquet"
        pq.write_table(table.set_column(column, "gender", made), place / file)
        own = {"gender": "sum"} if value is None else {}
        return {"corpus": file, "finetuning": own}

    return make


REFUSED = {
    "energies": (2, ["logmel", "wavlm reads", "backbones.logmel", "extractor waveform"]),
    "another model's frames": (2, ["frames", "wavlm reads", "layers: conv"]),
    "hidden states": (2, ["last", "wavlm reads", "layers: conv"]),
    "a key is missing": (4, ["query.kernel"]),
    "a shape is wrong": (4, ["norm.bias", "(3,)"]),
    "an option is not ported": (4, ["not ported", "add_adapter"]),
    "another sampling rate": (4, ["8000 Hz"]),
    "no encoder": (4, ["nowhere"]),
    "an unknown gender": (3, ["unknown gender 'robot'", "u00.wav"]),
    "no gender is known": (6, ["no training utterance has a gender", "finetuning.gender"]),
    "too long for Whisper": (2, ["at most 1 s", "finetuning.crop_seconds"]),
}
"""Exit code and words of the error."""
MADE = {
    "energies": lambda *_: {"wave": "logmel"},
    "another model's frames": with_conv("hubert-large", "conv"),
    "hidden states": with_conv("wavlm-large", "last"),
    "a key is missing": changed("model.safetensors", drop),
    "a shape is wrong": changed("model.safetensors", reshape),
    "an option is not ported": changed("config.json", {"add_adapter": True}),
    "another sampling rate": changed(CONFIG, {"sampling_rate": 8000}),
    "no encoder": lambda place, folder: {"model": place / "nowhere"},
    "an unknown gender": with_genders("robot"),
    "no gender is known": with_genders(None),
    "too long for Whisper": with_whisper(crop_seconds=1.2),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_fault_is_one_clear_error_before_training(medusa, place, tmp_path, fault):
    code, words = REFUSED[fault]
    changes = MADE[fault](place, tmp_path / "model")
    path = tmp_path / "tuned.yaml"
    path.write_text(yaml.safe_dump(raw_config(place, **changes)))
    found, _, said = medusa("train", path, "--out", place / "out")
    assert found == code, said
    said = " ".join(said.split())
    assert all(word in said for word in words), said
    assert "Traceback" not in said
    begun = [*(place / "out").rglob("metrics.jsonl"), *(place / "out").rglob("groups")]
    assert not begun, "files of a training that never began"
    assert not any(file.read_text() for file in place.glob("out/*/members/*/metrics.jsonl"))
