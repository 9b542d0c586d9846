"""A run with studies, and its report, for all tests of this folder."""

import json

import pytest
from page_reader import read_page
from scored_run import scored_run
from study_files import ABLATION, ENSEMBLE, QUESTIONS

from medusa_jax.report.report import report


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    found = scored_run(tmp_path_factory.mktemp("report"))
    studies = found.run.folder / "studies"
    studies.mkdir()
    (studies / "ablation-test1.csv").write_text(ABLATION, encoding="utf-8")
    (studies / "ensemble-test1.csv").write_text(ENSEMBLE, encoding="utf-8")
    (studies / "ensemble-test1.json").write_text(json.dumps(QUESTIONS), encoding="utf-8")
    (studies / "ablation-test1.json").write_text(
        json.dumps({**QUESTIONS, "notes": ["of another table"]}), encoding="utf-8"
    )
    return found


@pytest.fixture(scope="session")
def written(prepared):
    return report(prepared)


@pytest.fixture(scope="session")
def found(written):
    return json.loads(written.numbers.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def shown(written):
    return read_page(written.page)
