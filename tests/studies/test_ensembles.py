"""The study of ensembles on a small run: its numbers, its seeds, its command and mistakes."""

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from small_run import SMALL, finish, small_config, small_yaml

from medusa_jax.config.run import RunConfig
from medusa_jax.ensemble.variants import ALL, ENSEMBLES, OUT_OF_FOLD, SOUP, STACKING, TRAIN
from medusa_jax.errors import ConfigError
from medusa_jax.runs.evaluate import with_answers
from medusa_jax.runs.folder import opened
from medusa_jax.runs.prepare import Prepared, prepare
from medusa_jax.runs.reuse import reuse_members
from medusa_jax.runs.run import Run
from medusa_jax.runs.train import train
from medusa_jax.studies.combinations import planned, ranking_of
from medusa_jax.studies.derived_run import opened_beside
from medusa_jax.studies.ensembles import PAPER, conduct
from medusa_jax.studies.study import Study
from medusa_jax.studies.study_file import ENSEMBLE, read_study

WORDS: dict[str, object] = {
    "corpus": {"size": 160},
    "features": {"text": SMALL["features"]["text"]},
    "members": [{"id": f"words-{k}", "modalities": ["text"], "seed": k} for k in range(3)],
    "submission": None,
}
TAUGHT = {**WORDS, "ensemble": {"fit_on": "out_of_fold", "inner_folds": 2}}


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("runs")
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="module")
def base(out: Path) -> Prepared:
    """A finished run that learns out of fold."""
    return finish(out, **TAUGHT)[0]


@pytest.fixture(scope="module")
def single(base: Prepared) -> tuple[dict[str, Study], dict[str, list[Path]]]:
    """The study of its own members."""
    done = conduct(planned(base, 1, [2, 5]), base)
    return done.studies, done.files


@pytest.fixture(scope="module")
def seeded(out: Path) -> tuple[Prepared, Prepared, dict[str, Study]]:
    """The study with two seeds of an untrained run: the base, the derived run, and the tables."""
    run = Run(RunConfig.model_validate(small_config(**WORDS)), out)
    with opened(run):
        base = prepare(run, features=False)
        study = planned(base, 2, [])
        with opened_beside(base, study.run) as prepared:
            return base, prepared, conduct(study, prepared).studies


def test_the_lines_that_the_run_has_too_are_the_same_numbers(base, single):
    studies, _ = single
    for part in ("development", "test3"):
        own = pd.read_csv(base.run.folder / f"evaluation/{part}/scores.csv").set_index("system")
        whole = [
            row
            for row in studies[part].rows
            if row["members"] == ALL and row["learned_from"] in (None, OUT_OF_FOLD)
        ]
        shared = {row["system"]: row for row in whole if row["system"] in ENSEMBLES}
        assert list(shared) == list(ENSEMBLES)
        for system, row in shared.items():
            for name in ("macro_f1", "macro_f1_low", "macro_f1_high", "accuracy"):
                assert row[name] == pytest.approx(own.loc[system, name]), (part, system, name)
        best = base.run.config.members[ranking_of(planned(base), base).places[0]].id
        (line,) = [row for row in studies[part].rows if row["system"] == "best_member"]
        assert line["macro_f1"] == pytest.approx(own.loc[best, "macro_f1"])


def test_only_sets_of_fewer_than_all_members_are_there(single):
    assert {row["members"] for row in single[0]["test3"].rows} == {"top 1", "top 2", "all"}


def test_what_stands_in_one_file_stands_in_all(base, single):
    studies, files = single
    study = studies["test3"]
    table, record, page = files["test3"][:3]
    assert [path.relative_to(base.run.folder).as_posix() for path in (table, record, page)] == [
        f"studies/ensemble-test3.{f}" for f in ("csv", "json", "md")
    ]
    rows = pd.read_csv(table).astype(object).replace({np.nan: None}).to_dict("records")
    assert len(rows) == len(study.rows)
    for row, line in zip(rows, study.rows, strict=True):
        assert row == {
            name: pytest.approx(value) if isinstance(value, float) else value
            for name, value in line.items()
        }
    known = json.loads(record.read_text(encoding="utf-8"))
    assert known["rows"] == [dict(row) for row in study.rows]
    assert known["questions"] == [dict(row) for row in study.questions]
    assert known["settings"]["seeds"] == 1
    read = read_study(table, ENSEMBLE)  # as the report reads it
    assert [list(row.values()) for row in read.rows] == [list(row.values()) for row in study.rows]
    assert (list(map(dict, read.questions)), list(read.notes)) == (
        list(map(dict, study.questions)),
        list(study.notes),
    )
    text = page.read_text(encoding="utf-8")
    for row in study.questions:
        assert row["question"] in text
    for sets in PAPER.values():
        assert all(f"{f1:.3f}" in text for f1, _ in sets.values())
    assert "out-of-fold outputs of the training part (2 speaker-disjoint folds)" in text
    assert "synthetic" in text


