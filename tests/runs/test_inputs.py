"""All steps on other corpora: other readers, folds, missing labels or frames, refusals."""

import json
import os
import shutil
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from small_iemocap import write_iemocap
from small_meld import write_meld
from small_run import GENERATED, SMALL, SPEECH_ONLY, finish, small_config

from medusa_jax.batches.examples import gather
from medusa_jax.config.run import RunConfig
from medusa_jax.corpus.labels import CLASSES
from medusa_jax.corpus.medusa_csv import write_medusa_csv
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import ConfigError, CorpusError, SubmissionError
from medusa_jax.runs.folder import opened
from medusa_jax.runs.inputs import read_corpus
from medusa_jax.runs.prepare import prepare
from medusa_jax.runs.run import Run
from medusa_jax.runs.training_splits import splits_of
from medusa_jax.synthetic.folder import ASR


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Runs, corpora and features of this file."""
    yield tmp_path_factory.mktemp("corpora")
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="module")
def prepared(out):
    """The small run's corpus and features; nothing is trained."""
    run = Run(RunConfig.model_validate(small_config()), out)
    with opened(run):
        return prepare(run)


def test_the_generated_folder_read_as_msp_podcast_is_the_same_corpus(prepared, out):
    root = out / "corpora" / GENERATED
    config = RunConfig.model_validate(
        small_config(
            corpus={"source": "msp-podcast", "path": str(root), "transcripts": str(root / ASR)}
        )
    )
    read = read_corpus(config.corpus, out)
    assert read.digest() == prepared.corpus.digest()


def test_folds_predict_every_utterance_once(prepared, out, tmp_path):
    known = prepared.corpus.where(
        (
            prepared.corpus.frame["speaker"].notna() & (prepared.corpus.frame["split"] != "test3")
        ).to_numpy()
    )
    known.save(tmp_path / "known.parquet")
    source = {"source": "table", "path": str(tmp_path / "known.parquet"), "folds": 3}
    changes = {"features": {"text": SMALL["features"]["text"]}, "members": [SMALL["members"][1]]}
    prepared, finished = finish(out, corpus=source, submission=None, **changes)
    tested = np.concatenate([parts.rest for parts in prepared.folds])
    assert sorted(tested) == list(range(len(known)))
    assert list(finished.scored) == ["folds"]
    for fold, parts in enumerate(prepared.folds):
        assert (prepared.run.fold_folder(fold) / "ensemble/soup.parquet").is_file()
        speakers = [
            set(known.frame["speaker"].iloc[rows])
            for rows in (parts.fit, parts.held_out, parts.rest)
        ]
        assert sum(map(len, speakers)) == len(set().union(*speakers))
    counts = json.loads((prepared.run.folder / "evaluation/folds/scores.json").read_text())[
        "corpus"
    ]["counts"]
    assert counts["scored utterances"] == (known.labels >= 0).sum()


