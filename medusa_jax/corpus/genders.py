"""Genders of speakers that a corpus hides, from a table: told or predicted elsewhere."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from medusa_jax.corpus.table import GENDERS, Corpus
from medusa_jax.errors import LabelError


def read_genders(path: Path) -> dict[str, str]:
    """Gender by utterance, from a CSV with the columns `id` and `gender`.

    Raises `LabelError` for a missing column, an unknown gender, or an id that comes twice.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise LabelError(f"the genders cannot be read: {error}", where=path) from error
    if missing := [name for name in ("id", "gender") if name not in table.columns]:
        hint = "`medusa gender CONFIG` writes such a table"
        raise LabelError(f"the table has no column {missing[0]!r}", where=path, hint=hint)
    wrong = table[~table["gender"].isin(GENDERS)]
    if len(wrong):
        where = f"{path}, line {wrong.index[0] + 2}"
        what = f"unknown gender {wrong['gender'].iat[0]!r}"
        raise LabelError(what, where=where, hint=f"one of {', '.join(GENDERS)}")
    if table["id"].duplicated().any():
        twice = table["id"][table["id"].duplicated()].iat[0]
        raise LabelError(f"{twice} comes twice", where=path)
    return dict(zip(table["id"], table["gender"], strict=True))


def with_genders(corpus: Corpus, path: Path) -> Corpus:
    """The corpus with the genders that it hides filled from a table; those that it has stay.

    Raises `LabelError`, as `read_genders` does, and if no utterance of the table is in the corpus.
    """
    given, frame = read_genders(path), corpus.frame.copy()
    if given and not frame["id"].isin(list(given)).any():
        raise LabelError("no utterance of the table is in the corpus", where=path)
    known = frame["gender"].astype(object)
    filled = known.where(known.notna(), frame["id"].map(given))
    frame["gender"] = filled.where(filled.notna(), None)
    return replace(corpus, frame=frame)
