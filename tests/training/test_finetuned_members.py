"""The engine trains pretrained encoders, their noise, crops, MixUp and layers that open included:
stopped, killed, grouped or spread over devices, to the same end.
"""

import os
import random
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import tuned_task
from toy_task import outcome_of, toy_metrics
from tuned_task import tuned_data, tuned_group, tuned_members, tuned_stores, tuned_train

from medusa_jax.config.training import EngineConfig
from medusa_jax.errors import CheckpointError, Interrupted
from medusa_jax.training.member_folder import MemberFolder

pytest.importorskip("torch")
from safetensors.numpy import load_file, save_file
from small_models import save_model

pytestmark = pytest.mark.slow
NAMES = ("first", "second", "ranked")
LOOP, VMAP = EngineConfig(side_by_side="loop"), EngineConfig(side_by_side="vmap")
STEPS, EPOCHS = 8, 4  # of the longest members, both stages together


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model("wavlm-large", tmp_path_factory.mktemp("model") / "wavlm", "tiny")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("tuned")


@pytest.fixture(scope="module")
def train(model, root):
    """Train members of the group by name (all)."""
    given = tuned_stores(root)

    def run(folder, names=NAMES, engine=LOOP, **options):
        configs = [one for one in tuned_group(model) if one.id in names]
        tuned_train(configs, *given, folder, engine=engine, **options)
        return folder

    return run


@pytest.fixture(scope="module")
def finished(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("finished"))


def outcome(folder, names=NAMES):
    return {name: outcome_of(folder, name) for name in names}


def losses(folder, names=NAMES):
    """Of all epochs, one member behind the other."""
    return np.concatenate([[line["loss"] for line in toy_metrics(folder, one)] for one in names])


def test_stopped_after_every_single_step(train, finished, tmp_path):
    """Each call makes one step or scores one epoch; the last one ends to the bit where the
    uninterrupted group did.
    """
    stops = 0

    def ring(done, total, note=""):
        nonlocal armed
        if armed:
            armed = False
            os.kill(os.getpid(), signal.SIGTERM)

    while True:
        armed = True
        try:
            train(tmp_path, report=ring)
            break
        except Interrupted:
            stops += 1
    assert stops >= STEPS + EPOCHS - 1
    assert outcome(tmp_path) == outcome(finished)


def test_another_seed_ends_elsewhere(train, finished, tmp_path):
    """The negative control of every comparison."""
    train(tmp_path, ["first"], seed=1)
    assert outcome_of(tmp_path, "first") != outcome_of(finished, "first")


@pytest.mark.parametrize("name", NAMES)
def test_a_member_alone_is_the_member_in_the_group(train, finished, tmp_path, name):
    train(tmp_path, [name])
    assert outcome_of(tmp_path, name) == outcome_of(finished, name)


def test_side_by_side_is_one_after_the_other_within_rounding(train, finished, tmp_path):
    train(tmp_path, engine=VMAP)
    np.testing.assert_allclose(losses(tmp_path), losses(finished), rtol=1e-4)


@pytest.mark.skipif(len(jax.devices()) < 4, reason="needs four devices (XLA_FLAGS)")
def test_several_devices_train_what_one_trains(train, finished, tmp_path):
    train(tmp_path, ["first"], EngineConfig(side_by_side="loop", devices=4))
    found, wanted = (losses(folder, ["first"]) for folder in (tmp_path, finished))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_killed_at_five_random_steps(model, root, finished, tmp_path):
    """SIGKILL, some work lost or none; then the same command once more."""
    seed = int(os.environ.get("MEDUSA_KILL_SEED", "3"))
    rng = random.Random(seed)
    steps = sorted(rng.sample(range(1, STEPS + 1), 5))
    orders = [f"{step}:{rng.choice((0, 0, 10))}" for step in steps]
    command = [sys.executable, tuned_task.__file__, *map(str, (model, root, tmp_path))]
    done = subprocess.run([*command, *orders, "1000:10"], capture_output=True, text=True)
    killed = [str(-signal.SIGKILL)] * 5
    assert done.stdout.split() == [*killed, "0"], done.stderr
    assert outcome_of(tmp_path, "first") == outcome_of(finished, "first"), f"seed {seed}"


def test_only_what_is_trained_is_in_the_folder(finished):
    """Of a member with a rank, of the encoder the low-rank parts alone."""
    for name in NAMES:
        record = MemberFolder(finished / "members" / name).record()
        assert record["task"] == "finetuning"
        assert record["frozen"] is not None
        assert record["backbones"]["wave"]["model"] == "wavlm"
    sizes = [(finished / "members" / one / "weights.safetensors").stat().st_size for one in NAMES]
    assert sizes[2] < sizes[0] / 3


def other_weights(model, folder):
    """The same model, one weight of a frozen convolution changed."""
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    tensors["feature_extractor.conv_layers.0.conv.weight"] += 1e-3
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("other", ["weights", "architecture"])
def test_a_member_of_another_encoder_is_refused_by_name(model, root, finished, tmp_path, other):
    encoder = tmp_path / "wavlm"
    if other == "weights":
        other_weights(model, encoder)
    else:
        save_model("hubert-large", encoder, "tiny")
    given, place = tuned_stores(root), MemberFolder(finished / "members/first")
    tasks = []
    for folder in (model, encoder):
        config = tuned_group(folder)[0]
        tasks += [one.task for one in tuned_members([config], tuned_data(*given, config))]
    assert place.load(tasks[0]).task is tasks[0]
    with pytest.raises(CheckpointError, match="another task: backbones") as caught:
        place.load(tasks[1])
    assert len(str(caught.value)) < 500
