"""The score that systems of a corpus are compared by, and the clusters of its intervals and tests.

Utterances of one speaker are not independent, and neither are those of one dialogue, where each
answers the one before: speech is scored by Macro-F1 over speakers, conversations by weighted F1,
as all work on them, over dialogues.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medusa_jax.corpus.table import Corpus
from medusa_jax.evaluation.metrics import macro_f1_of, weighted_f1_of


@dataclass(frozen=True)
class Headline:
    """A score by the name of its column, in words, as a `metric` of confusion matrices
    `[…, c, c]`, and the column of the corpus that names the clusters.
    """

    name: str
    title: str
    metric: Callable[[np.ndarray], np.ndarray]
    cluster: str

    def clusters(self, corpus: Corpus) -> pd.Series:
        """The cluster of each utterance; None: unknown, a cluster of its own."""
        return corpus.frame[self.cluster]

    def unknown(self) -> str:
        """The remark on utterances without a cluster; empty where all have one."""
        return " (each utterance of an unknown speaker counts as one)" * (self is SPEECH)


SPEECH = Headline("macro_f1", "Macro-F1", macro_f1_of, "speaker")
CONVERSATIONS = Headline("weighted_f1", "weighted F1", weighted_f1_of, "dialogue")


def headline_of(corpus: Corpus) -> Headline:
    """The headline of a corpus of single utterances or of conversations."""
    return CONVERSATIONS if corpus.conversational else SPEECH


def headline_of_row(row: Mapping[str, object]) -> Headline:
    """The headline of a row of scores that was read back."""
    return CONVERSATIONS if row.get(CONVERSATIONS.name) is not None else SPEECH
