"""Who is held out, and who is in which fold: decided by speakers, so that no voice is on both sides (house promise 7)."""

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from medusa_jax.corpus.label_file import read_lines, read_records
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError


def hold_out(corpus: Corpus, fraction: float, seed: int) -> np.ndarray:
    """Mask `[utterance]` of the training utterances to hold out: whole speakers, about `fraction` of every consensus class.

    Speakers are visited in an order that only `seed` and their names decide, and taken while that brings the counts by class closer
    to the wish; so the same ids and seed give the same answer in any row order. An utterance of unknown speaker is a group of its
    own: nothing can promise that its speaker is not on the other side. Raises `CorpusError` if there are fewer than two groups.
    """
    if not 0 < fraction < 1:
        raise CorpusError(f"the fraction to hold out is {fraction}, not between 0 and 1")
    train = corpus.frame[corpus.frame["split"] == "train"]
    groups = _groups(train)
    counts = pd.crosstab(groups, train["consensus"].astype(object).fillna("")).sort_index()
    if len(counts) < 2:
        raise CorpusError(
            f"{len(counts)} speaker(s) in train: none can be held out",
            where=f"corpus {corpus.name!r}",
        )
    order = sorted(
        range(len(counts)),
        key=lambda i: hashlib.sha256(f"{seed}/{counts.index[i]}".encode()).digest(),
    )
    taken = _closest(counts.to_numpy(np.float64), order, fraction)
    held = set(counts.index[taken])
    mask = np.zeros(len(corpus), bool)
    mask[train.index] = groups.isin(held)
    return mask


def speaker_folds(corpus: Corpus, folds: int | tuple[tuple[str, ...], ...]) -> np.ndarray:
    """Fold of every utterance, `[utterance]` int64: contiguous groups of the sorted speakers, or the groups given.

    For RAVDESS 6 folds are actors 01–04, 05–08, …, 21–24. Raises `CorpusError` for an unknown speaker, more folds than speakers, or
    groups that do not name every speaker exactly once.
    """
    if corpus.frame["speaker"].isna().any():
        raise CorpusError(
            "an utterance of unknown speaker belongs to no fold",
            where=f"utterance {corpus.frame['id'][corpus.frame['speaker'].isna()].iloc[0]}",
        )
    speakers = sorted(corpus.frame["speaker"].unique())
    if isinstance(folds, int):
        if not 2 <= folds <= len(speakers):
            raise CorpusError(f"{len(speakers)} speaker(s) cannot make {folds} folds")
        folds = tuple(
            tuple(group) for group in np.array_split(np.array(speakers, dtype=object), folds)
        )
    named = [speaker for group in folds for speaker in group]
    if sorted(named) != speakers:
        wrong = sorted(set(named) ^ set(speakers)) or sorted(
            {s for s in named if named.count(s) > 1}
        )
        raise CorpusError(
            f"the folds must name every speaker exactly once; wrong: {', '.join(wrong)}",
            where=f"corpus {corpus.name!r}",
        )
    fold_of = {speaker: fold for fold, group in enumerate(folds) for speaker in group}
    return corpus.frame["speaker"].map(fold_of).to_numpy(np.int64)


