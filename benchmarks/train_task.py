"""The data of benchmarks/train.py: random frames with the lengths of speech, and their operations.

Legend: `n` utterance, `k` modality, `t` frame, `h` hidden, `c` class.
"""

from pathlib import Path

import numpy as np

from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.labels import CLASSES
from medusa_jax.corpus.table import Corpus
from medusa_jax.store.npy import import_folder

WIDTHS = {"hubert": 1024, "roberta": 1024, "wavlm": 1024}
FEEDFORWARD, LAYERS = 2048, 2


def lengths(count: int, longest: int = 550) -> np.ndarray:
    """Frames `[n, k]` in the order of `WIDTHS`: 100 to `longest` of speech, 10 to 60 tokens."""
    rng = np.random.default_rng(0)
    speech = rng.integers(min(100, longest), longest + 1, count)
    return np.stack([speech, rng.integers(10, 61, count), speech], axis=1)


def corpus_of(count: int) -> Corpus:
    """A table of `count` utterances, each with five votes and ratings."""
    rng = np.random.default_rng(1)
    ids = [f"{row:05d}" for row in range(count)]
    # none for another emotion
    votes = np.pad(
        rng.multinomial(5, np.full(len(CLASSES), 1 / len(CLASSES)), count), ((0, 0), (0, 1))
    )
    plain = {
        "id": ids,
        "audio": ids,
        "seconds": (lengths(count)[:, 0] / 50).tolist(),
        "split": ["train"] * count,
        "speaker": ids,
    }
    plain |= {
        "gender": [None] * count,
        "consensus": [CLASSES[row.argmax()] for row in votes],
        "transcript": [None] * count,
    }
    plain |= {name: rng.uniform(1, 7, count) for name in ("arousal", "valence", "dominance")}
    return Corpus(
        assemble(plain, votes, np.zeros_like(votes), CLASSES), CLASSES, Path("nowhere"), "random"
    )


def write(folder: Path, count: int, longest: int = 550) -> None:
    """Write `folder/corpus.parquet`, and each modality's frames twice.

    `npy/NAME/ID.npy` is for PyTorch, the store `stores/NAME` for ours.
    """
    corpus, rng = corpus_of(count), np.random.default_rng(2)
    corpus.save(folder / "corpus.parquet")
    for name, length_n in zip(WIDTHS, lengths(count, longest).T, strict=True):
        files = folder / "npy" / name
        files.mkdir(parents=True)
        for id, length in zip(corpus.frame["id"], length_n, strict=True):
            np.save(
                files / f"{id}.npy",
                rng.standard_normal((length, WIDTHS[name]), np.float32).astype(np.float16),
            )
        import_folder(files, corpus, folder / "stores" / name)


def operations(length_nk: np.ndarray, hidden: int) -> float:
    """Operations of a training step's matrix products: forward, and twice that backward."""

    def encoder(frames: np.ndarray, width: int) -> np.ndarray:
        layer = 2 * frames * (4 * hidden**2 + 2 * hidden * FEEDFORWARD) + 4 * frames**2 * hidden
        return 2 * frames * (width * hidden + hidden**2) + LAYERS * layer

    length_nk = np.asarray(length_nk, np.float64)
    total = length_nk.sum(axis=1)
    own = sum(
        encoder(frames, width) for frames, width in zip(length_nk.T, WIDTHS.values(), strict=True)
    )
    return float(3 * (own + encoder(total, hidden) + encoder(2 * total, hidden)).sum())
