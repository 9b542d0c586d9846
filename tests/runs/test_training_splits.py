"""Out-of-fold outputs: every speaker of the training part is heard by members that never heard it,
and only those teach the meta-classifier.
"""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from small_run import finish, small_config
from split_corpus import CLASSES, corpus_of
from toy_task import toy_train

from medusa_jax.config.run import RunConfig
from medusa_jax.corpus.splits import check_speakers_disjoint, inner_folds
from medusa_jax.ensemble import meta, meta_training
from medusa_jax.ensemble.ensemble_folder import load_ensemble
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.variants import ENSEMBLES
from medusa_jax.errors import CorpusError, EvaluationError
from medusa_jax.runs.chain import Finished
from medusa_jax.runs.combine import combine, targets_of
from medusa_jax.runs.folder import opened, unfinished
from medusa_jax.runs.plan import plan_of
from medusa_jax.runs.prepare import Prepared, prepare
from medusa_jax.runs.run import Run
from medusa_jax.runs.train import train
from medusa_jax.runs.training_plan import prepared_examples
from medusa_jax.runs.training_splits import splits_of
from medusa_jax.tasks.registry import Reading, data_of

OUT_OF_FOLD = {"corpus": {"size": 160}, "ensemble": {"fit_on": "out_of_fold", "inner_folds": 2}}
LEARNED = "out-of-fold outputs of the training part (2 speaker-disjoint folds)"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    yield tmp_path_factory.mktemp("runs")
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="module")
def planned(out: Path) -> list[tuple[str, list[str]]]:
    """What the plan says before anything is trained."""
    run = Run(RunConfig.model_validate(small_config(**OUT_OF_FOLD)), out)
    with opened(run):
        return [
            (group.split, [member.id for member in group.members])
            for group in plan_of(prepare(run)).groups
        ]


@pytest.fixture(scope="module")
def done(out: Path, planned: list[tuple[str, list[str]]]) -> tuple[Prepared, Finished]:
    return finish(out, **OUT_OF_FOLD)