def test_one_fold_alone_is_what_it_is_among_all_also_out_of_fold(prepared, out, tmp_path):
    """The same members and ensembles, scored on the fold's speakers; inner folds within folds."""
    known = prepared.corpus.where(
        (
            prepared.corpus.frame["speaker"].notna() & (prepared.corpus.frame["split"] != "test3")
        ).to_numpy()
    )
    # so many of each that every inner fold has all
    classes = [CLASSES[i % len(CLASSES)] for i in range(len(known))]
    known = replace(
        known, frame=known.frame.sort_values("speaker", ignore_index=True).assign(consensus=classes)
    )
    known.save(tmp_path / "known.parquet")
    source = {"source": "table", "path": str(tmp_path / "known.parquet"), "folds": 2}
    changes = {
        "features": {"text": SMALL["features"]["text"]},
        "members": [SMALL["members"][1]],
        "submission": None,
    }
    changes["ensemble"] = {"fit_on": "out_of_fold", "inner_folds": 2}
    every, pooled = finish(out, corpus=source, **changes)
    alone, finished = finish(out, corpus={**source, "fold": 2}, **changes)
    assert (list(pooled.scored), list(finished.scored)) == (["folds"], ["fold-2"])
    for path in (
        "members/words/outputs.parquet",
        "members/words/out_of_fold.parquet",
        "ensemble/soup.parquet",
    ):
        assert (alone.run.folder / path).read_bytes() == (
            every.run.folder / "fold-2" / path
        ).read_bytes()
    (parts,) = alone.folds
    np.testing.assert_array_equal(parts.rest, every.folds[1].rest)
    for split in splits_of(every.run, every.corpus, every.folds, 1)[1:]:
        speakers = [
            set(known.frame["speaker"].iloc[rows])
            for rows in (split.fit, split.predicted, split.held_out, parts.rest)
        ]
        assert sum(map(len, speakers)) == len(set().union(*speakers)), (
            "an inner fold stays within the outer one's training part"
        )
    counts = json.loads((alone.run.folder / "evaluation/fold-2/scores.json").read_text())["corpus"][
        "counts"
    ]
    assert counts["scored utterances"] == (known.labels[parts.rest] >= 0).sum()


@pytest.mark.parametrize("corpus", [{"fold": 1}, {"folds": 3, "fold": 4}, {"folds": 3, "fold": 0}])
def test_a_fold_that_there_is_not_is_reported(corpus):
    with pytest.raises(
        ValidationError, match=r"must be one of the folds|greater than or equal to 1"
    ):
        RunConfig.model_validate(small_config(corpus=corpus))


def test_a_ninth_bucket_is_trained_and_never_predicted(out):
    prepared, finished = finish(
        out, corpus={"soft_labels": "with_other"}, members=[SMALL["members"][1]]
    )
    assert prepared.corpus.targets == (*CLASSES, "other")
    assert finished.written is not None
    frame = pd.read_parquet(prepared.run.folder / "members/words/outputs.parquet")
    assert [c for c in frame.columns if c.startswith("p_")] == [f"p_{c}" for c in CLASSES]


def test_the_table_that_medusa_users_have_is_a_source(prepared, out):
    root = out / "corpora" / GENERATED
    write_medusa_csv(prepared.corpus, root / "soft.csv")
    _, finished = finish(
        out,
        corpus={"source": "medusa-csv", "path": str(root / "soft.csv")},
        submission=None,
        **SPEECH_ONLY,
    )
    assert list(finished.scored) == ["development"]
    assert finished.written is None


