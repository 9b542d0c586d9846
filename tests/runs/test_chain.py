"""All steps on a small generated corpus: files, their consistency, and the splits."""

import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score
from small_run import GENERATED, finish, results_of, small_config

from medusa_jax.config.run import RunConfig
from medusa_jax.config.yaml_file import load_config
from medusa_jax.corpus.labels import CLASSES, LETTER_OF
from medusa_jax.corpus.table import ATTRIBUTES, Corpus
from medusa_jax.ensemble.variants import ENSEMBLES
from medusa_jax.errors import EvaluationError
from medusa_jax.runs.evaluate import evaluate, with_answers
from medusa_jax.runs.folder import opened
from medusa_jax.runs.prepare import prepare
from medusa_jax.runs.run import Run
from submission.challenges import INTERSPEECH2025
from submission.scoring import score
from submission.validator import validate

SYSTEMS = ("both", "words", *ENSEMBLES)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Runs, corpora and features of this file, with a space and an accent in the path."""
    yield tmp_path_factory.mktemp("süd west")
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="module")
def done(out):
    return finish(out)


@pytest.fixture(scope="module")
def folder(done):
    return done[0].run.folder


def outputs_of(folder: Path, system: str) -> pd.DataFrame:
    place = (
        f"ensemble/{system}.parquet" if system in ENSEMBLES else f"members/{system}/outputs.parquet"
    )
    return pd.read_parquet(folder / place)


def test_every_file_of_the_run_folder_is_there(folder):
    there = {
        re.sub(r"(best|last)-\d+", r"\1", str(p.relative_to(folder)))
        for p in folder.rglob("*")
        if p.is_file()
    }
    there = {name for name in there if not re.search(r"checkpoints/\w+(-\d+)?/", name)}
    members = {
        f"members/{m}/{f}"
        for m in ("both", "words")
        for f in ("outputs.parquet", "member.json", "metrics.jsonl")
    }
    kept = {f"members/{m}/checkpoints/best.json" for m in ("both", "words")}
    kept |= {f"members/{m}/weights.safetensors" for m in ("both", "words")}
    votes = {f"ensemble/{system}.parquet" for system in ENSEMBLES}
    votes |= {
        f"ensemble/{f}"
        for f in ("checkpoints/meta-00000000.json", "ensemble.json", "meta_classifier.safetensors")
    }
    reports = {
        f"evaluation/{part}/{f}"
        for part in ("development", "test3")
        for f in ("report.md", "scores.json", "scores.csv")
    }
    files = {
        f"submission/{f}"
        for f in ("interspeech2025-categorical.csv", "interspeech2025-attributes.csv")
    }
    assert there == members | kept | votes | reports | files | {
        ".lock",
        "config.yaml",
        "provenance.json",
        "corpus.parquet",
    }


def test_the_folder_says_what_made_it(done, folder):
    prepared, _ = done
    assert load_config(folder / "config.yaml").digest() == prepared.run.config.digest()
    assert folder.name == f"small-{prepared.run.config.digest()[:8]}"
    record = json.loads((folder / "provenance.json").read_text())
    assert record["config"] == prepared.run.config.digest()
    assert (
        record["corpus"]
        == prepared.corpus.digest()
        == Corpus.load(folder / "corpus.parquet").digest()
    )
    assert record["stores"] == {name: store.digest for name, store in prepared.stores.items()}
    (made_by,) = record["made_by"]
    assert made_by["jax"] == jax.__version__
    assert made_by["cores"] >= 1
    scores = json.loads((folder / "evaluation/test3/scores.json").read_text())
    assert scores["provenance"]["config"] == record["config"]
    assert scores["provenance"]["corpus"] == record["corpus"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_outputs_name_their_classes_and_speak_of_every_utterance(done, folder, system):
    frame = outputs_of(folder, system)
    assert list(frame.columns) == [
        "id",
        *(f"logit_{c}" for c in CLASSES),
        *(f"p_{c}" for c in CLASSES),
        *ATTRIBUTES,
    ]
    assert list(frame["id"]) == list(done[0].corpus.frame["id"])
    assert np.allclose(frame[[f"p_{c}" for c in CLASSES]].sum(axis=1), 1, atol=1e-5)
    assert np.isfinite(frame.drop(columns="id").to_numpy()).all()


@pytest.mark.parametrize("part", ["development", "test3"])
def test_scores_are_scikit_learns_on_the_posteriors_as_written(done, folder, part):
    corpus = with_answers(done[0].corpus).frame.set_index("id")
    truth = corpus[(corpus["split"] == part) & corpus["consensus"].isin(CLASSES)][
        "consensus"
    ].astype(object)
    rows = {
        row["system"]: row
        for row in json.loads((folder / f"evaluation/{part}/scores.json").read_text())["systems"]
    }
    assert list(rows) == list(SYSTEMS)
    for system, row in rows.items():
        posteriors = (
            outputs_of(folder, system).set_index("id")[[f"p_{c}" for c in CLASSES]].loc[truth.index]
        )
        predicted = [CLASSES[i] for i in posteriors.to_numpy().argmax(axis=1)]
        labels = list(CLASSES)
        assert row["macro_f1"] == pytest.approx(
            f1_score(truth, predicted, labels=labels, average="macro", zero_division=0), abs=1e-12
        )
        assert row["micro_f1"] == pytest.approx(
            f1_score(truth, predicted, labels=labels, average="micro", zero_division=0), abs=1e-12
        )
        assert row["accuracy"] == pytest.approx(accuracy_score(truth, predicted), abs=1e-12)
        if part == "test3":  # every class occurs there
            assert row["uar"] == pytest.approx(
                recall_score(truth, predicted, labels=labels, average="macro"), abs=1e-12
            )


def test_votes_follow_from_the_members(folder):
    members = [
        outputs_of(folder, m)[[f"p_{c}" for c in CLASSES]].to_numpy() for m in ("both", "words")
    ]
    soft = outputs_of(folder, "soft_vote")[[f"p_{c}" for c in CLASSES]].to_numpy()
    assert np.allclose(soft, np.mean(members, axis=0), atol=1e-6)


def test_the_challenge_files_are_valid_and_score_what_the_report_says(done, folder, out):
    prepared, finished = done
    assert finished.written is not None
    test = prepared.corpus.frame["id"][prepared.corpus.frame["split"] == "test3"]
    assert len(test) == 40
    rules = INTERSPEECH2025.with_names(list(test))
    answers = out / "corpora" / GENERATED / "Answers" / "test3.csv"
    soup = json.loads((folder / "evaluation/test3/scores.json").read_text())["systems"][-1]
    for kind, names in (
        ("categorical", ("macro_f1", "micro_f1", "accuracy")),
        ("attributes", ("ccc_mean", "ccc_valence")),
    ):
        path = finished.written.files[kind]
        assert validate(path, rules.task(kind)) == []
        metrics = score(path, answers, rules, kind).metrics
        assert dict(metrics) == finished.written.scores[kind]
        for name in names:
            assert metrics[name] == pytest.approx(soup[name], abs=1e-6)


def test_the_hidden_labels_stay_hidden(done, folder):
    table = pd.read_parquet(folder / "corpus.parquet")
    test = table[table["split"] == "test3"]
    assert test["consensus"].isna().all()
    assert (
        test[[c for c in table.columns if c.startswith("soft_")] + list(ATTRIBUTES)]
        .isna()
        .all(axis=None)
    )
    assert (test[[c for c in table.columns if c.startswith(("votes_", "secondary_"))]] == 0).all(
        axis=None
    )
    assert with_answers(done[0].corpus).of_split("test3").labels.min() >= 0, (
        "and scoring knows them all"
    )


def test_other_hidden_labels_change_no_model_and_every_run_elsewhere_is_the_same(
    folder, out, tmp_path
):
    shutil.copytree(out / "corpora" / GENERATED, tmp_path / "corpora" / GENERATED)
    answers = tmp_path / "corpora" / GENERATED / "Answers" / "test3.csv"
    table = pd.read_csv(answers)
    following = dict(
        zip(
            LETTER_OF.values(),
            [*list(LETTER_OF.values())[1:], next(iter(LETTER_OF.values()))],
            strict=True,
        )
    )
    table.assign(EmoClass=table["EmoClass"].map(following)).to_csv(answers, index=False)
    prepared, _ = finish(tmp_path)
    here, there = results_of(folder), results_of(prepared.run.folder)
    assert sorted(here) == sorted(there)
    assert {name for name in here if here[name] != there[name]} == {"evaluation/test3/scores.csv"}


def test_no_speaker_plays_two_parts(done):
    prepared, _ = done
    (parts,) = prepared.folds
    together = np.concatenate([parts.fit, parts.held_out, parts.rest])
    assert sorted(together) == list(range(len(prepared.corpus)))
    speakers = [
        set(prepared.corpus.frame["speaker"].iloc[rows].dropna())
        for rows in (parts.fit, parts.held_out, parts.rest)
    ]
    assert all(speakers)
    assert sum(map(len, speakers)) == len(set().union(*speakers))
    assert set(
        prepared.corpus.frame["split"].iloc[np.concatenate([parts.fit, parts.held_out])]
    ) == {"train"}


def test_a_finished_run_is_left_alone(folder, out):
    def times() -> dict[str, int]:
        kept = [
            p
            for top in (folder, out / "features", out / "corpora")
            for p in top.rglob("*")
            if p.is_file() and p.name != ".lock"
        ]
        return {
            str(p): p.stat().st_mtime_ns
            for p in kept
            if not p.is_relative_to(folder / "evaluation") and "submission" not in p.parts
        }

    before, results = times(), results_of(folder)
    finish(out)
    assert times() == before
    assert results_of(folder) == results


def test_another_setting_is_another_folder_and_shares_the_features(folder, out, done):
    run = Run(RunConfig.model_validate(small_config(seed=1)), out)
    assert run.folder != folder
    described = Run(RunConfig.model_validate(small_config(about="other words")), out)
    assert described.folder == folder, "what a run is for does not change its numbers"
    stores = sorted((out / "features").iterdir())
    with opened(run):
        assert {name: s.digest for name, s in prepare(run).stores.items()} == {
            name: s.digest for name, s in done[0].stores.items()
        }
    assert sorted((out / "features").iterdir()) == stores


def test_a_member_that_is_removed_is_made_again_and_nothing_else(folder, out):
    before = results_of(folder)
    other = (folder / "members/both/outputs.parquet").stat().st_mtime_ns
    shutil.rmtree(folder / "members/words")
    finish(out)
    assert results_of(folder) == before
    assert (folder / "members/both/outputs.parquet").stat().st_mtime_ns == other


def test_outputs_that_are_damaged_are_refused_by_name(folder, done):
    path = folder / "members/both/outputs.parquet"
    content = path.read_bytes()
    try:
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(EvaluationError) as caught:
            evaluate(done[0])
        assert caught.value.where == path
    finally:
        path.write_bytes(content)