def kept(folder: Path) -> dict[str, bytes]:
    """What the members and ensembles of a run say."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*.parquet"))
        if path.name != "corpus.parquet"
    }


def test_the_plan_counts_the_inner_trainings(planned, done):
    assert planned == [
        ("", ["both", "words"]),
        ("inner fold 1 of 2", ["both", "words"]),
        ("inner fold 2 of 2", ["both", "words"]),
    ]
    assert plan_of(done[0]).groups == ()


def test_training_utterances_are_predicted_once_by_members_trained_without_their_speaker(
    done,
):
    prepared, _ = done
    corpus, (parts,) = prepared.corpus, prepared.folds
    final, *inner = splits_of(prepared.run, prepared.corpus, prepared.folds, 0)
    assert (final.fit == parts.fit).all()
    assert sorted(np.concatenate([split.predicted for split in inner])) == list(parts.fit)
    for split in inner:
        fit, predicted, held = (
            np.isin(np.arange(len(corpus)), rows)
            for rows in (split.fit, split.predicted, split.held_out)
        )
        check_speakers_disjoint(corpus, fit, predicted, held)
        assert (fit | predicted).sum() == len(parts.fit)
        assert (split.held_out == parts.held_out).all(), "the epoch is chosen on the same part"
    for member in ("both", "words"):
        joined = prepared.run.out_of_fold(prepared.corpus, 0, member, prepared.folds[0].fit)
        assert joined.ids == tuple(corpus.frame["id"].iloc[parts.fit])
        of_id = dict(zip(joined.ids, joined.logits, strict=True))
        for split in inner:
            said = Predictions.load(split.predictions_file(member), corpus.classes)
            np.testing.assert_array_equal(np.stack([of_id[i] for i in said.ids]), said.logits)


def test_an_inner_member_is_what_training_on_the_other_folds_makes(done, tmp_path: Path):
    """Trained by hand on the complement alone: the same outputs, so that nothing of the left-out
    speakers was learned.
    """
    prepared, _ = done
    config = prepared.run.config
    reading, words = Reading("deepser", config.training.shapes), config.members[1]
    examples = prepared_examples(prepared, reading)
    split = splits_of(prepared.run, prepared.corpus, prepared.folds, 0)[1]
    parts = split.fit, split.held_out
    (member,) = toy_train([words], examples, *parts, tmp_path, seed=config.seed)
    data = data_of(words, examples, *parts, config.seed)
    found = member.predict(data, split.predicted)
    logits = found["logits"]
    said = Predictions.load(split.predictions_file("words"), prepared.corpus.classes)
    np.testing.assert_allclose(logits, said.logits, atol=1e-5)
    in_sample = prepared.run.predictions(prepared.corpus, 0, "words").where(split.predicted)
    assert np.abs(in_sample.logits - said.logits).max() > 1e-3, "the run's own member did hear them"


def test_the_meta_classifier_learns_from_them_and_from_nothing_else(done):
    prepared, _ = done
    corpus, (parts,), config = prepared.corpus, prepared.folds, prepared.run.config
    members = [prepared.run.predictions(corpus, 0, m.id) for m in config.members]
    taught = [
        m.replaced(parts.fit, prepared.run.out_of_fold(corpus, 0, c.id, parts.fit))
        for m, c in zip(members, config.members, strict=True)
    ]
    found = meta.MetaClassifiers.load(prepared.run.folder / "ensemble/checkpoints")
    for inputs, same in ((taught, True), (members, False)):
        x_nf = meta.inputs_of(inputs, config.ensemble.attributes)
        again = meta_training.fit(
            x_nf,
            targets_of(corpus),
            corpus.classes,
            parts.fit,
            parts.held_out,
            config.ensemble,
            config.training,
            config.seed,
        )
        assert np.array_equal(again.params["w"], found.params["w"]) == same
    rest = meta.predict(found.soup(), members).where(parts.rest)
    said = Predictions.load(prepared.run.folder / "ensemble/soup.parquet", corpus.classes).where(
        parts.rest
    )
    np.testing.assert_allclose(said.logits, rest.logits, atol=1e-6)


def test_the_ensemble_is_loaded_whole_and_predicts_the_same(done):
    run, corpus = done[0].run, done[0].corpus
    ids = [member.id for member in run.config.members]
    ensemble = load_ensemble(run.ensemble_folder(0), classes=corpus.classes, members=ids)
    assert ensemble.record.fit_on == "out_of_fold"
    rest = done[0].folds[0].rest
    members = {name: run.predictions(corpus, 0, name).where(rest) for name in ids}
    for system in ENSEMBLES:
        kept = run.ensemble_predictions(corpus, 0, system).where(rest)
        np.testing.assert_allclose(ensemble.combine(system, members).logits, kept.logits, atol=1e-5)


def test_the_reports_say_what_it_learned_from(done):
    folder = done[0].run.folder / "evaluation/test3"
    assert f"The meta-classifier learned from {LEARNED}." in (folder / "report.md").read_text(
        encoding="utf-8"
    )
    assert json.loads((folder / "scores.json").read_text())["notes"] == [
        f"The meta-classifier learned from {LEARNED}."
    ]


def test_what_is_removed_is_made_again_to_the_same_bits_and_what_is_joined_is_needed_no_more(
    done, out: Path
):
    prepared, _ = done
    folder = prepared.run.folder
    before = kept(folder)
    assert unfinished(out) == []
    (folder / "members/words/out_of_fold.parquet").unlink()
    shutil.rmtree(folder / "inner-2/members/words")
    assert unfinished(out) == [folder]
    with opened(prepared.run):
        train(prepare(prepared.run))
    assert kept(folder) == before
    for inner in ("inner-1", "inner-2"):
        shutil.rmtree(folder / inner)
    assert plan_of(prepared).groups == (), "the joined outputs are all that later steps read"
    with opened(prepared.run):
        train(prepare(prepared.run))
    assert not (folder / "inner-1").exists()


def test_outputs_of_other_utterances_are_refused(done):
    prepared, _ = done
    path = prepared.run.folder / "members/both/out_of_fold.parquet"
    content, soup = path.read_bytes(), prepared.run.folder / "ensemble/soup.parquet"
    voted = soup.read_bytes()
    try:
        soup.unlink()
        path.unlink()
        with pytest.raises(EvaluationError, match="no out-of-fold predictions"):
            combine(prepared)
        prepared.run.predictions(prepared.corpus, 0, "both").save(path)
        with pytest.raises(EvaluationError, match="other utterances") as caught:
            combine(prepared)
        assert caught.value.where == path
    finally:
        path.write_bytes(content)
        soup.write_bytes(voted)


def test_the_number_of_inner_folds_makes_another_run_only_where_it_counts():
    digests = [
        RunConfig.model_validate(small_config(ensemble={"fit_on": how, "inner_folds": n})).digest()
        for how in ("train", "out_of_fold")
        for n in (2, 3)
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_inner_folds_are_of_whole_speakers_and_every_class(tmp_path: Path):
    rng = np.random.default_rng(0)
    speakers = [f"s{i}" if i < 20 else None for i in rng.integers(0, 25, 600)]
    consensus = rng.choice([*CLASSES, None], 600, p=[0.2, 0.2, 0.5, 0.1]).tolist()
    corpus = corpus_of(tmp_path, speakers, consensus)
    rows = np.sort(rng.permutation(600)[:400])
    fold_n = inner_folds(corpus, rows, 4)
    assert set(fold_n) == {0, 1, 2, 3}
    assert np.bincount(fold_n).min() > 80
    masks = [np.isin(np.arange(600), rows[fold_n == k]) for k in range(4)]
    check_speakers_disjoint(corpus, *masks)
    for k in range(4):
        shares = np.bincount(corpus.labels[masks[k]][corpus.labels[masks[k]] >= 0], minlength=3)
        assert shares.min() > 10
    unknown = np.array([s is None for s in speakers])[rows]
    assert len(set(fold_n[unknown])) > 1, "an utterance of unknown speaker is a group of its own"
    again = inner_folds(corpus, rows, 4)
    assert (again == fold_n).all()


@pytest.mark.parametrize(
    ("speakers", "consensus", "words"),
    [
        (["a", "b"] * 6, [*CLASSES] * 4, "2 speaker(s) cannot make 3 inner folds"),
        (
            ["a", "a", "b", "c", "d", "e"] * 4,
            ["angry", *["happy", "neutral", "happy", "neutral", "happy"]] * 4,
            "'angry' are in inner fold",
        ),
    ],
)
def test_inner_folds_that_cannot_be_made_are_told(tmp_path: Path, speakers, consensus, words):
    corpus = corpus_of(tmp_path, speakers, consensus)
    with pytest.raises(CorpusError) as caught:
        inner_folds(corpus, np.arange(len(corpus)), 3)
    assert words in caught.value.what
    assert "ensemble.inner_folds" in caught.value.hint


def test_too_many_inner_folds_are_told_before_anything_is_trained(done, out: Path):
    changes = {**OUT_OF_FOLD, "ensemble": {"fit_on": "out_of_fold", "inner_folds": 20}}
    run = Run(RunConfig.model_validate(small_config(**changes)), out)
    with opened(run), pytest.raises(CorpusError, match="inner fold"):
        train(prepare(run))
    assert not (run.folder / "members").exists()