def test_learning_out_of_fold_stands_beside_learning_in_sample(single):
    study = single[0]["test3"]
    assert {row["learned_from"] for row in study.rows if row["system"] == SOUP} == {
        OUT_OF_FOLD,
        TRAIN,
    }
    assert any("in-sample" in str(row["question"]) for row in study.questions)
    assert [row["learned_from"] for row in study.rows if row["system"] == STACKING] == [OUT_OF_FOLD]


def test_the_derived_run_holds_every_member_with_every_seed(seeded):
    base, prepared, _ = seeded
    config = prepared.run.config
    assert (config.name, config.study_of) == ("small-seeds", base.run.folder.name)
    with pytest.raises(ConfigError, match="trains members for a study"):
        planned(prepared)
    assert [member.id for member in config.members] == [
        f"words-{k}.s{s}" for k in range(3) for s in (1, 2)
    ]
    assert [member.seed for member in config.members][::2] == [
        member.seed for member in base.run.config.members
    ]
    assert len({member.seed for member in config.members}) == 6
    assert prepared.corpus.digest() == base.corpus.digest()
    assert not (base.run.folder / "members").exists(), "the base run needs no training of its own"


def test_a_line_is_the_mean_over_seeds_of_each_seeds_own_members(seeded):
    _, prepared, studies = seeded
    corpus = with_answers(prepared.corpus)
    rows = np.flatnonzero((corpus.frame["split"] == "test3").to_numpy())
    f1 = []
    for seed in (1, 2):
        said = [
            prepared.run.predictions(corpus, 0, f"words-{k}.s{seed}").posteriors for k in range(3)
        ]
        guess = np.mean(said, axis=0)[rows].argmax(axis=1)
        f1.append(
            f1_score(corpus.labels[rows], guess, labels=range(8), average="macro", zero_division=0)
        )
    (line,) = [row for row in studies["test3"].rows if row["system"] == "soft_vote"]
    assert line["seeds"] == 2
    assert line["macro_f1"] == pytest.approx(np.mean(f1))
    assert line["seed_sd"] == pytest.approx(np.std(f1, ddof=1))


def test_members_trained_alike_are_reused_with_those_of_the_inner_folds(base, out: Path):
    """A run whose meta-classifier alone learns longer reuses every member, bit by bit."""
    ensemble = {"fit_on": "out_of_fold", "inner_folds": 2, "epochs": 4}
    run = Run(RunConfig.model_validate(small_config(**{**TAUGHT, "ensemble": ensemble})), out)
    with opened(run):
        prepared = prepare(run)
        assert reuse_members(prepared) == 9, "three members, each of three training splits"
        assert not list(run.folder.rglob("out*.parquet")), (
            "what they say is made from their weights"
        )
        train(prepared)
        assert reuse_members(prepared) == 0
    for name in ("outputs", "out_of_fold"):
        for member in base.run.config.members:
            path = f"members/{member.id}/{name}.parquet"
            assert (run.folder / path).read_bytes() == (base.run.folder / path).read_bytes()
    fewer = {**ensemble, "inner_folds": 3}
    run = Run(RunConfig.model_validate(small_config(**{**TAUGHT, "ensemble": fewer})), out)
    with opened(run):
        assert reuse_members(prepare(run)) == 3, "other inner folds are other trainings"


def test_one_member_is_no_ensemble(out: Path):
    run = Run(
        RunConfig.model_validate(small_config(**{**WORDS, "members": WORDS["members"][:1]})), out
    )
    with opened(run), pytest.raises(ConfigError, match="one member is no ensemble"):
        planned(prepare(run, features=False))


def test_the_command_says_all_of_it_and_a_second_time_the_same(medusa, base, tmp_path: Path):
    path = small_yaml(tmp_path / "small.yaml", **TAUGHT)
    out, files = base.run.out, base.run.folder / "studies"
    code, said, err = medusa("ensemble", path, "--out", out, "--study", "--top", "2")
    assert code == 0, err
    for words in (
        "soup",
        "top 2",
        "Does the soup beat one meta-classifier?",
        "synthetic",
        str(files / "ensemble-test3.md"),
        "Holm",
    ):
        assert words in said, words
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    assert medusa("ensemble", path, "--out", out, "--study", "--top", "2")[0] == 0
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--study", "--top", "five"], 2, ["'five' is not a list of numbers", "--top"]),
        (["--study", "--top", "1,5"], 2, ["the 1 best member(s) are no ensemble"]),
        (["--study", "--plan"], 2, ["trains nothing", "--seeds 3"]),
        (["--seeds", "3"], 2, ["--seeds", "--study"]),
        (["--top", "5"], 2, ["--top", "--study"]),
        (["--study"], 8, ["is not trained yet", "medusa train"]),
    ],
)
def test_mistakes_are_told(medusa, out: Path, tmp_path: Path, arguments, code, words):
    path = small_yaml(tmp_path / "small.yaml", **{**WORDS, "seed": 9})
    found, _, err = medusa("ensemble", path, "--out", out, *arguments)
    assert found == code, err
    assert all(word in err for word in words), err
    assert "Traceback" not in err
