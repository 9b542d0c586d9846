"""A run's folder: one run, one process at a time, its configuration and provenance kept."""

import json
import os

import jax
import pytest
import yaml
from small_run import small_config

from medusa_jax.config.run import RunConfig
from medusa_jax.errors import RunFolderError
from medusa_jax.runs.folder import opened, unfinished
from medusa_jax.runs.provenance import keep_provenance
from medusa_jax.runs.run import Run


def run_of(out, **changes) -> Run:
    return Run(RunConfig.model_validate(small_config(**changes)), out)


@pytest.fixture
def run(tmp_path):
    """A run whose folder is made; nothing is read or trained."""
    made = run_of(tmp_path)
    with opened(made):
        pass
    yield made
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.mark.parametrize("other", [yaml.safe_dump(small_config(seed=5)), "name: [", "hello", ""])
def test_a_folder_of_another_configuration_is_refused(run, other):
    run.config_file.write_text(other, encoding="utf-8")
    with pytest.raises(RunFolderError, match="another configuration") as caught, opened(run):
        pass
    assert caught.value.where == run.config_file


def test_a_configuration_that_changes_no_number_is_the_same_run(run, tmp_path):
    described = run_of(tmp_path, about="other words", engine={"save_minutes": 1})
    text = run.config_file.read_text(encoding="utf-8")
    with opened(described):
        pass
    assert described.folder == run.folder
    assert run.config_file.read_text(encoding="utf-8") == text


def test_one_process_at_a_time(run):
    with opened(run), pytest.raises(RunFolderError, match="another process"), opened(run):
        pass


def test_another_version_is_added_to_the_provenance(run, monkeypatch):
    keep_provenance(run, corpus="its digest")
    monkeypatch.setattr("medusa_jax.runs.provenance._version", lambda package: "9.9")
    keep_provenance(run)
    record = json.loads(run.provenance_file.read_text())
    assert [made_by["jax"] for made_by in record["made_by"]] == [jax.__version__, "9.9"]
    assert record["corpus"] == "its digest"


def begin(run: Run, seconds: int) -> None:
    """A folder as a killed training leaves it, `seconds` after the epoch."""
    with opened(run):
        pass
    for member in run.config.members:
        run.member_folder(0, member.id).mkdir(parents=True)
        run.metrics_file(0, member.id).touch()
        os.utime(run.metrics_file(0, member.id), (seconds, seconds))


def test_unfinished_runs_are_listed_newest_first(run, tmp_path):
    older, newer = run_of(tmp_path, seed=1), run_of(tmp_path, seed=2)
    begin(newer, 2000)
    begin(older, 1000)
    assert unfinished(tmp_path) == [newer.folder, older.folder]


def test_a_run_is_finished_with_the_last_file_of_predictions(run):
    begin(run, 1000)
    for member in run.config.members:
        assert unfinished(run.out) == [run.folder]
        run.predictions_file(0, member.id).touch()
    assert unfinished(run.out) == []


def test_out_of_fold_predictions_are_needed_where_the_run_learns_from_them(tmp_path):
    run = run_of(tmp_path, ensemble={"fit_on": "out_of_fold"})
    begin(run, 1000)
    for member in run.config.members:
        run.predictions_file(0, member.id).touch()
    assert unfinished(tmp_path) == [run.folder]
    for member in run.config.members:
        run.out_of_fold_file(0, member.id).touch()
    assert unfinished(tmp_path) == []
    jax.config.update("jax_compilation_cache_dir", None)
