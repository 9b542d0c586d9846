"""Systems of every kind of member, exported: the numbers of their runs, and what they need."""

import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from dialogue_task import WIDTHS, dialogue_corpus, dialogue_member
from small_models import save_model
from small_run import SPEECH_ONLY, small_config
from small_system import small_system
from tuned_task import tuned_corpus, tuned_member

from medusa_jax.config.run import RunConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CheckpointError, ConfigError, FeatureError
from medusa_jax.inference.recogniser import load
from medusa_jax.inference.system import export, open_system
from medusa_jax.runs.combine import combine
from medusa_jax.runs.folder import opened
from medusa_jax.runs.prepare import prepare
from medusa_jax.runs.run import Run
from medusa_jax.runs.train import train

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _compiled_anew():
    yield
    jax.config.update("jax_compilation_cache_dir", None)


def finished(raw, out):
    run = Run(RunConfig.model_validate(raw), out)
    with opened(run):
        prepared = prepare(run)
        train(prepared)
        combine(prepared)
    return prepared


def posteriors(results):
    return np.array([list(one.probabilities.values()) for one in results])


def agrees(results, wanted, rows):
    np.testing.assert_allclose(posteriors(results), wanted.where(rows).posteriors, atol=1e-5)


def test_whisper_hears_both_sound_and_words(tmp_path):
    """Published weights, copied with the system and out of reach of the run."""
    pytest.importorskip("safetensors")
    root = Path(os.environ.get("MEDUSA_TEST_MODELS", ""))
    for name in ("whisper-tiny.en", "minilm"):
        if not (root / name / "config.json").is_file():
            pytest.skip(f"MEDUSA_TEST_MODELS has no {name}")
        shutil.copytree(root / name, tmp_path / name)
    whisper, words = f"hf:{tmp_path / 'whisper-tiny.en'}", f"hf:{tmp_path / 'minilm'}"
    corpus = tuned_corpus(tmp_path / "audio")
    corpus.save(tmp_path / "corpus.parquet")
    place = {"source": "table", "path": str(tmp_path / "corpus.parquet"), "hold_out": 0.25}
    raw = small_config(
        corpus=place,
        transcription={"model": whisper, "max_tokens": 8},
        features={
            "speech": {"extractor": "huggingface", "model": whisper, "window": "real"},
            "words": {"extractor": "huggingface", "model": words},
        },
        members=[{"id": "both", "modalities": ["speech", "words"], "seed": 1}],
        model={"stack": {}},
        ensemble={"kind": "weighted"},
        submission=None,
    )
    prepared = finished(raw, tmp_path / "runs")
    rows = np.arange(4)
    paths = [prepared.corpus.audio_path(int(row)) for row in rows]
    wanted = prepared.run.ensemble_predictions(prepared.corpus, 0, "weighted_vote")
    system = open_system(prepared.run.folder)
    whole = export(system, tmp_path / "whole", with_backbones=True)
    bare = export(system, tmp_path / "bare")
    for name in ("whisper-tiny.en", "minilm"):
        shutil.rmtree(tmp_path / name)
    results = load(whole)(paths)
    agrees(results, wanted, rows)
    assert [one.transcript for one in results] == prepared.corpus.frame["transcript"][rows].tolist()
    with pytest.raises(FeatureError, match="neither a folder nor a hub id"):
        load(bare)


def test_a_finetuned_encoder(tmp_path):
    save_model("wavlm-large", tmp_path / "wavlm", "tiny")
    corpus = tuned_corpus(tmp_path / "audio")
    corpus.save(tmp_path / "corpus.parquet")
    member = tuned_member(tmp_path / "wavlm", modalities=("wave",))
    place = {"source": "table", "path": str(tmp_path / "corpus.parquet"), "hold_out": 0.25}
    prepared = finished(
        {
            "name": "tuned",
            "corpus": place,
            "features": {"wave": {"extractor": "waveform"}},
            "members": [member.model_dump(mode="json")],
            "ensemble": {"kind": "weighted"},
        },
        tmp_path / "runs",
    )
    wanted = prepared.run.predictions(prepared.corpus, 0, member.id)
    rows = np.flatnonzero(prepared.corpus.frame["gender"].isna())[:5]
    system = open_system(prepared.run.folder)
    folder = export(system, tmp_path / "system", with_backbones=True)
    shutil.rmtree(tmp_path / "wavlm")
    results = load(folder, use=member.id)([corpus.audio_path(int(row)) for row in rows])
    agrees(results, wanted, rows)


def test_members_that_read_conversations(tmp_path):
    corpus = dialogue_corpus()
    held = corpus.frame["dialogue"].isin(["d03", "d07", "d11", "d15"])
    split = corpus.frame["split"].mask(held, "development")
    Corpus(corpus.frame.assign(split=split), corpus.classes, tmp_path, "talk").save(
        tmp_path / "corpus.parquet"
    )
    prepared = finished(
        {
            "name": "talk",
            "corpus": {
                "source": "table",
                "path": str(tmp_path / "corpus.parquet"),
                "epoch_by": "development",
                "max_failures": 0.05,
            },
            "features": {
                name: {"extractor": "hashed_text", "width": width} for name, width in WIDTHS.items()
            },
            "members": [dialogue_member("talk").model_dump(mode="json")],
            "ensemble": {"kind": "weighted"},
        },
        tmp_path / "runs",
    )
    wanted = prepared.run.predictions(prepared.corpus, 0, "talk")
    recogniser = load(prepared.run.folder, use="talk")
    (_, rows), *_ = prepared.corpus.dialogues().items()
    frame = prepared.corpus.frame.iloc[rows]
    silence = [np.zeros(1600, np.float32)] * len(rows)
    words = frame["transcript"].tolist()
    speakers = frame["speaker"].tolist()
    results = recogniser.dialogue(silence, 16_000, speakers=speakers, transcripts=words)
    agrees(results, wanted, rows)
    alone = recogniser(silence, 16_000, transcript=words)
    assert np.abs(posteriors(alone) - posteriors(results)).max() > 1e-4


def test_folds_are_chosen(tmp_path):
    corpus = tuned_corpus(tmp_path / "audio")
    corpus.save(tmp_path / "corpus.parquet")
    place = {"source": "table", "path": str(tmp_path / "corpus.parquet"), "hold_out": 0.34}
    training = {"batch_size": 4}
    changes = {**SPEECH_ONLY, "corpus": {**place, "folds": 2}, "training": training}
    prepared = finished(small_config(**changes, submission=None), tmp_path / "runs")
    with pytest.raises(ConfigError, match="2 folds"):
        load(prepared.run.folder)
    for fold in (1, 2):
        result = load(prepared.run.folder, use="speech", fold=fold)(corpus.audio_path(0))
        wanted = prepared.run.predictions(prepared.corpus, fold - 1, "speech")
        agrees([result], wanted, np.arange(1))


def test_members_of_another_training_are_not_combined(tmp_path):
    prepared, folder = small_system(tmp_path)
    copy = tmp_path / prepared.run.folder.name
    shutil.copytree(prepared.run.folder, copy)
    record = copy / "members" / "both" / "member.json"
    content = json.loads(record.read_text())
    content["weights"] = "0" * 64
    record.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="member both is not the one that was combined"):
        load(copy)
    sound = np.zeros(32_000, np.float32)
    soundfile.write(tmp_path / "silence.wav", sound, 16_000)
    result = load(folder)(tmp_path / "silence.wav")
    assert "silent" in result.warnings
