"""The rows of an ablation of members on conversations: the paper's, modality sets, teachers."""

from pathlib import Path

import pytest
from small_ablation import base_of

from medusa_jax.config.run import RunConfig
from medusa_jax.errors import ConfigError
from medusa_jax.runs.prepare import Prepared
from medusa_jax.studies.ablation import Ablation, planned
from medusa_jax.studies.ablation_changes import SUMMER_ROWS, known_rows

STREAMS = ("text", "audio", "visual")
HASHED = {"extractor": "hashed_text", "width": 32}
SPOKEN = {
    "features": {name: HASHED for name in STREAMS},
    "conversation": {"width": 16, "heads": 2, "experts": 2, "routing": "dynamic"},
    "training": {"stage1": {"epochs": 1}, "stage2": {"epochs": 1}},
    "members": [{"id": "all", "modalities": list(STREAMS), "task": "conversation", "seed": 1}],
    "ensemble": {"kind": "weighted"},
    "submission": None,
}


def spoken(out: Path, **changes: object) -> Prepared:
    return base_of(out, **{**SPOKEN, **changes})


def of_row(ablation: Ablation, row: str):
    (found,) = [trial.config for trial in ablation.trials if trial.row == row and trial.seed == 1]
    return found


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Ablation:
    return planned(spoken(tmp_path_factory.mktemp("runs")), seeds=2)


def test_every_row_of_the_paper_is_there(plan):
    assert plan.unchanged == "summer"
    assert set(SUMMER_ROWS) <= set(plan.rows)
    unchanged = of_row(plan, "summer").conversation
    for name, key, value in (
        ("top_k", "routing", "top_k"),
        ("no_experts", "routing", "none"),
        ("plain_fusion", "fusion", "plain"),
        ("no_distillation", "distillation", 0),
        ("no_smoothing", "smoothed_loss", 0),
        ("no_context", "context", "none"),
        ("no_speakers", "speakers", "none"),
    ):
        changed = of_row(plan, name).conversation
        assert getattr(unchanged, key) != value
        assert changed == unchanged.model_copy(update={key: value}), name


def test_modality_sets_are_each_one_and_each_pair(plan):
    sets = {name: of_row(plan, name).modalities for name in plan.rows if name.startswith("only_")}
    assert sets == {
        "only_text": ("text",),
        "only_audio": ("audio",),
        "only_visual": ("visual",),
        "only_text_audio": ("text", "audio"),
        "only_text_visual": ("text", "visual"),
        "only_audio_visual": ("audio", "visual"),
    }


def test_the_teacher_has_each_modality_or_all(plan):
    teachers = {
        name: of_row(plan, name).conversation.teacher
        for name in plan.rows
        if name.startswith("teacher_")
    }
    assert teachers == {
        "teacher_audio": ("audio",),
        "teacher_visual": ("visual",),
        "teacher_all": STREAMS,
    }
    assert any("teacher_text changes nothing" in note for note in plan.notes), "it has that one"


def test_a_teacher_loses_the_modalities_of_its_member(tmp_path):
    conversation = {**SPOKEN["conversation"], "teacher": ["text", "audio"]}
    plan = planned(spoken(tmp_path, conversation=conversation), seeds=1)
    assert of_row(plan, "only_visual").conversation.teacher == ()
    assert of_row(plan, "only_text_visual").conversation.teacher == ("text",)


def test_seeds_and_rows_are_members_of_one_valid_run(plan):
    config = plan.run.config
    assert len(config.members) == len(plan.rows) * 2
    assert RunConfig.model_validate(config.model_dump()) == config


def test_what_a_teacher_alone_never_uses_is_left_out(tmp_path):
    training = {"stage1": {"epochs": 1}, "stage2": {"epochs": 0}}
    text = [{"id": "text", "modalities": ["text"], "task": "conversation"}]
    plan = planned(spoken(tmp_path, training=training, members=text), seeds=1)
    assert set(plan.rows) == set(SUMMER_ROWS) - {"plain_fusion", "no_distillation"}
    assert len(plan.notes) == 2


def test_rows_of_a_configuration_change_conversation_and_modalities(tmp_path):
    rows = {
        "strict": {"about": "few experts stay on", "conversation": {"alpha": 0.5}},
        "late": {"modalities": ["visual", "audio"], "conversation": {"teacher": ["audio"]}},
    }
    plan = planned(spoken(tmp_path, ablation={"rows": rows}), seeds=1, rows=["strict", "late"])
    assert of_row(plan, "strict").conversation.alpha == 0.5
    assert of_row(plan, "late").modalities == ("visual", "audio")
    assert of_row(plan, "late").conversation.teacher == ("audio",)
    wrong = {"x": {"modalities": ["audio"], "conversation": {"teacher": ["text"]}}}
    with pytest.raises(ConfigError, match="no modality of the member"):
        planned(spoken(tmp_path, ablation={"rows": wrong}), rows=["x"])


def test_members_of_other_tasks_have_no_rows_of_conversations(tmp_path):
    members = [*SPOKEN["members"], {"id": "plain", "modalities": ["text"]}]
    plan = planned(spoken(tmp_path, members=members), seeds=1, rows=["top_k", "late_fusion"])
    pairs = {(trial.row, trial.member) for trial in plan.trials}
    assert pairs == {
        ("deepser", "all"),
        ("deepser", "plain"),
        ("late_fusion", "plain"),
        ("top_k", "all"),
    }
    alone = [{"id": "plain", "modalities": ["text"]}]
    config = spoken(tmp_path, members=alone).run.config
    assert not set(known_rows(config)) & set(SUMMER_ROWS)
