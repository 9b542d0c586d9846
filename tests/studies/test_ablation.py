"""The plan of `medusa ablate`: its members, the rows it leaves out, and mistakes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from small_ablation import OWN_ROW, WORDS, base_of
from small_run import small_config, small_yaml

from medusa_jax.config.run import RunConfig
from medusa_jax.errors import ConfigError
from medusa_jax.runs.folder import opened
from medusa_jax.runs.prepare import Prepared
from medusa_jax.studies.ablation import opened_ablation, planned
from medusa_jax.studies.ablation_changes import DEEPSER_ROWS
from medusa_jax.studies.derived_run import replicate


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("runs")
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="module")
def base(out: Path) -> Prepared:
    return base_of(out)


def test_every_row_member_and_seed_is_one_member_of_one_run(base):
    ablation = planned(base, seeds=3)
    config = ablation.run.config
    assert [m.id for m in config.members[:4]] == [
        "deepser.one.s1",
        "deepser.one.s2",
        "deepser.one.s3",
        "deepser.two.s1",
    ]
    assert len(config.members) == len(DEEPSER_ROWS) * 2 * 3
    assert RunConfig.model_validate(config.model_dump()) == config, (
        "what is written to config.yaml is what is run"
    )
    assert config.study_of == base.run.folder.name
    assert (
        config.digest()
        == planned(
            base_of(base.run.out, ensemble={"epochs": 7}, submission=None), seeds=3
        ).run.config.digest()
    )
    assert (config.corpus, config.features, config.seed) == (
        base.run.config.corpus,
        base.run.config.features,
        base.run.config.seed,
    )
    members = {m.id: m for m in config.members}
    for number in (1, 2, 3):
        same = members[f"deepser.two.s{number}"]
        changed = {name: members[f"{name}.two.s{number}"] for name in DEEPSER_ROWS}
        assert len({m.seed for m in changed.values()}) == 1, (
            "a row keeps the seed: the difference is the row's"
        )
        assert changed["one_hot"].training == same.training.model_copy(
            update={"targets": "one_hot"}
        )
        assert changed["late_fusion"].model == same.model.model_copy(update={"fusion": "late"})
        assert changed["no_mixup"].training == same.training.model_copy(
            update={"mixup_probability": 0}
        )
        assert changed["no_multitask"].training == same.training.model_copy(
            update={"attribute_loss": 0}
        )
        assert changed["no_stage2"].training.stage2.epochs == 0
        assert changed["no_stage2"].training.stage1 == same.training.stage1
    assert len({m.seed for m in config.members}) == 6, "no two members and seeds alike"
    assert members["deepser.two.s1"].seed == base.run.config.members[1].seed


def test_a_replicate_differs_in_its_seed_alone():
    member = RunConfig.model_validate(small_config()).members[0]
    found = [replicate(member, number, f"x{number}") for number in range(1, 50)]
    assert len({one.seed for one in found}) == 49
    assert found[0].seed == member.seed
    assert all(
        one.model_copy(update={"id": member.id, "seed": member.seed}) == member for one in found
    )


def test_what_has_no_effect_here_is_left_out_and_said(base):
    acted = base.corpus.frame.copy()
    labels = base.corpus.labels
    # as RAVDESS: one emotion for certain, no ratings
    for c, name in enumerate(base.corpus.classes):
        acted[f"soft_{name}"] = np.where(labels >= 0, labels == c, np.nan)
    acted[["arousal", "valence", "dominance"]] = np.nan
    certain = replace(base, corpus=replace(base.corpus, frame=acted))
    found = planned(certain)
    assert list(found.rows) == ["deepser", "late_fusion", "no_mixup", "no_stage2"]
    assert [note.split(" changes")[0] for note in found.notes] == ["one_hot", "no_multitask"]
    mixed = [{**WORDS["members"][0], "model": {"fusion": "late"}}, WORDS["members"][1]]
    found = planned(base_of(base.run.out, members=mixed), rows=["late_fusion"])
    assert {trial.member for trial in found.trials if trial.row == "late_fusion"} == {"two"}
    assert found.notes == ("late_fusion changes nothing of one here, and is left out for it.",)
    with pytest.raises(ConfigError, match="nothing to compare"):
        planned(certain, rows=["one_hot"])


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        (
            {},
            ("--rows", "late_fusoin"),
            ("there is no row 'late_fusoin'", "did you mean 'late_fusion'?", "--rows"),
        ),
        (
            {},
            ("--members", "one,tow"),
            ("there is no member 'tow'", "did you mean 'two'?", "--members"),
        ),
        ({}, ("--rows", "deepser"), ("nothing to compare",)),
        ({}, ("--seeds", 0), ("--seeds",)),
        (
            {"ablation": {"rows": {"one_hot": {}}}},
            (),
            ("there is a row 'one_hot' already", "ablation.rows.one_hot"),
        ),
        (
            {"ablation": {"rows": {"x": {"modle": {}}}}},
            (),
            ("unknown key 'ablation.rows.x.modle': did you mean 'model'?",),
        ),
        (
            {"ablation": {"rows": {"x": {"model": {"droput": 0}}}}},
            (),
            ("did you mean 'dropout'?", "row x, member one"),
        ),
        (
            {"ablation": {"rows": {"x": {"model": {"dropout": 2}}}}},
            (),
            ("model.dropout", "row x, member one"),
        ),
        ({"ablation": {"rows": {"x.y": {}}}}, (), ("ablation.rows",)),
        (
            {"training": {"stage1": {"epochs": 0}}},
            ("--rows", "no_stage2"),
            ("leaves no epoch to train", "row no_stage2, member one"),
        ),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(
    medusa, base, tmp_path, changes, options, words
):
    path = small_yaml(tmp_path / "s.yaml", **WORDS, **changes)
    code, _, err = medusa("ablate", path, "--out", base.run.out, *options)
    assert code == 2
    for one in words:
        assert one in err, err
    assert "Traceback" not in err


def test_rows_of_ones_own_change_no_run(base):
    assert base_of(base.run.out, **OWN_ROW).run.folder == base.run.folder


def test_a_corpus_that_cannot_be_scored_is_told_before_training(medusa, base, out, tmp_path):
    path = small_yaml(
        tmp_path / "s.yaml",
        **WORDS,
        corpus={"source": "table", "path": str(tmp_path / "unlabelled.parquet")},
        submission=None,
    )
    # The root of the generated corpus has the answers: a copy with another root has none.
    frame = base.corpus.of_split("train", "development").frame
    frame.loc[frame["split"] == "development", "speaker"] = "the one"
    replace(base.corpus, frame=frame, root=tmp_path).save(tmp_path / "few.parquet")
    few = small_yaml(
        tmp_path / "few.yaml",
        **WORDS,
        corpus={"source": "table", "path": str(tmp_path / "few.parquet")},
        submission=None,
    )
    replace(base.corpus.of_split("train", "test3"), root=tmp_path).save(
        tmp_path / "unlabelled.parquet"
    )
    for config, words in (
        (path, "no utterance outside the training part is labelled"),
        (few, "development has one speaker"),
    ):
        code, _, err = medusa("ablate", config, "--out", tmp_path / "out")
        assert (code, words in err) == (8, True), err
    assert not list((tmp_path / "out").glob("small-ablation-*"))


def test_an_ablation_has_no_ablation(medusa, base):
    ablation = planned(base, seeds=1, rows=["no_mixup"])
    with opened_ablation(ablation, features=False):
        pass
    code, _, err = medusa("ablate", ablation.run.folder)
    assert code == 2
    assert "trains members for a study" in err
    assert base.run.folder.name in err


def test_two_at_once_and_another_corpus_are_refused(medusa, base, out, tmp_path):
    path = small_yaml(tmp_path / "s.yaml", **WORDS)
    with opened(base.run):
        code, _, err = medusa("ablate", path, "--out", out)
    assert (code, "another process is working in this folder" in err) == (7, True)
    ablation = planned(base, seeds=1, rows=["no_stage2"])
    with opened(ablation.run):
        base.corpus.of_split("train", "development").save(ablation.run.corpus_file)
    code, _, err = medusa("ablate", path, "--out", out, "--seeds", 1, "--rows", "no_stage2")
    assert (code, "begun on another corpus" in err) == (7, True)


def test_the_plan_trains_nothing(medusa, tmp_path):
    path = small_yaml(tmp_path / "s.yaml", **WORDS)
    code, said, err = medusa(
        "ablate",
        path,
        "--out",
        tmp_path,
        "--rows",
        "no_multitask",
        "--members",
        "two",
        "--plan",
        "--speed",
        1e-6,
    )
    assert code == 0, err
    for words in (
        "one pass over the data for 6 member(s)",
        "no_multitask.two.s3",
        "given by --speed",
    ):
        assert words in said, words
    assert not list(tmp_path.glob("*/members"))
    assert not list(tmp_path.glob("*/studies"))
