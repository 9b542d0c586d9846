"""Runs on conversations: from a table to scores, their plan, and what they refuse in one error."""

import json

import numpy as np
import pytest
import yaml
from dialogue_task import dialogue_corpus, dialogue_member
from small_iemocap import write_iemocap
from small_meld import write_meld
from toy_task import toy_metrics

from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.runs.run import OUTPUTS


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus of dialogues with a development part, and the runs' folder."""
    folder = tmp_path_factory.mktemp("talks")
    corpus = dialogue_corpus()
    held = corpus.frame["dialogue"].isin(["d03", "d07", "d11", "d15"])
    split = corpus.frame["split"].mask(held, "development")
    Corpus(corpus.frame.assign(split=split), corpus.classes, folder, "talk").save(
        folder / "corpus.parquet"
    )
    return folder


def config_file(place, folder, members=(), **changes):
    """The path of a run's configuration."""
    members = members or [dialogue_member("talk"), dialogue_member("words", modalities=("words",))]
    raw = {
        "name": "talks",
        "corpus": {
            "source": "table",
            "path": str(place / "corpus.parquet"),
            "epoch_by": "development",
            "max_failures": 0.05,
        },
        "features": {
            "words": {"extractor": "hashed_text", "width": 24},
            "letters": {"extractor": "hashed_text", "width": 16},
        },
        "members": [one.model_dump(mode="json") for one in members],
        "ensemble": {"kind": "weighted"},
        "engine": {"memory_gb": 1},
        **changes,
    }
    path = folder / "talks.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


@pytest.mark.slow
def test_from_a_table_to_scores(medusa, place, tmp_path):
    """Each utterance is predicted once, whatever its dialogue; the scores are of the test part."""
    code, said, error = medusa("run", config_file(place, tmp_path), "--out", place / "out")
    assert code == 0, error
    assert "weighted F1" in said
    (run,) = (place / "out").glob("talks-*")
    corpus = Corpus.load(run / "corpus.parquet")
    for name in ("talk", "words"):
        lines = toy_metrics(run, name)
        assert {"test_weighted_f1", "experts_off", "dialogues"} <= set(lines[0])
        file = run / "members" / name / OUTPUTS
        found = Predictions.load(file, corpus.classes)
        assert set(found.ids) == set(corpus.frame["id"])
        assert np.isfinite(found.logits).all()
    scores = json.loads((run / "evaluation/test1/scores.json").read_text())
    assert scores


FEATURES = {
    "text": {"extractor": "hashed_text", "width": 16},
    "audio": {"extractor": "logmel", "bands": 16},
    "whisper": {"extractor": "logmel", "bands": 8},
}
"""In place of encoders that are not at hand."""
SMALLER = (
    f"features={json.dumps(FEATURES)}",
    *(f"conversation.{key}" for key in ("width=16", "heads=2", "experts=2")),
    *(f"training.{key}" for key in ("batch_size=2", "stage1.epochs=1", "stage2.epochs=1")),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "write", "classes"), [("iemocap", write_iemocap, 6), ("meld", write_meld, 7)]
)
def test_the_shipped_configurations_run_on_the_releases_layouts(
    medusa, tmp_path, name, write, classes
):
    """Everything but the encoders and the sizes is configs/summer-iemocap.yaml, or -meld."""
    place = f"corpus.path={write(tmp_path / 'release', sound=True)}"
    sets = [word for one in (place, *SMALLER) for word in ("--set", one)]
    code, said, error = medusa("run", f"summer-{name}", *sets, "--out", tmp_path / "out")
    assert code == 0, error
    assert "weighted F1" in said
    (run,) = (tmp_path / "out").glob("summer-*")
    corpus = Corpus.load(run / "corpus.parquet")
    assert len(corpus.classes) == classes
    lines = toy_metrics(run, "summer")
    assert [line["phase"] for line in lines] == ["teacher", "student"]
    assert all(np.isfinite(line["test_weighted_f1"]) for line in lines)
    found = Predictions.load(run / "members" / "summer" / OUTPUTS, corpus.classes)
    assert set(found.ids) == set(corpus.frame["id"])


def test_the_command_plans_conversations(medusa, place, tmp_path):
    path = config_file(place, tmp_path)
    code, said, _ = medusa("train", path, "--out", tmp_path / "out", "--plan", "--speed", 1e-3)
    assert code == 0
    for words in ("group 1", "words/letters:", "memory"):
        assert words in said, words


def test_a_corpus_without_dialogues_is_refused(medusa, place, tmp_path):
    corpus = Corpus.load(place / "corpus.parquet")
    plain = corpus.frame.drop(columns=["dialogue", "turn"])
    Corpus(plain, corpus.classes, tmp_path, "plain").save(tmp_path / "plain.parquet")
    own = {"source": "table", "path": str(tmp_path / "plain.parquet"), "max_failures": 0.05}
    path = config_file(place, tmp_path, corpus=own)
    code, _, error = medusa("run", path, "--out", tmp_path / "out")
    assert code == 3
    assert "has no dialogues" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teacher": ["voice"]}, "conversation.teacher names 'voice'"),
        ({"heads": 3}, "must divide width"),
        ({"routing": "top_k", "top_k": 9}, "top_k (9) must be at most experts"),
        ({"context": "future"}, "both"),
        ({"expert": 3}, "did you mean"),
        ({"training": {"micro_batches": 2}}, "set training.micro_batches to 1"),
    ],
)
def test_a_wrong_setting_is_refused(medusa, place, tmp_path, changes, words):
    member = dialogue_member("talk").model_dump(mode="json")
    for key, value in changes.items():
        if key == "training":
            member["training"] |= value
        else:
            member["conversation"][key] = value
    path = config_file(place, tmp_path)
    raw = yaml.safe_load(path.read_text()) | {"members": [member]}
    path.write_text(yaml.safe_dump(raw))
    code, _, error = medusa("run", path, "--out", tmp_path / "out")
    assert code == 2
    assert words in error
    assert "Traceback" not in error
