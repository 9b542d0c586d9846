"""Generated conversations at the shapes of IEMOCAP and MELD for benchmarks/summer.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import Corpus
from medusa_jax.files import digest_of
from medusa_jax.store.builder import Advance, Make, fill
from medusa_jax.store.ledger import Entry, Plan
from medusa_jax.store.shard import as_stored
from medusa_jax.store.shard_writer import write_shard

SMOOTHING, KAPPA = 0.1, (1.0, 1.0, 0.1)
"""Of the labels; the weights of distillation, cross-entropy and smoothed cross-entropy."""


@dataclass(frozen=True)
class Shape:
    """A corpus's training part, its widths, and the published batch."""

    dialogues: int
    mean: float  # turns of a dialogue
    deviation: float
    longest: int
    widths: dict[str, int]
    classes: int
    speakers: int
    batch: int


SHAPES = {
    "iemocap": Shape(120, 48.4, 18.0, 110, {"text": 1024, "audio": 1582, "visual": 342}, 6, 2, 32),
    "meld": Shape(1038, 9.6, 5.5, 24, {"text": 1024, "audio": 300, "visual": 342}, 7, 9, 100),
}


@dataclass(frozen=True)
class Dialogues:
    """Features, speakers and labels by dialogue, without padding."""

    lengths: np.ndarray
    streams: list[list[np.ndarray]]  # [dialogue][stream]: [u, d]
    speakers: list[np.ndarray]
    labels: list[np.ndarray]


def generated(shape: Shape, times: int) -> Dialogues:
    """As many dialogues as the corpus has, times `times`."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(shape.mean, shape.deviation, shape.dialogues)
    own = np.clip(np.round(drawn), 1, shape.longest).astype(int)
    own[np.argmax(own)] = shape.longest
    lengths = np.tile(own, times)
    streams, speakers, labels = [], [], []
    for n in lengths:
        parts = [rng.standard_normal((n, d), np.float32) for d in shape.widths.values()]
        streams.append(parts)
        speakers.append(rng.integers(0, shape.speakers, n))
        labels.append(rng.integers(0, shape.classes, n))
    return Dialogues(lengths, streams, speakers, labels)


def padded(arrays: list[np.ndarray], length: int) -> np.ndarray:
    """Arrays `[u, …]` of dialogues as one, zeros behind each."""
    found = np.zeros((len(arrays), length, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, own in zip(found, arrays, strict=True):
        row[: len(own)] = own
    return found


def write(folder: Path, shape: Shape, data: Dialogues) -> None:
    """Write `folder/corpus.parquet` and a store a stream, one frame an utterance."""
    number = np.repeat(np.arange(len(data.lengths)), data.lengths)
    turn = np.concatenate([np.arange(n) for n in data.lengths])
    label, count = np.concatenate(data.labels), len(turn)
    classes = tuple("abcdefgh"[: shape.classes])
    votes = np.pad(np.eye(shape.classes, dtype=int)[label], ((0, 0), (0, 1)))
    plain = {
        "id": [f"{row:06d}" for row in range(count)],
        "audio": [""] * count,
        "split": ["train"] * count,
        "speaker": [f"s{one}" for one in np.concatenate(data.speakers)],
        "gender": [None] * count,
        "consensus": [classes[c] for c in label],
        "transcript": [None] * count,
        **{name: np.full(count, np.nan) for name in ("arousal", "valence", "dominance")},
    }
    frame = assemble(plain, votes, np.zeros_like(votes), classes)
    frame = frame.assign(dialogue=[f"d{one:05d}" for one in number], turn=turn)
    corpus = Corpus(frame, classes, Path("nowhere"), "random")
    corpus.save(folder / "corpus.parquet")
    for k, name in enumerate(shape.widths):
        rows = np.concatenate([parts[k] for parts in data.streams])
        _write_store(folder / name, corpus.frame["id"].tolist(), rows)


def _write_store(folder: Path, ids: list[str], x_nd: np.ndarray) -> None:
    plan = Plan(
        extractor={"extractor": "random"},
        corpus="random",
        inputs=digest_of(ids),
        width=x_nd.shape[1],
        dtype="float32",
        utterances=len(ids),
        shard_rows=2048,
    )

    def make(shard: int) -> Entry:
        rows = plan.rows(shard)
        clips = [as_stored(ids[row], x_nd[row : row + 1], plan.dtype) for row in rows]
        return write_shard(folder, plan, shard, [clips], {})

    @contextmanager
    def making(plan: Plan, advance: Advance) -> Iterator[Make]:
        yield make

    fill(folder, plan, making, allowed=0)
