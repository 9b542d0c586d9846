"""Hold-out and folds by speaker, so that no speaker is on both sides of a split.

In a corpus of conversations whole dialogues stay together, and `speakers="shared"` lets speakers
be on both sides.
"""

import hashlib
import warnings
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from medusa_jax.corpus.groups import Speakers, groups_of, one_group_hint
from medusa_jax.corpus.label_file import read_lines, read_records
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError


def hold_out(
    corpus: Corpus, fraction: float, seed: int, speakers: Speakers = "disjoint"
) -> np.ndarray:
    """Mask `[utterance]` of the hold-out: whole groups, about `fraction` of every training class.

    Groups (`groups_of`: speakers, or dialogues) come in an order that depends on `seed` and their
    names alone, and are held out while that brings the counts by class closer to the wish: equal
    ids and seeds give equal results in any row order. An utterance of unknown speaker is a group
    of its own, so its speaker may be on both sides. Raises `CorpusError` if there are fewer than
    two groups.
    """
    if not 0 < fraction < 1:
        raise CorpusError(f"the fraction to hold out is {fraction}, not between 0 and 1")
    train = corpus.frame[corpus.frame["split"] == "train"]
    groups = groups_of(train, speakers)
    counts = pd.crosstab(groups, train["consensus"].astype(object).fillna("")).sort_index()
    if len(counts) < 2:
        raise CorpusError(
            f"{len(counts)} {_kind(corpus)} in train: none can be held out",
            where=f"corpus {corpus.name!r}",
            hint=one_group_hint(corpus, "set corpus.epoch_by: development"),
        )
    keys = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in counts.index]
    order = sorted(range(len(counts)), key=keys.__getitem__)
    taken = _closest(counts.to_numpy(np.float64), order, fraction)
    mask = np.zeros(len(corpus), bool)
    mask[train.index] = groups.isin(set(counts.index[taken]))
    return mask


def speaker_folds(corpus: Corpus, folds: int, speakers: Speakers = "disjoint") -> np.ndarray:
    """Fold of every utterance, `[utterance]` int64: contiguous parts of the sorted groups.

    Six folds of RAVDESS are actors 01–04, 05–08, …, 21–24; five of IEMOCAP are its sessions.
    Raises `CorpusError` for an unknown speaker, or for more folds than groups.
    """
    unknown = corpus.frame["speaker"].isna()
    if unknown.any() and speakers == "disjoint":
        raise CorpusError(
            "an utterance of unknown speaker belongs to no fold",
            where=f"utterance {corpus.frame['id'][unknown].iloc[0]}",
        )
    groups = groups_of(corpus.frame, speakers)
    names = np.array(sorted(groups.unique()), dtype=object)
    if not 2 <= folds <= len(names):
        raise CorpusError(
            f"{len(names)} {_kind(corpus)} cannot make {folds} folds",
            where=f"corpus {corpus.name!r}",
            hint=one_group_hint(corpus, "set corpus.folds to another number"),
        )
    fold_of = {
        name: fold for fold, part in enumerate(np.array_split(names, folds)) for name in part
    }
    return groups.map(fold_of).to_numpy(np.int64)


def inner_folds(
    corpus: Corpus, rows: np.ndarray, folds: int, speakers: Speakers = "disjoint"
) -> np.ndarray:
    """Inner fold, from 0, of each of `rows` (positions in the corpus), `[row]` int64.

    Whole speakers (or dialogues: `groups_of`), the classes spread as evenly as that allows: each
    fold is predicted by members trained on the others, without its speakers. An utterance of
    unknown speaker is a group of its own. Raises `CorpusError` for fewer groups than folds, or a
    class with all utterances in one fold, which members trained without it could not learn.
    """
    part = corpus.frame.iloc[rows].reset_index(drop=True)
    groups, classes = groups_of(part, speakers), part["consensus"].astype(object).fillna("")
    try:
        if groups.nunique() < folds:
            raise ValueError(f"{groups.nunique()} {_kind(corpus)} cannot make {folds} inner folds")
        fold_n = _stratified(classes, groups, folds)
        for fold in range(folds):
            lost = sorted(set(corpus.classes) & set(classes) - set(classes[fold_n != fold]))
            if lost:
                found = groups[classes == lost[0]].nunique()
                raise ValueError(
                    f"all utterances of {lost[0]!r} are in inner fold {fold + 1} of {folds}, "
                    f"from {found} {_kind(corpus)}"
                )
    except ValueError as error:
        raise CorpusError(
            str(error),
            where=f"corpus {corpus.name!r}, {len(rows)} training utterances",
            hint=one_group_hint(
                corpus, "lower ensemble.inner_folds, or choose another ensemble.fit_on"
            ),
        ) from error
    return fold_n


