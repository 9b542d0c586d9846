"""`medusa train`: its plan, an unfinished run found again, and a trace of some steps."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from small_run import small_config, small_yaml

from medusa_jax.config.run import RunConfig
from medusa_jax.runs.folder import opened, unfinished
from medusa_jax.runs.plan import Plan, plan_of
from medusa_jax.runs.prepare import Prepared, prepare
from medusa_jax.runs.run import Run
from medusa_jax.runs.training_plan import prepared_examples, training_plan
from medusa_jax.tasks.registry import Reading, data_of, task_of
from medusa_jax.training.weights import outline

TWINS = [
    {"id": name, "modalities": ["logmel", "text"], "seed": seed}
    for seed, name in enumerate(("one", "two"))
]
MEMBERS = [*TWINS, {"id": "words", "modalities": ["text"], "training": {"batch_size": 4}}]


def run_of(out: Path, **changes: object) -> Run:
    return Run(RunConfig.model_validate(small_config(**changes)), out)


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def prepared(out: Path) -> Prepared:
    run = run_of(out, members=MEMBERS, training={"shapes": 2})
    with opened(run):
        return prepare(run)


@pytest.fixture(scope="module")
def plan(prepared: Prepared) -> Plan:
    return plan_of(prepared)


def test_the_plan_is_in_groups_of_one_stream(plan: Plan):
    assert [[member.id for member in group.members] for group in plan.groups] == [
        ["one", "two"],
        ["words"],
    ]
    assert [group.batch_size for group in plan.groups] == [8, 4]
    assert plan.groups[0].stacks == (
        (("one", "two"),) if plan.side_by_side else (("one",), ("two",))
    )


def test_the_plan_counts_what_is_there(plan: Plan, prepared: Prepared):
    fit, config = prepared.folds[0].fit, prepared.run.config.members[0]
    examples = prepared_examples(prepared, Reading("deepser", 2))
    for group in plan.groups:
        assert group.steps[1] == examples.trainable[fit].sum() // group.batch_size
        assert sum(group.shares) == pytest.approx(1)
        assert all(0 <= share < 1 for share in group.padding.values())
        assert max(member.need.state for member in group.members) < group.bytes < plan.budget
    (split,) = training_plan(prepared).splits[0]
    data = data_of(config, examples, split.fit, split.held_out, 0)
    made = outline(task_of(config, data, {}, 0))
    count = sum(leaf.size for leaf in jax.tree.leaves(made.params))
    assert plan.groups[0].members[0].need.parameters == count
    assert plan.flops == sum(member.flops for group in plan.groups for member in group.members)


def test_every_epoch_takes_as_many_operations_and_the_predictions_at_the_end_come_once(
    plan: Plan, out: Path
):
    longer = []
    for epochs in (2, 3):
        run = run_of(
            out,
            members=MEMBERS,
            training={"shapes": 2, "stage1": {"epochs": epochs}, "stage2": {"epochs": epochs}},
        )
        with opened(run):
            longer.append(plan_of(prepare(run)))
    epoch, again = longer[0].flops - plan.flops, longer[1].flops - longer[0].flops
    assert epoch == pytest.approx(again)
    assert 0 < plan.flops - epoch < plan.flops
    assert longer[0].groups[0].bytes == plan.groups[0].bytes
    assert longer[0].programs == plan.programs


def test_little_memory_splits_the_group(out: Path, plan: Plan):
    run = run_of(
        out,
        members=MEMBERS,
        training={"shapes": 2},
        engine={"memory_gb": 1.01 * plan.groups[1].bytes / 1e9},
    )
    with opened(run):
        assert [[m.id for m in group.members] for group in plan_of(prepare(run)).groups] == [
            ["one"],
            ["two"],
            ["words"],
        ]


_PACES = """
import sys, json, jax
from pathlib import Path
from medusa_jax.config.yaml_file import load_config
from medusa_jax.runs.plan import measured_pace
from medusa_jax.runs.prepare import prepare
from medusa_jax.runs.run import Run
jax.config.update("jax_compilation_cache_dir", sys.argv[2])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
folder = Path(sys.argv[1])
prepared = prepare(Run(load_config(folder / "config.yaml"), folder.parent))
for _ in range(2):
    jax.clear_caches()  # as in a new process
    pace = measured_pace(prepared)
    print(json.dumps([pace.speed, pace.compiling]))
"""


@pytest.mark.slow
def test_the_pace_is_of_real_steps_and_compiling_takes_as_long_when_the_programs_are_on_disk(
    prepared: Prepared, tmp_path: Path
):
    command = [sys.executable, "-c", _PACES, str(prepared.run.folder), str(tmp_path / "compiled")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (speed, first), (_, again) = map(json.loads, done.stdout.splitlines())
    assert any((tmp_path / "compiled").iterdir())
    assert 1e5 < speed < 1e15
    assert 0.2 < again / first < 5


def test_the_command_shows_the_plan_and_trains_nothing(medusa, tmp_path: Path, out: Path):
    path = small_yaml(tmp_path / "small.yaml", members=MEMBERS, training={"shapes": 2})
    code, said, _ = medusa("train", path, "--out", out, "--plan", "--speed", 1e-6)
    assert code == 0
    for words in (
        "group 1",
        "one pass over the data for 2 member(s)",
        "logmel + text",
        "Stage 2: ",
        "memory: ",
        "fits",
        "given by --speed",
    ):
        assert words in said, words
    assert not list(out.glob("*/members")), "a plan leaves no members behind"


def test_a_run_must_be_named_unless_one_goes_on(medusa, tmp_path: Path):
    code, _, said = medusa("train", "--out", tmp_path)
    assert (code, "--resume" in said) == (2, True)
    code, _, said = medusa("train", "--resume", "--out", tmp_path / "nowhere")
    assert (code, "no unfinished run here" in said) == (2, True)


def test_several_unfinished_runs_are_listed(medusa, tmp_path: Path):
    """Folders of killed runs, of one that never began to train, and of a damaged configuration."""
    begun, other, untrained, damaged = (run_of(tmp_path, seed=seed) for seed in range(4))
    for run in (begun, other, untrained, damaged):
        with opened(run):
            pass
    for run in (begun, other, damaged):
        run.member_folder(0, "both").mkdir(parents=True)
        (run.member_folder(0, "both") / "metrics.jsonl").touch()
    (damaged.folder / "config.yaml").write_text("name: [")
    assert set(unfinished(tmp_path)) == {begun.folder, other.folder}
    code, _, said = medusa("train", "--resume", "--out", tmp_path)
    assert code == 2
    assert begun.folder.name in said
    assert other.folder.name in said
    assert untrained.folder.name not in said


@pytest.mark.slow
def test_training_leaves_a_trace_and_goes_on_without_being_told_what(medusa, tmp_path: Path):
    path, out = small_yaml(tmp_path / "small.yaml"), tmp_path / "runs"
    code, said, _ = medusa("train", path, "--out", out, "--profile")
    assert code == 0
    assert "ui.perfetto.dev" in said
    trace = json.loads(gzip.decompress(Path(said.splitlines()[-1].strip()).read_bytes()))
    assert len(trace["traceEvents"]) > 100
    (folder,) = (path.parent for path in out.glob("*/config.yaml"))
    outputs = folder / "members" / "words" / "outputs.parquet"
    before = outputs.read_bytes()
    assert unfinished(out) == []
    outputs.unlink()  # as if killed just before it was written
    code, said, _ = medusa("train", "--resume", "--out", out)
    assert code == 0
    assert f"trained, in {folder}" in said
    assert outputs.read_bytes() == before
    assert unfinished(out) == []
