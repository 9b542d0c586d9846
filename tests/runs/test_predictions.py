"""A run's predictions: read from their place, and refused unless they are of its corpus."""

import numpy as np
import pytest
from small_corpus import small_corpus
from small_run import small_config

from medusa_jax.config.run import RunConfig
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.errors import EvaluationError
from medusa_jax.runs.run import Run


@pytest.fixture
def corpus(tmp_path):
    return small_corpus(tmp_path / "audio", 6)


@pytest.fixture(params=[None, 2], ids=["one split", "folds"])
def run(request, tmp_path):
    changes = {"corpus": {"folds": request.param}, "submission": None}
    return Run(RunConfig.model_validate(small_config(**changes)), tmp_path)


def predicted(corpus, rows, seed=0):
    """Random predictions of these rows."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(rows), len(corpus.classes))).astype(np.float32)
    attributes = rng.normal(size=(len(rows), 3)).astype(np.float32)
    return Predictions(tuple(corpus.frame["id"].iloc[rows]), corpus.classes, logits, attributes)


def test_each_kind_is_read_from_its_own_file(run, corpus):
    every, fit = np.arange(6), np.array([0, 2, 5])
    folds = range(run.config.corpus.splits)
    for fold in folds:
        predicted(corpus, every, fold).save(run.predictions_file(fold, "both"))
        predicted(corpus, fit, 10 + fold).save(run.out_of_fold_file(fold, "both"))
        predicted(corpus, every, 20 + fold).save(run.ensemble_file(fold, "soup"))
    for fold in folds:
        found = (
            run.predictions(corpus, fold, "both"),
            run.out_of_fold(corpus, fold, "both", fit),
            run.ensemble_predictions(corpus, fold, "soup"),
        )
        for one, rows, seed in zip(found, (every, fit, every), (0, 10, 20), strict=True):
            assert np.array_equal(one.logits, predicted(corpus, rows, seed + fold).logits)


def test_a_missing_file_names_the_command_that_makes_it(run, corpus):
    for read, command in (
        (lambda: run.predictions(corpus, 0, "both"), "medusa train"),
        (lambda: run.out_of_fold(corpus, 0, "both", np.arange(6)), "medusa train"),
        (lambda: run.ensemble_predictions(corpus, 0, "soup"), "medusa ensemble"),
    ):
        with pytest.raises(EvaluationError) as caught:
            read()
        assert command in caught.value.hint


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [5, 4, 3, 2, 1, 0]], ids=["fewer", "order"])
def test_predictions_of_other_utterances_are_refused(run, corpus, rows):
    path = run.predictions_file(0, "both")
    predicted(corpus, np.array(rows)).save(path)
    with pytest.raises(EvaluationError, match="other utterances") as caught:
        run.predictions(corpus, 0, "both")
    assert caught.value.where == path
