"""Genders that a corpus hides, predicted by a member on the run's own pretrained encoder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medusa_jax.config.ensemble import EnsembleConfig
from medusa_jax.config.section import merged
from medusa_jax.config.training import MemberConfig
from medusa_jax.corpus.table import GENDERS
from medusa_jax.errors import ConfigError, CorpusError
from medusa_jax.files import write_whole
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.run import Run
from medusa_jax.runs.train import train
from medusa_jax.studies.derived_run import check_own_run, derived, opened_beside
from medusa_jax.tasks.finetuning import mean_recall

MEMBER = "gender"
_SETTINGS: dict[str, Any] = {
    "training": {
        "stage1": {"epochs": 5, "learning_rate": 1e-3},
        "stage2": {"epochs": 0},
        "class_loss": 0,
        "attribute_loss": 0,
        "mixup_probability": 0,
    },
    "finetuning": {
        "pooling": "mean_std",
        "gender": "none",
        "text": "none",
        "gender_loss": 1,
        "secondary_loss": 0,
        "top_layers": 0,
        "lora": 0,
        "unfreeze_epochs": 0,
        "width": 128,
    },
}
"""The encoder stays as it is: gender is heard from its states by a small classifier."""


@dataclass(frozen=True)
class Genders:
    """The file of predicted genders, their number, and the balanced accuracy on known ones of the
    held-out part (None: none is known).
    """

    file: Path
    count: int
    accuracy: float | None


def gender_run(base: Prepared) -> Run:
    """The run that trains the predictor, beside the base run.

    Raises `ConfigError` if no member fine-tunes an encoder, or the run has folds; `CorpusError` if
    no gender is known or none is hidden.
    """
    check_own_run(base)
    config, known = base.run.config, base.corpus.frame["gender"].notna()
    tuned = [member for member in config.members if member.finetuning and member.task != "deepser"]
    if not tuned:
        hint = "add a member with `task: finetuning`"
        raise ConfigError("no member fine-tunes an encoder", where="members", hint=hint)
    if len(base.folds) > 1:
        hint = "choose one: --set corpus.fold=1"
        raise ConfigError("genders are predicted without folds", where="corpus.folds", hint=hint)
    if known.all() or not known.any():
        what = "no gender is hidden" if known.all() else "no gender is known to learn from"
        raise CorpusError(what, where=f"corpus {base.corpus.name!r}")
    about, members = "the predictor of `medusa gender`", [_predictor(tuned[0])]
    return derived(base.run, "gender", about, members, ensemble=EnsembleConfig())


def _predictor(member: MemberConfig) -> MemberConfig:
    assert member.finetuning is not None
    encoders = member.finetuning.backbones
    speech = [name for name in member.modalities if name in encoders]
    own = {"id": MEMBER, "modalities": speech, **_SETTINGS}
    return MemberConfig.model_validate(merged(member.model_dump(), own))


@contextmanager
def opened_predictor(base: Prepared) -> Iterator[Prepared]:
    """The predictor's run, its folder locked."""
    with opened_beside(base, gender_run(base)) as prepared:
        yield prepared


def predict_genders(prepared: Prepared) -> Genders:
    """Train the predictor, unless that is done, and write `genders.csv` of all hidden genders."""
    train(prepared)
    told = pd.read_csv(prepared.run.genders_file(0, MEMBER), dtype={"id": str})
    guesses = told[list(GENDERS)].to_numpy().argmax(axis=1)
    known = prepared.corpus.frame["gender"]
    table = pd.DataFrame({"id": told["id"], "gender": np.array(GENDERS)[guesses]})
    table["probability"] = told[list(GENDERS)].max(axis=1).round(4)
    file = prepared.run.folder / "genders.csv"
    hidden = table[known.isna().to_numpy()]
    with write_whole(file) as temporary:
        hidden.to_csv(temporary, index=False)
    held_out = prepared.folds[0].held_out
    held_out = held_out[known.notna().to_numpy()[held_out]]
    accuracy = None
    if len(held_out):
        told_n, known_n = (x.astype(str).to_numpy()[held_out] for x in (table["gender"], known))
        accuracy = mean_recall(told_n, known_n)
    return Genders(file, len(hidden), accuracy)