def inner_folds(corpus: Corpus, rows: np.ndarray, folds: int) -> np.ndarray:
    """Inner fold `[row]` int64, from 0, of each of `rows` (positions in the corpus): whole speakers, the classes spread as evenly as that allows.

    For outputs of members that did not hear the speaker: each fold is predicted by members that learned from the others. An
    utterance of unknown speaker is a group of its own. Raises `CorpusError` for fewer speakers than folds, or a class of which
    a fold has all the utterances: members trained without it could not learn it.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    part = corpus.frame.iloc[rows].reset_index(drop=True)
    groups, classes = _groups(part), part["consensus"].astype(object).fillna("")
    where, hint = (
        f"corpus {corpus.name!r}, {len(rows)} utterances to learn from",
        "lower ensemble.inner_folds, or choose another ensemble.fit_on",
    )
    if groups.nunique() < folds:
        raise CorpusError(
            f"{groups.nunique()} speaker(s) cannot make {folds} inner folds", where=where, hint=hint
        )
    fold_n = np.full(len(part), -1, np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # of classes with fewer utterances than folds: those that matter are errors below
        try:
            for fold, (_, left_out) in enumerate(
                StratifiedGroupKFold(folds).split(part, classes, groups)
            ):
                fold_n[left_out] = fold
        except ValueError as error:
            raise CorpusError(
                f"{folds} inner folds cannot be made: {error}", where=where, hint=hint
            ) from error
    for fold in range(folds):
        lost = sorted(set(corpus.classes) & set(classes) - set(classes[fold_n != fold]))
        if lost:
            speakers = groups[classes == lost[0]].nunique()
            what = f"without inner fold {fold + 1} of {folds} nobody says {lost[0]!r}: only {speakers} speaker(s) do"
            raise CorpusError(what, where=where, hint=hint)
    return fold_n


def read_hold_out(corpus: Corpus, path: Path) -> np.ndarray:
    """Mask `[utterance]` of the hold-out list in `path`.

    The list is the rows `Test` of the table of MEDUSA's authors (`.csv`), or a text file with one
    id a line. Raises `CorpusError` for an empty list or an utterance that the corpus lacks.
    """
    if path.suffix == ".csv":
        rows = read_records(path, ("FileName", "Split_Set"))
        given = [row["FileName"].strip() for _, row in rows if row["Split_Set"] == "Test"]
    else:
        given = [line.strip() for line in read_lines(path) if line.strip()]
    unknown = sorted(set(given) - set(corpus.frame["id"]))
    if not given:
        raise CorpusError("the hold-out list is empty", where=path)
    if unknown:
        raise CorpusError(
            f"{len(unknown)} held-out utterance(s) are not in the corpus, "
            f"the first is {unknown[0]}",
            where=path,
        )
    return corpus.frame["id"].isin(given).to_numpy(bool)


def shared_speakers(corpus: Corpus, masks: Iterable[np.ndarray]) -> list[str]:
    """Speakers with utterances in more than one of the boolean masks `[utterance]`, sorted; unknown speakers cannot be judged."""
    sides = [set(corpus.frame["speaker"][np.asarray(mask)].dropna()) for mask in masks]
    return sorted(
        {s for i, side in enumerate(sides) for other in sides[i + 1 :] for s in side & other}
    )


def check_speakers_disjoint(corpus: Corpus, *masks: np.ndarray) -> None:
    """Raise `CorpusError`, naming speakers, if one has utterances in more than one of the boolean masks `[utterance]`."""
    shared = shared_speakers(corpus, masks)
    if shared:
        raise CorpusError(
            f"{len(shared)} speaker(s) are on both sides of a split: {', '.join(shared[:5])}{', …' if len(shared) > 5 else ''}",
            where=f"corpus {corpus.name!r}",
            hint="split by speaker, for example with medusa_jax.corpus.splits.hold_out",
        )


def _groups(frame: pd.DataFrame) -> pd.Series:
    # The prefixes keep a speaker called like an utterance apart from it.
    return ("speaker " + frame["speaker"].astype(object)).where(
        frame["speaker"].notna(), "utterance " + frame["id"].astype(object)
    )


def _closest(counts_gc: np.ndarray, order: list[int], fraction: float) -> list[int]:
    """Groups, visited in `order`, whose summed counts come close to `fraction` of every column and of the whole."""
    counts_gc = np.column_stack([counts_gc, counts_gc.sum(axis=1)])
    total_c = counts_gc.sum(axis=0)
    weight_c = 1 / total_c
    weight_c[-1] *= counts_gc.shape[
        1
    ]  # the size of the whole matters as much as all the classes together

    def distance(held_c: np.ndarray) -> float:
        return float((weight_c * (held_c - fraction * total_c) ** 2).sum())

    held_c, taken = np.zeros(counts_gc.shape[1]), []
    for group in order:
        if distance(held_c + counts_gc[group]) < distance(held_c):
            held_c = held_c + counts_gc[group]
            taken.append(group)
    if not taken:  # every speaker is larger than the wish: the one that overshoots least
        return [min(order, key=lambda group: distance(counts_gc[group]))]
    return taken if len(taken) < len(order) else taken[:-1]