@pytest.mark.usefixtures("prepared")
def test_an_utterance_without_frames_is_predicted_and_told(out, tmp_path):
    root = tmp_path / "corpora" / GENERATED
    shutil.copytree(out / "corpora" / GENERATED, root)
    bad = root / "Audios" / "MSP-PODCAST_test3_0007.wav"
    bad.write_bytes(bad.read_bytes()[:1000])
    prepared, finished = finish(tmp_path)
    assert [failure.id for failure in prepared.stores["logmel"].failed] == [bad.name]
    assert finished.written is not None
    assert bad.name in finished.written.files["categorical"].read_text()
    rows = [
        json.loads(line)
        for line in (prepared.stores["logmel"].folder / "failures.jsonl").read_text().splitlines()
    ]
    assert [(row["id"], row["error"]) for row in rows] == [(bad.name, "AudioError")]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"corpus": {"source": "msp-podcast"}}, ConfigError, r"corpus\.path"),
        (
            {"corpus": {"source": "msp-podcast", "path": "nowhere/at/all"}},
            CorpusError,
            "no corpus here",
        ),
        ({"corpus": {"folds": 3}}, CorpusError, "unknown speaker"),
        ({"corpus": {"source": "ravdess", "path": "."}}, CorpusError, "RAVDESS"),
    ],
)
def test_a_corpus_that_is_not_what_the_run_says_stops_it_before_training(
    tmp_path, monkeypatch, changes, error, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        finish(tmp_path / "out", **changes)


def test_a_wish_for_challenge_files_that_cannot_be_met_is_known_before_training(prepared, out):
    part = prepared.corpus.of_split("train", "development")
    part.save(out / "labelled.parquet")
    changes = {"corpus": {"source": "table", "path": str(out / "labelled.parquet")}, "seed": 99}
    with pytest.raises(SubmissionError, match="0 test3 utterances"):
        finish(out, **changes)
    run = Run(RunConfig.model_validate(small_config(**changes)), out)
    assert not (run.folder / "members").exists()


def test_a_corpus_whose_development_part_is_unlabelled_still_gets_its_files(prepared, out):
    part = prepared.corpus.of_split("train", "test3")
    part.save(out / "unlabelled.parquet")
    moved = Corpus.load(out / "unlabelled.parquet")
    assert "development" not in set(moved.frame["split"])
    os.rename(out / "corpora" / GENERATED / "Answers", out / "Answers")
    try:
        _, finished = finish(
            out,
            corpus={"source": "table", "path": str(out / "unlabelled.parquet")},
            members=[SMALL["members"][1]],
        )
    finally:
        os.rename(out / "Answers", out / "corpora" / GENERATED / "Answers")
    assert finished.scored == {}
    assert finished.written is not None
    assert finished.written.scores == {}


def test_label_settings_reach_what_members_learn_from(prepared, out):
    """Dropout and re-weighting change the targets of the training part, and no other number."""

    def gathered(**settings):
        raw = small_config(corpus=settings)
        corpus = read_corpus(RunConfig.model_validate(raw).corpus, out)
        return corpus, gather(corpus, ["logmel"], prepared.stores, 1)

    plain, examples = gathered()
    assert plain.digest() == prepared.corpus.digest()
    train = (plain.frame["split"] == "train").to_numpy()
    for settings in ({"annotator_dropout": 0.5}, {"reweight": True}):
        corpus, changed = gathered(**settings)
        differs = (changed.soft != examples.soft).any(axis=1)
        assert differs[train].mean() > 0.2
        assert not differs[~train].any()
        np.testing.assert_array_equal(changed.one_hot, examples.one_hot)
        np.testing.assert_array_equal(corpus.votes, plain.votes)
        assert (
            RunConfig.model_validate(small_config(corpus=settings)).digest()
            != prepared.run.config.digest()
        )


def text_run(**corpus):
    """Changes of the small run for a member of text on a corpus of conversations."""
    text = {"features": {"text": SMALL["features"]["text"]}, "members": [SMALL["members"][1]]}
    return {"corpus": {"epoch_by": "development", **corpus}, "submission": None, **text}


@pytest.mark.slow
def test_label_sets_of_iemocap_reach_the_run(out, tmp_path):
    root = write_iemocap(tmp_path, sound=False)
    options = {"label_set": 4, "merge_excited": True}
    prepared, finished = finish(out, **text_run(source="iemocap", path=str(root), **options))
    corpus, (parts,) = prepared.corpus, prepared.folds
    assert corpus.classes == ("angry", "happy", "neutral", "sad")
    assert (corpus.labels == 1).sum() == 20
    for rows, split in ((parts.fit, "train"), (parts.held_out, "development")):
        assert set(corpus.frame["split"].iloc[rows]) == {split}
    assert list(finished.scored) == ["test1"]


@pytest.mark.slow
def test_text_of_conversations_runs_with_shared_speakers(out, tmp_path, caplog):
    source = {"source": "meld", "path": str(write_meld(tmp_path))}
    with pytest.raises(CorpusError, match=r"4 speaker\(s\) are on both sides"):
        finish(out, **text_run(**source))
    _, finished = finish(out, **text_run(**source, speakers="shared"))
    assert list(finished.scored) == ["test1"]
    assert "4 speaker(s) are in more than one of the" in caplog.text
