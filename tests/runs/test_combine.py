"""`ensemble.kind: weighted`, from the configuration to challenge files and reports."""

import json
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
from scored_run import drawn_outputs, scored_corpus, scored_run
from small_run import finish, results_of

from medusa_jax.corpus.labels import LETTER_OF
from medusa_jax.ensemble.ensemble_folder import load_ensemble
from medusa_jax.ensemble.weighted import fit_weights
from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.scores_file import read_scores
from medusa_jax.runs.combine import combine, targets_of
from medusa_jax.runs.evaluate import evaluate

WEIGHTED = {"kind": "weighted"}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    yield tmp_path_factory.mktemp("weighted")
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="module")
def done(out):
    return finish(out, ensemble=WEIGHTED)


def posteriors(prepared, name, *, member=False):
    run, corpus = prepared.run, prepared.corpus
    found = run.predictions if member else run.ensemble_predictions
    return found(corpus, 0, name).posteriors


def test_the_run_has_votes_and_trains_no_meta_classifier(done):
    folder = done[0].run.ensemble_folder(0)
    assert sorted(path.name for path in folder.iterdir()) == [
        "ensemble.json",
        "majority_vote.parquet",
        "soft_vote.parquet",
        "weighted_vote.parquet",
    ]
    (*_, last) = done[1].scored["test3"]
    assert last.name == "weighted_vote"


def test_the_vote_is_the_weighted_sum_of_the_members(done):
    prepared, _ = done
    record = load_ensemble(prepared.run.ensemble_folder(0)).record
    assert record.members == ("both", "words")
    assert (record.fit_on, record.targets) == ("held_out", "one_hot")
    given = [posteriors(prepared, name, member=True) for name in record.members]
    mixed = sum(w * p for w, p in zip(record.vote_weights, given, strict=True))
    np.testing.assert_allclose(posteriors(prepared, "weighted_vote"), mixed, atol=1e-6)
    corpus, held = prepared.corpus, prepared.folds[0].held_out
    labelled = held[corpus.labels[held] >= 0]
    members = [prepared.run.predictions(corpus, 0, one).where(labelled) for one in record.members]
    one_hot = np.eye(len(corpus.classes))[corpus.labels[labelled]]
    assert record.vote_weights == pytest.approx(fit_weights(members, one_hot), abs=1e-4)


def test_the_challenge_files_are_written_from_it(done):
    prepared, finished = done
    test = (prepared.corpus.frame["split"] == "test3").to_numpy()
    voted = prepared.run.ensemble_predictions(prepared.corpus, 0, "weighted_vote")
    guess = voted.logits[test].argmax(axis=1)
    categorical, attributes = map(pd.read_csv, finished.written.files.values())
    assert list(categorical["EmoClass"]) == [LETTER_OF[prepared.corpus.classes[i]] for i in guess]
    np.testing.assert_allclose(attributes.iloc[:, 1:].to_numpy(), voted.attributes[test], atol=1e-4)
    (row,) = (one for one in finished.scored["test3"] if one.name == "weighted_vote")
    assert finished.written.scores["categorical"]["macro_f1"] == pytest.approx(
        row.classification.macro_f1
    )


def test_scores_name_the_weights_and_what_they_change(done):
    prepared, _ = done
    folder = prepared.run.evaluation_folder("test3")
    record = load_ensemble(prepared.run.ensemble_folder(0)).record
    learned, weights = read_scores(folder / "scores.json").notes
    assert learned == (
        "The weighted vote learned from the members' outputs on the held-out part, which also "
        "chose their epochs."
    )
    assert weights == record.summary
    assert f"both {record.vote_weights[0]:.3f}, words {record.vote_weights[1]:.3f}" in weights
    assert weights in (folder / "report.md").read_text(encoding="utf-8")
    details = json.loads((folder / "scores.json").read_text())["details"]
    assert details["system"] == "weighted_vote"
    assert record.cross_entropy[1] <= record.cross_entropy[0] + 1e-6


def test_a_vote_that_is_removed_is_made_again_to_the_same_bits(done, out):
    prepared, _ = done
    before = results_of(prepared.run.folder)
    prepared.run.ensemble_file(0, "weighted_vote").unlink()
    (prepared.run.ensemble_folder(0) / "ensemble.json").unlink()
    finish(out, ensemble=WEIGHTED)
    assert results_of(prepared.run.folder) == before


def test_the_other_votes_are_those_of_a_run_with_a_meta_classifier(done, out):
    other, _ = finish(out)
    weighted = results_of(done[0].run.folder)
    stacked = results_of(other.run.folder)
    for name in ("majority_vote", "soft_vote"):
        path = f"ensemble/{name}.parquet"
        assert weighted[path] == stacked[path]