def _stratified(classes: pd.Series, groups: pd.Series, folds: int) -> np.ndarray:
    """Fold of each row, `[row]` int64."""
    from sklearn.model_selection import StratifiedGroupKFold

    fold_n = np.full(len(classes), -1, np.int64)
    with warnings.catch_warnings():
        # It warns of classes with fewer utterances than folds.
        warnings.simplefilter("ignore", UserWarning)
        parts = enumerate(StratifiedGroupKFold(folds).split(classes, classes, groups))
        for fold, (_, left_out) in parts:
            fold_n[left_out] = fold
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
    """Sorted known speakers with utterances in more than one of the masks `[utterance]`."""
    sides = [set(corpus.frame["speaker"][np.asarray(mask)].dropna()) for mask in masks]
    pairs = combinations(sides, 2)
    return sorted(set().union(*(one & other for one, other in pairs)))


def check_speakers_disjoint(corpus: Corpus, *masks: np.ndarray) -> None:
    """Raise `CorpusError` if a speaker has utterances in more than one of the masks."""
    shared = shared_speakers(corpus, masks)
    if shared:
        names = ", ".join(shared[:5]) + (", …" if len(shared) > 5 else "")
        raise CorpusError(
            f"{len(shared)} speaker(s) are on both sides of a split: {names}",
            where=f"corpus {corpus.name!r}",
            hint="set corpus.speakers: shared if the corpus's own splits share speakers"
            if corpus.conversational
            else "split by speaker, for example with medusa_jax.corpus.splits.hold_out",
        )


def check_dialogues_whole(corpus: Corpus, *masks: np.ndarray) -> None:
    """Raise `CorpusError` if a dialogue has utterances in more than one of the masks."""
    if not corpus.conversational:
        return
    parts = pd.DataFrame({"dialogue": corpus.frame["dialogue"], "side": np.argmax(masks, axis=0)})
    parts = parts[np.any(masks, axis=0)]
    torn = parts.groupby("dialogue")["side"].nunique()
    if (torn > 1).any():
        raise CorpusError(
            "a dialogue is on both sides of a split",
            where=f"corpus {corpus.name!r}, dialogue {torn.idxmax()}",
            hint="list all utterances of a dialogue, or none",
        )


def _kind(corpus: Corpus) -> str:
    """The groups of a corpus in words."""
    return "group(s) of dialogues" if corpus.conversational else "speaker(s)"


def _closest(counts_gc: np.ndarray, order: list[int], fraction: float) -> list[int]:
    """Groups, taken in `order`, with summed counts near `fraction` of each column and the total."""
    counts_gc = np.column_stack([counts_gc, counts_gc.sum(axis=1)])
    total_c = counts_gc.sum(axis=0)
    weight_c = 1 / total_c
    # The total counts as much as all classes together.
    weight_c[-1] *= counts_gc.shape[1]

    def distance(held_c: np.ndarray) -> float:
        return float((weight_c * (held_c - fraction * total_c) ** 2).sum())

    held_c, taken = np.zeros(counts_gc.shape[1]), []
    for group in order:
        if distance(held_c + counts_gc[group]) < distance(held_c):
            held_c = held_c + counts_gc[group]
            taken.append(group)
    if not taken:  # every speaker exceeds the wish: take the one that exceeds it least
        return [min(order, key=lambda group: distance(counts_gc[group]))]
    return taken if len(taken) < len(order) else taken[:-1]
