"""A conducted ablation: its members, tables and page, and how it goes on."""

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from small_ablation import OWN_ROW, WORDS, base_of
from small_run import small_yaml

from medusa_jax.corpus.labels import CLASSES
from medusa_jax.runs.evaluate import with_answers
from medusa_jax.runs.folder import opened
from medusa_jax.runs.prepare import Prepared, prepare
from medusa_jax.runs.train import train
from medusa_jax.studies.ablation import opened_ablation, planned
from medusa_jax.studies.ablation_study import conduct


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("runs")
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="module")
def base(out: Path) -> Prepared:
    return base_of(out)


@pytest.fixture(scope="module")
def done(base: Prepared) -> tuple[Path, Path]:
    """An ablation of two rows, finished: the base run's folder and its own."""
    ablation = planned(base, seeds=2, rows=["no_mixup", "no_stage2"])
    with opened(base.run), opened_ablation(ablation) as prepared:
        conduct(ablation, prepared)
    return base.run.folder, ablation.run.folder


def test_the_first_seed_of_the_base_row_is_the_runs_own_member(done, out, base):
    run, own = done
    assert not (run / "members").exists(), "the base run itself is not trained"
    with opened(base.run):
        train(prepare(base.run))
    for member in ("one", "two"):
        assert (run / f"members/{member}/outputs.parquet").read_bytes() == (
            own / f"members/deepser.{member}.s1/outputs.parquet"
        ).read_bytes()
    others = {
        (own / f"members/{row}.one.s{k}/outputs.parquet").read_bytes()
        for row in ("deepser", "no_mixup")
        for k in (1, 2)
    }
    assert len(others) == 4, "and no other is"


def test_the_tables_are_scikit_learns_on_what_the_members_say(done, base):
    run, own = done
    assert {path.name for path in (run / "studies").iterdir()} == {
        f"ablation-{p}.{form}" for p in ("development", "test3") for form in ("csv", "json", "md")
    }
    corpus = with_answers(base.corpus).frame.set_index("id")
    for part in ("development", "test3"):
        truth = corpus[(corpus["split"] == part) & corpus["consensus"].isin(CLASSES)][
            "consensus"
        ].astype(object)
        table = pd.read_csv(run / f"studies/ablation-{part}.csv").set_index(["row", "member"])
        for row in ("deepser", "no_mixup", "no_stage2"):
            for member in ("one", "two"):
                f1 = []
                for seed in (1, 2):
                    frame = (
                        pd.read_parquet(own / f"members/{row}.{member}.s{seed}/outputs.parquet")
                        .set_index("id")
                        .loc[truth.index]
                    )
                    said = [
                        CLASSES[i]
                        for i in frame[[f"p_{c}" for c in CLASSES]].to_numpy().argmax(axis=1)
                    ]
                    f1.append(
                        f1_score(
                            truth, said, labels=list(CLASSES), average="macro", zero_division=0
                        )
                    )
                assert table.loc[(row, member), "macro_f1"] == pytest.approx(np.mean(f1), abs=1e-12)
                assert table.loc[(row, member), "seed_sd"] == pytest.approx(
                    np.std(f1, ddof=1), abs=1e-12
                )
                assert table.loc[(row, member), "seeds"] == 2
            means = table.loc[[(row, "one"), (row, "two")], "macro_f1"]
            assert table.loc[(row, "mean"), "macro_f1"] == pytest.approx(means.mean(), abs=1e-12)


def test_the_page_says_what_was_done_and_what_the_paper_found(done):
    run, own = done
    page = (run / "studies/ablation-test3.md").read_text()
    for words in (
        "synthetic",
        "mean over 2 seeds",
        "Holm over the 2 line(s) `mean`",
        "| no_mixup |",
        "-2.93",
        "-1.20",
        "mixup_probability=0",
        own.name,
    ):
        assert words in page, words
    assert "late_fusion" not in page
    record = json.loads((run / "studies/ablation-test3.json").read_text())
    assert record["settings"]["seeds"] == 2
    assert record["corpus"]["synthetic"]


def test_a_finished_ablation_is_left_alone_and_a_wider_one_trains_what_is_new(
    medusa, done, out, tmp_path
):
    run, own = done
    times = {
        path: path.stat().st_mtime_ns
        for path in own.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    texts = {path: path.read_bytes() for path in (run / "studies").iterdir()}
    path = small_yaml(tmp_path / "again.yaml", **WORDS)
    code, said, err = medusa(
        "ablate", path, "--out", out, "--seeds", 2, "--rows", "no_mixup,no_stage2"
    )
    assert code == 0, err
    for words in (
        "no_stage2",
        "generated, synthetic speech",
        "mean over 2 seeds",
        str(run / "studies/ablation-test3.md"),
    ):
        assert words in said, words
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert {path: path.read_bytes() for path in texts} == texts

    wider = small_yaml(tmp_path / "wider.yaml", **WORDS, **OWN_ROW)
    code, said, err = medusa(
        "ablate", wider, "--out", out, "--seeds", 2, "--rows", "no_mixup,mixed", "--members", "one"
    )
    assert code == 0, err
    assert "reused 4 training(s)" in err
    assert "mixed" in said
    (other,) = (folder for folder in out.glob("small-ablation-*") if folder != own)
    taken = json.loads((other / "provenance.json").read_text())["reused"]
    assert taken.keys() == {
        f"members/{row}.one.s{k}" for row in ("deepser", "no_mixup") for k in (1, 2)
    }
    assert taken["members/no_mixup.one.s2"] == f"{own.name}/members/no_mixup.one.s2"
    for row in ("deepser", "no_mixup"):
        for place in (
            f"members/{row}.one.s2/outputs.parquet",
            f"members/{row}.one.s2/metrics.jsonl",
        ):
            assert (other / place).read_bytes() == (own / place).read_bytes()
    assert (
        "MixUp in every batch: training.mixup_probability=1"
        in (run / "studies/ablation-test3.md").read_text()
    )


def test_folds_are_trained_one_by_one_and_scored_together(base, out, tmp_path):
    known = base.corpus.where(
        (base.corpus.frame["speaker"].notna() & (base.corpus.frame["split"] != "test3")).to_numpy()
    )
    known.save(tmp_path / "known.parquet")
    run = base_of(
        out,
        corpus={"source": "table", "path": str(tmp_path / "known.parquet"), "folds": 3},
        submission=None,
    )
    ablation = planned(run, seeds=1, rows=["no_mixup"], members=["one"])
    with opened_ablation(ablation) as prepared:
        found = conduct(ablation, prepared)
    assert list(found.studies) == ["folds"]
    truth, said = [], []
    for fold, parts in enumerate(run.folds):
        frame = pd.read_parquet(
            ablation.run.member_folder(fold, "no_mixup.one.s1") / "outputs.parquet"
        ).iloc[parts.rest]
        said += frame[[f"p_{c}" for c in CLASSES]].to_numpy().argmax(axis=1).tolist()
        truth += known.labels[parts.rest].tolist()
    labelled = np.array(truth) >= 0
    table = pd.read_csv(found.files["folds"][0]).set_index(["row", "member"])
    f1 = f1_score(
        np.array(truth)[labelled],
        np.array(said)[labelled],
        labels=range(8),
        average="macro",
        zero_division=0,
    )
    assert table.loc[("no_mixup", "one"), "macro_f1"] == pytest.approx(f1, abs=1e-12)
