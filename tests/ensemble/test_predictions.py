"""Predictions come back as they were saved; damage and other classes are named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hand_made_predictions import CLASSES, outputs, three_members
from scipy.special import softmax

from medusa_jax.ensemble.predictions import Predictions, stacked
from medusa_jax.errors import EvaluationError


@pytest.mark.parametrize("other", [dict(ids=("u0", "u2", "u1")), dict(classes=CLASSES[::-1])])
def test_members_of_other_utterances_or_classes_are_refused(other):
    members = three_members()
    foreign = outputs(members[0].posteriors, **other)
    with pytest.raises(EvaluationError, match="different utterances or classes"):
        stacked([members[0], foreign])


def test_predictions_come_back_as_they_were(tmp_path: Path):
    rng = np.random.default_rng(0)
    predictions = Predictions(
        ("b.wav", "a.wav"),
        CLASSES,
        rng.normal(size=(2, 4)).astype(np.float32),
        rng.uniform(1, 7, (2, 3)).astype(np.float32),
    )
    predictions.save(tmp_path / "deep" / "out.parquet")
    back = Predictions.load(tmp_path / "deep" / "out.parquet", CLASSES)
    assert (back.ids, back.classes) == (predictions.ids, predictions.classes)
    np.testing.assert_array_equal(back.logits, predictions.logits)
    np.testing.assert_array_equal(back.attributes, predictions.attributes)
    frame = pd.read_parquet(tmp_path / "deep" / "out.parquet")
    assert list(frame.columns)[1:9] == [
        f"{kind}_{name}" for kind in ("logit", "p") for name in CLASSES
    ]
    np.testing.assert_allclose(frame[[f"p_{name}" for name in CLASSES]].sum(axis=1), 1, atol=1e-6)


def test_classes_are_found_by_name_not_by_place(tmp_path: Path):
    predictions = outputs([[0.1, 0.2, 0.3, 0.4]])
    predictions.save(tmp_path / "out.parquet")
    back = Predictions.load(tmp_path / "out.parquet", CLASSES[::-1])
    np.testing.assert_allclose(back.posteriors, [[0.4, 0.3, 0.2, 0.1]], atol=1e-6)


def test_rows_by_position():
    chosen = three_members()[0].where(np.array([2, 0]))
    assert chosen.ids == ("u2", "u0")
    np.testing.assert_allclose(chosen.posteriors[:, 3], [0.7, 0.1], atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["logits", "attributes"])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, bad, column):
    predictions = outputs(softmax(np.zeros((3, 4)), axis=1))
    getattr(predictions, column)[1, 2] = bad
    with np.errstate(invalid="ignore"):
        predictions.save(tmp_path / "out.parquet")
    with pytest.raises(EvaluationError, match="not finite") as caught:
        Predictions.load(tmp_path / "out.parquet", CLASSES)
    assert caught.value.where == tmp_path / "out.parquet"


def test_other_classes_are_refused(tmp_path: Path):
    path = tmp_path / "out.parquet"
    outputs([[0.1, 0.2, 0.3, 0.4]]).save(path)
    with pytest.raises(EvaluationError, match="lack logit_fear"):
        Predictions.load(path, (*CLASSES, "fear"))
    with pytest.raises(EvaluationError, match=r"classes .* logit_neutral"):
        Predictions.load(path, CLASSES[:3])


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but no more", b"id,logit_angry\n"])
def test_a_missing_or_damaged_file_is_refused(tmp_path: Path, content):
    path = tmp_path / "out.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvaluationError, match="cannot be read"):
        Predictions.load(path, CLASSES)
