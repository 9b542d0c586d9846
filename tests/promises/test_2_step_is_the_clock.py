"""However a group is stopped or killed, the same call ends to the bit where an uninterrupted one
does; what is damaged or foreign is refused.
"""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import toy_task
from toy_task import bits_of, outcome_of, toy_examples, toy_group, toy_metrics, toy_parts, toy_train

from medusa_jax.config.training import EngineConfig, StageConfig
from medusa_jax.errors import CheckpointError, Interrupted, TrainingError
from medusa_jax.training import checkpoint
from medusa_jax.training.group_files import begun_groups

FIT, HELD_OUT = toy_parts()
NAMES = ("first", "second", "words")
STEPS, EPOCHS = 14, 5  # that the group makes: 2 · 4 of Stage 1, 3 · 2 of Stage 2


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return tmp_path_factory.mktemp("toy") / "stores"


@pytest.fixture(scope="module")
def examples(stores):
    return toy_examples(stores)


def train(
    examples,
    folder,
    configs=None,
    fit=FIT,
    held_out=HELD_OUT,
    ring_at=None,
    number=signal.SIGTERM,
    minutes=10.0,
    **options,
):
    """Train the toy group; with `ring_at` a signal comes while that many steps and scored epochs
    have been reported since the start.
    """
    calls = 0

    def report(done, total, note=""):
        nonlocal calls
        calls += 1
        if calls == ring_at:
            os.kill(os.getpid(), number)

    engine = EngineConfig(side_by_side="loop", save_minutes=minutes)
    return toy_train(
        configs or toy_group(),
        examples,
        fit,
        held_out,
        folder,
        engine=engine,
        report=report,
        **options,
    )


def outcome(folder):
    return {name: outcome_of(folder, name) for name in NAMES}


def group_folder(folder):
    (found,) = (folder / "groups").iterdir()
    return found


