"""Members that another run trained identically are reused under any id."""

import json
from pathlib import Path

import pytest
from small_run import SMALL, finish, small_config, small_yaml

from medusa_jax.config.run import RunConfig
from medusa_jax.runs.folder import opened
from medusa_jax.runs.prepare import Prepared, prepare
from medusa_jax.runs.reuse import reuse_members
from medusa_jax.runs.run import Run
from medusa_jax.runs.train import train

MEMBER = {"modalities": ["text"], "seed": 2}
WORDS = {
    "features": {"text": SMALL["features"]["text"]},
    "members": [{"id": "words", **MEMBER}],
    "submission": None,
}


@pytest.fixture
def first(tmp_path: Path) -> Prepared:
    """A finished run of one member."""
    return finish(tmp_path, **WORDS)[0]


def prepared_of(out: Path, **changes: object) -> Prepared:
    return prepare(Run(RunConfig.model_validate(small_config(**{**WORDS, **changes})), out))


def test_the_command_trains_only_the_members_that_are_new(first, medusa, tmp_path):
    members = [{"id": "same", **MEMBER}, {"id": "new", **MEMBER, "seed": 3}]
    code, _, err = medusa(
        "run",
        small_yaml(tmp_path / "more.yaml", **{**WORDS, "members": members}),
        "--out",
        tmp_path,
    )
    assert code == 0, err
    assert "reused 1 training(s)" in err
    (folder,) = (path for path in tmp_path.glob("small-*") if path != first.run.folder)
    for name in ("outputs.parquet", "metrics.jsonl"):
        assert (folder / "members/same" / name).read_bytes() == (
            first.run.folder / "members/words" / name
        ).read_bytes()
    assert json.loads((folder / "members/same/member.json").read_text())["member"]["id"] == "same"
    assert json.loads((folder / "provenance.json").read_text())["reused"] == {
        "members/same": f"{first.run.folder.name}/members/words"
    }
    assert (folder / "members/new/outputs.parquet").is_file()
    code, _, err = medusa("report", folder)
    assert code == 0, err
    made_by = json.loads((folder / "report.json").read_text())["provenance"]
    assert made_by["reused"] == f"1 training(s), done in {first.run.folder.name}"
    lines = [
        json.loads(line) for line in (folder / "members/new/metrics.jsonl").read_text().splitlines()
    ]
    assert made_by["seconds of training"] == round(sum(line["seconds"] for line in lines))


@pytest.mark.parametrize(
    "changes",
    [
        {"members": [{"id": "words", **MEMBER, "seed": 3}]},
        {"members": [{"id": "words", **MEMBER, "model": {"dropout": 0.2}}]},
        {"seed": 1},
        {"corpus": {"hold_out": 0.3}},
        {"features": {"text": {"extractor": "hashed_text", "width": 24}}},
    ],
    ids=["seed", "model", "the run's seed", "parts", "features"],
)
def test_what_is_not_alike_is_not_reused(first, tmp_path, changes):
    other = prepared_of(tmp_path, **changes)
    assert other.run.folder != first.run.folder
    with opened(other.run):
        assert reuse_members(other) == 0


def test_what_was_begun_here_or_is_damaged_there_is_trained(first, tmp_path):
    other = prepared_of(tmp_path, ensemble={"epochs": 5})
    with opened(other.run):
        begun = other.run.member_folder(0, "words")
        begun.mkdir(parents=True)
        assert reuse_members(other) == 0
        begun.rmdir()
        for path in (
            first.run.member_folder(0, "words") / "member.json",
            *first.run.member_folder(0, "words").glob("checkpoints/best-*.json"),
        ):
            kept = path.read_bytes()
            path.write_bytes(kept[: len(kept) // 2])
            assert reuse_members(other) == 0, path.name
            path.write_bytes(kept)
        arrays = first.run.member_folder(0, "words") / "checkpoints"
        largest = max(
            (path for path in arrays.rglob("*") if path.is_file() and path.suffix != ".json"),
            key=lambda path: path.stat().st_size,
        )
        kept = largest.read_bytes()
        largest.write_bytes(
            kept[: len(kept) // 2] + bytes([kept[len(kept) // 2] ^ 1]) + kept[len(kept) // 2 + 1 :]
        )
        assert reuse_members(other) == 0, "its weights are damaged"
        assert not list(other.run.folder.glob("members/*")) + list(
            other.run.folder.glob("members/.*")
        )
        largest.write_bytes(kept)
        assert reuse_members(other) == 1
        train(other)
    said = [run.member_folder(0, "words") / "outputs.parquet" for run in (first.run, other.run)]
    assert said[0].read_bytes() == said[1].read_bytes()