# Without training


def weights_of(prepared, fold=0):
    return load_ensemble(prepared.run.ensemble_folder(fold)).record.vote_weights


def test_out_of_fold_weights_are_fitted_on_the_training_part(tmp_path):
    """As predicted without the speaker: a member that knows its training part gains nothing."""
    corpus = scored_corpus(tmp_path / "audio", audio=False)
    prepared = scored_run(tmp_path, table=corpus, ensemble=WEIGHTED)
    held_out, fit = weights_of(prepared), prepared.folds[0].fit
    ensemble = prepared.run.config.ensemble.model_copy(update={"fit_on": "out_of_fold"})
    config = prepared.run.config.model_copy(update={"ensemble": ensemble})
    run = replace(prepared.run, config=config)
    other = replace(prepared, run=run)
    truth = np.eye(len(corpus.classes))[np.arange(len(corpus)) % 3].astype(np.float32)
    taught = []
    for i, member in enumerate(config.members):
        made = drawn_outputs(corpus, i)
        known = made.logits.copy()
        if i == 0:
            known[fit] = 20 * truth[fit]
        replace(made, logits=known).save(run.predictions_file(0, member.id))
        taught.append(drawn_outputs(corpus, i + 7).where(fit))
        taught[i].save(run.out_of_fold_file(0, member.id))
    combine(other)
    found = weights_of(other)
    one_hot = targets_of(corpus).learned("one_hot")[fit]
    assert found == pytest.approx(fit_weights(taught, one_hot), abs=1e-6)
    assert found != pytest.approx(held_out, abs=0.01)
    assert found[0] < 0.99, "it was not fitted in-sample"


def test_soft_targets_are_the_raters(tmp_path):
    corpus = scored_corpus(tmp_path / "audio", audio=False)
    prepared = scored_run(tmp_path, table=corpus, ensemble=WEIGHTED | {"targets": "soft"})
    held = prepared.folds[0].held_out
    members = [drawn_outputs(corpus, i).where(held) for i in range(2)]
    soft, one_hot = (targets_of(corpus).learned(kind)[held] for kind in ("soft", "one_hot"))
    assert weights_of(prepared) == pytest.approx(fit_weights(members, soft), abs=1e-6)
    assert weights_of(prepared) != pytest.approx(fit_weights(members, one_hot), abs=1e-3)


def test_every_fold_has_its_own_weights(tmp_path):
    prepared = scored_run(tmp_path, members=3, ensemble=WEIGHTED, corpus={"folds": 2})
    first, second = (weights_of(prepared, fold) for fold in (0, 1))
    assert first != pytest.approx(second, abs=0.01)
    evaluate(prepared)
    notes = read_scores(prepared.run.scores_file("folds")).notes
    assert [note.split(":")[0] for note in notes[1:]] == ["Fold 1", "Fold 2"]


def test_a_single_member_has_all_the_weight(tmp_path):
    prepared = scored_run(tmp_path, members=1, ensemble=WEIGHTED)
    assert weights_of(prepared) == (1.0,)
    only = posteriors(prepared, "m0", member=True)
    np.testing.assert_allclose(posteriors(prepared, "weighted_vote"), only, atol=1e-6)


def test_a_held_out_part_without_labels_is_refused(tmp_path):
    corpus = scored_corpus(tmp_path / "audio", audio=False)
    held = scored_run(tmp_path / "labelled", table=corpus, ensemble=WEIGHTED).folds[0].held_out
    frame = corpus.frame.copy()
    frame.loc[held, "consensus"] = "no_agreement"
    listed = tmp_path / "held.txt"
    listed.write_text("\n".join(frame["id"].iloc[held]), encoding="utf-8")
    with pytest.raises(EvaluationError, match="no utterance has a target to fit weights on"):
        scored_run(
            tmp_path,
            table=replace(corpus, frame=frame),
            ensemble=WEIGHTED,
            corpus={"hold_out_list": str(listed)},
        )


def test_a_member_that_diverged_is_refused_by_name(tmp_path):
    prepared = scored_run(tmp_path, ensemble=WEIGHTED)
    made = drawn_outputs(prepared.corpus, 1)
    made.logits[3] = np.nan
    made.save(prepared.run.predictions_file(0, "m1"))
    prepared.run.ensemble_file(0, "weighted_vote").unlink()
    with pytest.raises(EvaluationError, match="not finite") as caught:
        combine(prepared)
    assert caught.value.where == prepared.run.predictions_file(0, "m1")