@pytest.fixture(scope="module")
def finished(examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    train(examples, folder)
    return folder


@pytest.fixture
def stopped(examples, tmp_path):
    """A folder whose training was stopped in its second epoch, after two of four steps."""
    folder = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        train(examples, folder, ring_at=7)
    assert checkpoint.newest_about(group_folder(folder), "last")["members"]["first"]["done"] == 2
    assert begun_groups(folder) == [list(NAMES)]
    return folder


def test_stopped_after_every_single_step(examples, finished, tmp_path):
    """Each call makes one step or scores one epoch and is stopped; the last one ends to the bit
    where the uninterrupted group did.
    """
    stops = 0
    while not list(tmp_path.glob("members/second/member.json")):
        with pytest.raises(Interrupted):
            train(examples, tmp_path, toy_group()[1:2], ring_at=1)
        stops += 1
    train(examples, tmp_path, toy_group()[1:2])
    assert stops == 4 + 4 + 2 + 3, "after every step, and after every epoch was scored"
    assert outcome_of(tmp_path, "second") == outcome_of(finished, "second")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_asked_while_the_last_epoch_is_scored_is_not_lost(
    examples, finished, tmp_path, number
):
    """The caller may have more groups to train."""
    with pytest.raises(Interrupted, match="the state is saved") as stop:
        train(examples, tmp_path, ring_at=STEPS + EPOCHS, number=number)
    assert stop.value.exit_code == 75
    assert all((tmp_path / "members" / name / "member.json").exists() for name in NAMES)
    train(examples, tmp_path)
    assert outcome(tmp_path) == outcome(finished)


def test_what_is_saved_does_not_depend_on_what_was_before(examples, stopped, tmp_path):
    """Weights, optimisers, running means and sums in the middle of an epoch: the same by one way or
    by two.
    """
    for ring_at in (3, 4):
        with pytest.raises(Interrupted):
            train(examples, tmp_path / "twice", ring_at=ring_at)
    assert bits_of(group_folder(tmp_path / "twice"), "last") == bits_of(
        group_folder(stopped), "last"
    )


def test_without_its_place_in_the_data_a_group_ends_elsewhere(examples, finished, stopped):
    """The negative control: everything is restored but which batches were seen."""
    folder = group_folder(stopped)
    arrays, about = checkpoint.restore(folder, "last")
    digest = json.loads(next(folder.glob("last-*.json")).read_text())["config"]
    members = {name: {**progress, "done": 0} for name, progress in about["members"].items()}
    checkpoint.save(
        folder, "last", about["steps"] + 1, arrays, {**about, "members": members}, digest
    )
    train(examples, stopped)
    assert outcome(stopped) != outcome(finished)
    assert toy_metrics(stopped, "words")[0] == toy_metrics(finished, "words")[0], (
        "the first epoch was over"
    )
    assert toy_metrics(stopped, "words")[1]["loss"] != toy_metrics(finished, "words")[1]["loss"]


def start(stores, folder, *arguments):
    """The same in another process; the stores were made in this one."""
    command = [sys.executable, toy_task.__file__, str(stores), str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_at_five_random_steps(stores, examples, finished, tmp_path):
    """SIGKILL across edges of epochs, stages and members' ends, at once or amid a save, some work
    lost; then the same command once more.
    """
    seed = int(os.environ.get("MEDUSA_KILL_SEED", "1"))
    rng = random.Random(seed)
    orders = []
    # of the 38 that all members make together
    for number, step in enumerate(sorted(rng.sample(range(2, 38), 5))):
        amid = number % 2
        minutes, after = (0, rng.uniform(0, 0.05)) if amid else (rng.choice((0, 0, 10)), 0)
        orders.append(f"{step}:{minutes}:{after}")
    process = start(stores, tmp_path, *orders, "1000:10:0")
    ends, errors = process.communicate(timeout=600)
    assert ends.split() == [*[str(-signal.SIGKILL)] * 5, "0"], errors
    assert outcome(tmp_path) == outcome(finished), f"MEDUSA_KILL_SEED={seed}"


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_the_last_good_checkpoint_stays(
    stores, examples, finished, stopped
):
    before = bits_of(group_folder(stopped), "last")
    process = start(stores, stopped, 0, 3000)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == CheckpointError.exit_code, errors
    assert "free some disk space" in errors
    assert bits_of(group_folder(stopped), "last") == before
    train(examples, stopped)
    assert outcome(stopped) == outcome(finished)


@pytest.mark.slow
def test_metrics_that_a_full_disk_takes_no_more_are_named_and_the_state_stays(
    stores, examples, finished, stopped
):
    """The epoch's line does not fit; nothing was to be saved before."""
    before, metrics = (
        bits_of(group_folder(stopped), "last"),
        stopped / "members/first/metrics.jsonl",
    )
    lines = metrics.read_text()
    process = start(stores, stopped, 10, len(lines) + 40)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == TrainingError.exit_code, errors
    assert f"the metrics cannot be written: {os.strerror(errno.EFBIG)}" in errors
    assert str(metrics) in errors
    assert "free some disk space and run the same command again" in errors
    assert metrics.read_text().startswith(lines)
    assert len(metrics.read_text()) == len(lines) + 40, "the line is torn"
    assert bits_of(group_folder(stopped), "last") == before
    train(examples, stopped)
    assert outcome(stopped) == outcome(finished)


def test_a_damaged_checkpoint_is_refused_by_name_and_can_be_fixed_as_told(
    examples, finished, stopped
):
    folder = group_folder(stopped)
    damaged = max(folder.glob("last-*/**/d/*"), key=lambda path: path.stat().st_size)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    with pytest.raises(CheckpointError, match=damaged.name) as caught:
        train(examples, stopped)
    name = Path(caught.value.where).name
    assert caught.value.hint == f"remove {name} and {name}.json to go on without it"
    shutil.rmtree(folder / name)
    (folder / f"{name}.json").unlink()
    train(examples, stopped)
    assert outcome(stopped) == outcome(finished)


def test_a_damaged_record_is_refused_before_the_groups_are_known(stopped):
    record = next(group_folder(stopped).glob("last-*.json"))
    record.write_text(record.read_text().replace('"done": 2', '"done": 3'))
    with pytest.raises(CheckpointError, match="does not match its own digest"):
        begun_groups(stopped)


OTHERS = {
    "learning rate": dict(configs=toy_group(stage1=StageConfig(epochs=2, learning_rate=2e-2))),
    "member's seed": dict(
        configs=[config.model_copy(update={"seed": 7}) for config in toy_group()]
    ),
    "run's seed": dict(seed=1),
    "training part": dict(fit=FIT[1:]),
    "held-out part": dict(held_out=HELD_OUT[1:]),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("state", ["stopped", "finished"])
def test_a_folder_of_another_training_is_refused(examples, request, other, state):
    folder = request.getfixturevalue(state)
    with pytest.raises(CheckpointError, match="another configuration"):
        train(examples, folder, **OTHERS[other])


def test_a_member_that_is_removed_is_trained_again_in_its_group(examples, finished, tmp_path):
    """`second` is finished while its group goes on."""
    with pytest.raises(Interrupted):
        train(examples, tmp_path, ring_at=STEPS + EPOCHS - 4)
    assert (tmp_path / "members/second/member.json").exists()
    shutil.rmtree(tmp_path / "members/second")
    train(examples, tmp_path)
    assert outcome(tmp_path) == outcome(finished)


def test_saves_come_as_often_as_asked(examples, tmp_path, monkeypatch):
    """Every step, or only when a member is finished."""
    saves, save = [], checkpoint.Writer.save

    def noted(writer, folder, kind, step, *rest):
        saves.append((kind, step))
        save(writer, folder, kind, step, *rest)

    monkeypatch.setattr(checkpoint.Writer, "save", noted)
    configs = toy_group(stage1=StageConfig(epochs=1, learning_rate=1e-2))[:1]
    train(examples, tmp_path / "often", configs, minutes=0)
    assert [step for kind, step in saves if kind == "last"] == list(range(1, 4 + 3 * 2 + 4))
    saves.clear()
    train(examples, tmp_path / "seldom", configs)
    assert [kind for kind, _ in saves] == ["best"]
    ends = [outcome_of(tmp_path / name, "first")[2] for name in ("seldom", "often")]
    assert jax.tree.leaves(ends[0]) == jax.tree.leaves(ends[1])
