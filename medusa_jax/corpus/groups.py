"""Groups of utterances that stay on one side of a split: of a speaker, or of dialogues."""

from typing import Literal

import numpy as np
import pandas as pd

from medusa_jax.corpus.table import Corpus

Speakers = Literal["disjoint", "shared"]
"""The speakers of two sides of a split: none in common, or any."""


def groups_of(frame: pd.DataFrame, speakers: Speakers = "disjoint") -> pd.Series:
    """The name of each utterance's group, in a table of utterances.

    Without dialogues: its speaker; an utterance of unknown speaker is a group of its own. With
    them, whole dialogues: with `disjoint`, all that are linked by speakers in common (a connected
    component, called after its first dialogue), with `shared` each for itself.
    """
    if "dialogue" not in frame.columns:
        # The prefixes keep a speaker apart from an utterance of the same name.
        return ("speaker " + frame["speaker"].astype(object)).where(
            frame["speaker"].notna(), "utterance " + frame["id"].astype(object)
        )
    names = "dialogue " + frame["dialogue"].astype(object)
    if speakers == "shared":
        return names
    return names.groupby(_components(frame)).transform("min")


def one_group_hint(corpus: Corpus, otherwise: str) -> str:
    """A hint for a corpus with too few groups: how to draw dialogues, or what to do `otherwise`."""
    if not corpus.conversational:
        return otherwise
    return (
        "its dialogues are linked by speakers in common: to draw whole dialogues, with speakers on "
        f"both sides, set corpus.speakers: shared; or {otherwise}"
    )


def _components(frame: pd.DataFrame) -> np.ndarray:
    """Connected component of each row, `[row]`, in the graph of dialogues and their speakers."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    dialogue_n, dialogues = pd.factorize(frame["dialogue"])
    speaker_n, speakers = pd.factorize(frame["speaker"])  # -1: unknown, links nothing
    known = speaker_n >= 0
    nodes = len(dialogues) + len(speakers)
    edges = (dialogue_n[known], len(dialogues) + speaker_n[known])
    graph = coo_matrix((np.ones(known.sum()), edges), shape=(nodes, nodes))
    _, component = connected_components(graph, directed=False)
    return np.asarray(component)[dialogue_n]
