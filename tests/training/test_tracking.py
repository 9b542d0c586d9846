"""Metrics come back from every tracker as they were logged, also after a member went on from an
earlier epoch.
"""

import json
import sys
from pathlib import Path

import pytest

from medusa_jax.config.run import RunConfig
from medusa_jax.config.training import TrackingConfig
from medusa_jax.errors import DependencyError
from medusa_jax.training.tracking import Tracker, trackers_of

PLAIN = TrackingConfig()
LATER = "e" * 64


def lines_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def logged(tracker: Tracker, first: int, last: int, shift: float = 0.0) -> None:
    """Losses of epochs `first` to `last`."""
    for epoch in range(first, last + 1):
        tracker.log({"stage": 1, "loss": 1 / epoch + shift, "note": "fine"}, epoch)
    tracker.close()


def test_lines_are_kept_up_to_the_epoch_from_which_the_member_goes_on(tmp_path: Path):
    logged(trackers_of(PLAIN, tmp_path, LATER), 1, 4)
    assert lines_of(tmp_path)[1] == {"epoch": 2, "stage": 1, "loss": 0.5, "note": "fine"}
    logged(trackers_of(PLAIN, tmp_path, LATER, done=2), 3, 5, shift=1)
    assert [(line["epoch"], line["loss"]) for line in lines_of(tmp_path)] == [
        (1, 1),
        (2, 0.5),
        (3, 1 / 3 + 1),
        (4, 1.25),
        (5, 1.2),
    ]
    trackers_of(PLAIN, tmp_path, LATER)
    assert lines_of(tmp_path) == [], "a member that starts anew has no earlier epochs"


@pytest.mark.parametrize(
    "torn", ['{"epoch": 3, "lo', "", "null", '{"stage": 1}', '{"epoch": "three"}', "\x00\x00"]
)
def test_a_torn_line_is_dropped(tmp_path: Path, torn):
    logged(trackers_of(PLAIN, tmp_path, LATER), 1, 2)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(torn)
    logged(trackers_of(PLAIN, tmp_path, LATER, done=9), 3, 3)
    assert [line["epoch"] for line in lines_of(tmp_path)] == [1, 2, 3]


def test_tensorboard_reads_the_numbers_and_forgets_epochs_trained_again(tmp_path: Path):
    pytest.importorskip("tensorboardX", reason="the extra `track` is not installed")
    config = TrackingConfig(tensorboard=True)
    logged(trackers_of(config, tmp_path, LATER), 1, 3)
    logged(trackers_of(config, tmp_path, LATER, done=2), 3, 4, shift=1)
    files = [events(path) for path in (tmp_path / "tensorboard").iterdir()]
    said = next(file for file in files if (1, "loss", 1.0) in file)
    again = next(file for file in files if file is not said)
    assert {name for _, name, _ in said} == {"stage", "loss", "START"}, "words are no scalars"
    assert [(step, value) for step, name, value in said if name == "loss"] == [
        (1, 1.0),
        (2, 0.5),
        (3, pytest.approx(1 / 3)),
    ]
    assert (3, "START", None) in again, "from this step on earlier files do not count"
    assert [(step, value) for step, name, value in again if name == "loss"] == [
        (3, pytest.approx(4 / 3)),
        (4, 1.25),
    ]
    assert len(lines_of(tmp_path)) == 4


def events(path: Path) -> list[tuple[int, str, float | None]]:
    """Step, name and value of each scalar of an event file, read without the code that wrote it:
    length, its check sum, record, check sum.
    """
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    data, place, found = path.read_bytes(), 0, []
    while place < len(data):
        length = int.from_bytes(data[place : place + 8], "little")
        event = Event.FromString(data[place + 12 : place + 12 + length])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        if event.session_log.status == SessionLog.START:
            found.append((event.step, "START", None))
        place += 12 + length + 4
    return found


@pytest.mark.slow
def test_wandb_writes_an_offline_run_a_member(tmp_path: Path):
    pytest.importorskip(
        "wandb",
        reason="Weights & Biases is not among the tests' packages: pip install '.[track]'",
    )
    trackers = {}
    for name in ("01", "02"):  # both at once, as the members of a group are
        folder = tmp_path / "run" / "members" / name
        folder.mkdir(parents=True)
        trackers[name] = trackers_of(TrackingConfig(wandb="offline"), folder, name * 16)
    for tracker in trackers.values():
        logged(tracker, 1, 2)
    for name in trackers:
        (file,) = (tmp_path / "run" / "members" / name).glob(
            f"wandb/offline-run-*-{name * 16}/*.wandb"
        )
        assert wandb_steps(file) == [(1, 1.0), (2, 0.5)]


def wandb_steps(file: Path) -> list[tuple[int, float]]:
    """Step and loss of each row of an offline run: a LevelDB log (blocks of 32 kB; check sum,
    length, which piece of a record) of Protobuf.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, record, found = file.read_bytes(), 7, b"", []
    while place < len(data):
        if place % 32768 > 32768 - 7:
            place += -place % 32768
        length, piece = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if piece in (1, 4):  # a whole one, or its last piece
            row = {
                item.key or ".".join(item.nested_key): item.value_json
                for item in Record.FromString(record).history.item
            }
            found += [(int(row["_step"]), float(row["loss"]))] if "loss" in row else []
            record = b""
    return found


@pytest.mark.parametrize(
    ("package", "config"),
    [
        ("tensorboardX", TrackingConfig(tensorboard=True)),
        ("wandb", TrackingConfig(wandb="offline")),
    ],
)
def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch, package, config):
    monkeypatch.setitem(sys.modules, package, None)  # as Python marks what cannot be imported
    with pytest.raises(DependencyError, match=package) as caught:
        trackers_of(config, tmp_path, LATER)
    assert "medusa-jax[track]" in str(caught.value)


def test_tracking_makes_no_other_run():
    plain = {
        "name": "toy",
        "corpus": {"source": "generated"},
        "features": {"text": {"extractor": "hashed_text"}},
        "members": [{"id": "1", "modalities": ["text"]}],
    }
    tracked = RunConfig.model_validate(
        {**plain, "tracking": {"tensorboard": True, "wandb": "online"}}
    )
    assert tracked.digest() == RunConfig.model_validate(plain).digest()
    assert tracked.digest() != RunConfig.model_validate({**plain, "seed": 1}).digest()
