"""A folder of MSP-Podcast → one table of utterances.

Every label file is optional as long as each utterance has a split. The first of several files
counts: consensus CSV, JSON, `labels.txt`; detailed CSV, JSON, `labels.txt`; split, speaker and
gender of the consensus file before `Partitions.txt` and `Speaker_ids.txt`. Without a consensus
file it is replaced by the plurality of the votes and the means of the ratings.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from medusa_jax.corpus.assembly import assemble, measure
from medusa_jax.corpus.label_file import read_lines
from medusa_jax.corpus.labels import CLASSES, consensus
from medusa_jax.corpus.msp_labels import Head, read_consensus, read_partitions, read_speakers
from medusa_jax.corpus.msp_layout import AUDIOS, LABELS, SYNTHETIC_NOTE, TRANSCRIPTS
from medusa_jax.corpus.ratings import RATING_COLUMNS, read_ratings, tally
from medusa_jax.corpus.table import Corpus
from medusa_jax.corpus.turns import with_turns
from medusa_jax.errors import CorpusError

logger = logging.getLogger(__name__)

_DESCRIBED = ("consensus", "arousal", "valence", "dominance", "speaker", "gender")


def read_msp_podcast(
    root: Path, *, soft_labels: str = "primary", transcripts: Path | None = None
) -> Corpus:
    """Read the corpus in `root`, sorted by id.

    There is a row for every labelled or partitioned utterance and every audio file of test3,
    which has no labels. `soft_labels` is one of `medusa_jax.corpus.labels.SOFT_LABELS`.
    `transcripts` is a folder of `<stem>.txt` in place of `Transcripts/`: MEDUSA uses ASR
    transcripts in every split. Raises `CorpusError` or `LabelError` with file and line for an
    error in a label file.
    """
    if not root.is_dir():
        raise CorpusError("the corpus folder does not exist", where=root)
    ratings = _ratings(root)
    heads = _heads(root)
    splits = _splits(root, heads)
    ids = sorted(splits)
    left_out = set(ratings["FileName"]) - set(splits)
    if left_out:
        logger.warning(
            "%d rated file(s) without a split are left out, the first is %s",
            len(left_out),
            min(left_out),
        )
    votes, secondary = tally(ratings, ids)
    audio = [f"{AUDIOS}/{name}" for name in ids]
    plain = {
        "id": ids,
        "audio": audio,
        "seconds": measure(root, audio),
        "split": [splits[name] for name in ids],
        "transcript": _transcripts(
            root / TRANSCRIPTS if transcripts is None else transcripts,
            ids,
            required=transcripts is not None,
        ),
        **_described(root, ids, heads, ratings, votes),
    }
    frame = assemble(plain, votes, secondary, CLASSES, soft_labels)
    synthetic = (root / SYNTHETIC_NOTE).is_file()
    name = "generated" if synthetic else "msp-podcast"
    corpus = Corpus(
        frame=frame,
        classes=CLASSES,
        root=root,
        name=name,
        soft_labels=soft_labels,
        synthetic=synthetic,
    )
    return with_turns(corpus)


def _find(root: Path, *names: str) -> Path | None:
    places = (folder / name for name in names for folder in (root / LABELS, root))
    return next((path for path in places if path.is_file()), None)


def _ratings(root: Path) -> pd.DataFrame:
    path = _find(root, "labels_detailed.csv", "labels_detailed.json", "labels.txt")
    return read_ratings(path) if path else pd.DataFrame({name: [] for name in RATING_COLUMNS})


def _heads(root: Path) -> dict[str, Head]:
    path = _find(root, "labels_consensus.csv", "labels_consensus.json", "labels.txt")
    return read_consensus(path) if path else {}


def _splits(root: Path, heads: dict[str, Head]) -> dict[str, str]:
    path = _find(root, "Partitions.txt", "Partition.txt")
    splits = read_partitions(path) if path else {}
    for name, head in heads.items():
        if head.split is not None and splits.setdefault(name, head.split) != head.split:
            what = f"{name} is in {splits[name]} here but in {head.split} in the consensus file"
            raise CorpusError(what, where=path, hint="correct one of the two")
        if name not in splits:
            raise CorpusError(
                f"{name} is in no split",
                where=root,
                hint="add Partitions.txt, or a consensus file with the column Split_Set",
            )
    for audio in sorted((root / AUDIOS).glob("MSP-PODCAST_test3_*.wav")):
        splits.setdefault(audio.name, "test3")
    if not splits:
        raise CorpusError(
            "no utterance found: neither labels, nor partitions, nor test3 audio",
            where=root,
            hint="expected Labels/labels_consensus.csv (or .json), Partitions.txt and Audios/",
        )
    return splits


def _described(
    root: Path, ids: list[str], heads: dict[str, Head], ratings: pd.DataFrame, votes: np.ndarray
) -> dict[str, list[object]]:
    """Consensus, attributes, speaker and gender of each of `ids`, by column."""
    path = _find(root, "Speaker_ids.txt")
    speakers, genders = read_speakers(path) if path else ({}, {})
    _warn_of_contradictions(heads, speakers, path)
    means = ratings.groupby("FileName")[["EmoAct", "EmoVal", "EmoDom"]].mean().T.to_dict("list")
    plurality = consensus(votes, CLASSES)
    columns: dict[str, list[object]] = {name: [] for name in _DESCRIBED}
    for i, name in enumerate(ids):
        head = heads.get(name) or Head(plurality[i], *means.get(name, ()))
        speaker = head.speaker or speakers.get(name)
        gender = head.gender or genders.get(speaker or "")
        row = (head.consensus, head.arousal, head.valence, head.dominance, speaker, gender)
        for column, value in zip(_DESCRIBED, row, strict=True):
            columns[column].append(value)
    return columns


def _warn_of_contradictions(
    heads: dict[str, Head], speakers: dict[str, str | None], path: Path | None
) -> None:
    contradicted = sum(
        1
        for name, head in heads.items()
        if head.speaker and speakers.get(name) not in (None, head.speaker)
    )
    if contradicted:
        logger.warning(
            "%d utterance(s) have another speaker in %s than in the consensus file, which is used",
            contradicted,
            path,
        )


def _transcripts(folder: Path, ids: list[str], *, required: bool) -> list[str | None]:
    if required and not folder.is_dir():
        raise CorpusError("the folder of transcripts does not exist", where=folder)
    present = {path.stem for path in folder.glob("*.txt")}
    stems = [Path(name).stem for name in ids]
    return [_text(folder / f"{stem}.txt") if stem in present else None for stem in stems]


def _text(path: Path) -> str:
    return "\n".join(read_lines(path)).strip()
