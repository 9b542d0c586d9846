"""A table of utterances with given speakers and consensus, for tests of splits."""

import numpy as np

from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import Corpus

CLASSES = ("angry", "happy", "neutral")


def corpus_of(tmp_path, speakers, consensus, splits=None):
    ids = [f"u{i:05d}.wav" for i in range(len(speakers))]
    votes = np.zeros((len(ids), 4), np.int64)
    plain = {
        "id": ids,
        "audio": ids,
        "split": splits or ["train"] * len(ids),
        "speaker": speakers,
        "gender": [None] * len(ids),
        "consensus": consensus,
        "transcript": [None] * len(ids),
    }
    return Corpus(
        frame=assemble(plain, votes, votes, CLASSES), classes=CLASSES, root=tmp_path, name="test"
    )
