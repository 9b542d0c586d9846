"""CREMA-D (Cao et al. 2014): six emotions, crowd votes on the voice, the face and both."""

from pathlib import Path
from typing import Literal

import numpy as np

from medusa_jax.corpus.assembly import assemble, measure
from medusa_jax.corpus.label_file import read_json, read_records
from medusa_jax.corpus.labels import consensus
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError, LabelError

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad")
LETTERS = ("A", "D", "F", "H", "N", "S")
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
"""The twelve sentences, by the code in the file name."""

Modality = Literal["voice", "face", "both"]
_FIRST_DIGIT = {"voice": "1", "face": "2", "both": "3"}
_SPLITS = {"train": "train", "dev": "development", "test": "test1"}


def read_crema_d(
    root: Path, *, modality: Modality = "voice", soft_labels: str = "primary"
) -> Corpus:
    """The clips of `tabulatedVotes.csv` in `root`, sorted by name, with the votes for `modality`.

    Speaker and sentence come from the file name, gender from `VideoDemographics.csv`, the split
    from `speaker_splits.json` if it exists (else all `train`); attributes are not rated. Audio is
    expected in `AudioWAV/`; without it seconds are NaN. Raises `CorpusError` or `LabelError` with
    file and line.
    """
    ballots = read_votes(root / "tabulatedVotes.csv", modality)
    names = sorted(ballots)
    speakers = [name.split("_")[0] for name in names]
    genders, splits = (
        _genders(root / "VideoDemographics.csv"),
        _splits(root / "speaker_splits.json"),
    )
    votes = np.array([[*ballots[name], 0] for name in names], np.int64)
    audio = [f"AudioWAV/{name}.wav" for name in names]
    missing = sorted({speaker for speaker in speakers if splits and speaker not in splits})
    if missing:
        raise CorpusError(
            f"speaker {missing[0]} is in no split", where=root / "speaker_splits.json"
        )
    plain = {
        "id": names,
        "audio": audio,
        "seconds": measure(root, audio),
        "split": [splits.get(speaker, "train") for speaker in speakers],
        "speaker": speakers,
        "gender": [genders.get(speaker) for speaker in speakers],
        "consensus": consensus(votes, CLASSES),
        "transcript": [SENTENCES.get(name.split("_")[1]) for name in names],
    }
    frame = assemble(plain, votes, np.zeros_like(votes), CLASSES, soft_labels)
    return Corpus(frame=frame, classes=CLASSES, root=root, name="crema-d", soft_labels=soft_labels)


def read_votes(path: Path, modality: Modality) -> dict[str, tuple[int, ...]]:
    """Clip → votes in the order of `CLASSES`, from the rows of `modality` (first digit of the id).

    Raises `LabelError` for a count that is not a whole number, a name that is not a clip's, or a
    duplicate clip.
    """
    ballots: dict[str, tuple[int, ...]] = {}
    for where, fields in read_records(path, ("", *LETTERS, "fileName")):
        if not fields[""].startswith(_FIRST_DIGIT[modality]):
            continue
        name, counts = fields["fileName"], [fields[letter] for letter in LETTERS]
        if len(name.split("_")) != 4 or not name.replace("_", "").isalnum():
            raise LabelError(
                f"{name!r} is not the name of a clip",
                where=where,
                hint="expected one such as 1001_IEO_NEU_XX",
            )
        if name in ballots:
            raise LabelError(
                f"duplicate row for {name}", where=where, hint="remove one of the two rows"
            )
        if not all(count.isdecimal() for count in counts):
            raise LabelError(f"the votes are {counts}, not whole numbers", where=where)
        ballots[name] = tuple(int(count) for count in counts)
    if not ballots:
        raise CorpusError(f"no votes on {modality}", where=path)
    return ballots


def _genders(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    genders: dict[str, str] = {}
    for where, fields in read_records(path, ("ActorID", "Sex")):
        if fields["Sex"].lower() not in ("male", "female"):
            raise LabelError(f"unknown gender {fields['Sex']!r}", where=where)
        genders[fields["ActorID"]] = fields["Sex"].lower()
    return genders


def _splits(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    splits: dict[str, str] = {}
    for name, speakers in read_json(path).items():
        if name not in _SPLITS or not isinstance(speakers, list):
            raise LabelError(
                f"unknown split {name!r}, or not a list of speakers",
                where=path,
                hint=f"known: {', '.join(_SPLITS)}",
            )
        for speaker in speakers:
            if splits.setdefault(str(speaker), _SPLITS[name]) != _SPLITS[name]:
                raise LabelError(f"speaker {speaker} is in two splits", where=path)
    return splits
