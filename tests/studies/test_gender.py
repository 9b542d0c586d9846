"""Hidden genders are predicted from the encoder's states, and used by the run itself."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from toy_task import toy_corpus

pytest.importorskip("torch")
from small_models import save_model
from small_run import small_config

from medusa_jax.config.run import RunConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import ConfigError, CorpusError
from medusa_jax.runs.chain import run_all
from medusa_jax.runs.folder import opened
from medusa_jax.runs.inputs import read_corpus
from medusa_jax.runs.prepare import Prepared, prepare
from medusa_jax.runs.run import Run
from medusa_jax.studies.gender import gender_run, opened_predictor, predict_genders

HIDDEN = ("development", "test3")
FEW = {"size": 100, "test_per_class": 5}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A generated corpus that hides the genders of its tests, and a tiny encoder."""
    folder = tmp_path_factory.mktemp("gender")
    encoder = save_model("wavlm-large", folder / "wavlm", "tiny")
    config = RunConfig.model_validate(small_config(corpus=FEW)).corpus
    corpus = read_corpus(config, folder / "runs")
    frame = corpus.frame.copy()
    hidden = frame["split"].isin(HIDDEN)
    frame["gender"] = frame["gender"].astype(object).where(~hidden, None)
    replace(corpus, frame=frame).save(folder / "corpus.parquet")
    return folder, encoder, set(frame["id"][frame["gender"].isna()])


def configured(folder, encoder, **corpus):
    """A run of a member that conditions on gender."""
    member = {
        "id": "one",
        "task": "finetuning",
        "modalities": ["speech"],
        "finetuning": {
            "backbones": {"speech": f"hf:{encoder}"},
            "gender": "sum",
            "width": 16,
            "crop_seconds": 1.0,
        },
    }
    table = {"source": "table", "path": str(folder / "corpus.parquet"), "hold_out": 0.2}
    changes = {"features": {"speech": {"extractor": "waveform"}}, "members": [member]}
    raw = small_config(**changes, ensemble={"kind": "weighted"})
    return RunConfig.model_validate({**raw, "corpus": {**table, **corpus}, "submission": None})


@pytest.mark.slow
def test_predicted_genders_reach_the_run_and_its_report(given):
    folder, encoder, hidden = given
    base = Run(configured(folder, encoder), folder / "runs")
    with opened(base):
        prepared = prepare(base)
        with opened_predictor(prepared) as own:
            found = predict_genders(own)
    table = pd.read_csv(found.file)
    assert set(table["id"]) == hidden
    assert found.count == len(hidden)
    assert 0 <= found.accuracy <= 1
    assert table["probability"].between(0.5, 1).all()
    told = Run(configured(folder, encoder, genders=str(found.file)), folder / "runs")
    assert told.folder != base.folder
    with opened(told):
        prepared = prepare(told)
        assert prepared.corpus.frame["gender"].notna().all()
        run_all(prepared)
    scores = json.loads(told.scores_file("test3").read_text())
    assert scores["corpus"]["counts"]["predicted genders"] > 0


def test_runs_that_cannot_tell_genders_are_refused(given, tmp_path):
    folder, encoder, *_ = given
    corpus = Corpus.load(folder / "corpus.parquet")
    run = Run(configured(folder, encoder), tmp_path)
    known = replace(corpus, frame=corpus.frame.assign(gender="female"))
    with pytest.raises(CorpusError, match="no gender is hidden"):
        gender_run(Prepared(run, known, {}, [None]))
    with pytest.raises(CorpusError, match="no gender is known"):
        gender_run(Prepared(run, toy_corpus(), {}, [None]))
    with pytest.raises(ConfigError, match="folds"):
        gender_run(Prepared(run, corpus, {}, [None, None]))
    plain = Run(RunConfig.model_validate(small_config()), tmp_path)
    with pytest.raises(ConfigError, match="fine-tunes"):
        gender_run(Prepared(plain, corpus, {}, [None]))
