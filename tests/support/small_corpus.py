"""A corpus of a few short noises with transcripts, and the bytes of a store made from it."""

from pathlib import Path

import numpy as np
import soundfile

from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import Corpus

RATE = 16_000


def waves(count: int, *, seed: int = 0, longest: float = 0.4) -> list[np.ndarray]:
    """Noises of 0.1 to `longest` seconds, `[sample]` float32, no two alike."""
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_normal(rng.integers(RATE // 10, int(RATE * longest))) * 0.1).astype(
            np.float32
        )
        for _ in range(count)
    ]


def small_corpus(
    root: Path, count: int = 10, *, seed: int = 0, transcripts: list[str | None] | None = None
) -> Corpus:
    """Write `count` audio files below `root` and return their table."""
    names = [f"utterance-{i:03d}.wav" for i in range(count)]
    root.mkdir(parents=True, exist_ok=True)
    for name, wave in zip(names, waves(count, seed=seed), strict=True):
        soundfile.write(root / name, wave, RATE, subtype="FLOAT")
    plain = {
        "id": names,
        "audio": names,
        "seconds": [np.nan] * count,
        "split": ["train"] * count,
        "speaker": ["1"] * count,
        "gender": ["female"] * count,
        "consensus": ["angry"] * count,
        **{name: [np.nan] * count for name in ("arousal", "valence", "dominance")},
        "transcript": transcripts or [f"this is number {i}" for i in range(count)],
    }
    votes = np.tile([3, 0, 0], (count, 1))
    frame = assemble(plain, votes, np.zeros_like(votes), ("angry", "happy"), "primary")
    return Corpus(frame=frame, classes=("angry", "happy"), root=root, name="small")


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file of a store but the locks."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.name not in (".lock", ".parts")
    }
