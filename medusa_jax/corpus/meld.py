"""MELD (Poria et al. 2019): utterances of the series Friends, in dialogues, with text and video."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medusa_jax.corpus.assembly import assemble, measure
from medusa_jax.corpus.label_file import read_records
from medusa_jax.corpus.meld_audio import find_audio
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError, LabelError

CLASSES = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
FILES = {
    "train": "train_sent_emo.csv",
    "dev": "dev_sent_emo.csv",
    "test": "test_sent_emo.csv",
}
"""MELD's splits and their files."""

_SPLITS = {"train": "train", "dev": "development", "test": "test1"}
_COLUMNS = (
    "Utterance",
    "Speaker",
    "Emotion",
    "Dialogue_ID",
    "Utterance_ID",
    "StartTime",
    "EndTime",
)
# The milliseconds of a few rows lack digits.
_TIME = re.compile(r"(\d{1,2}):(\d\d):(\d\d)[,.](\d{1,3})")


@dataclass(frozen=True)
class _Line:
    """A row of a CSV file."""

    split: str
    dialogue: int
    turn: int
    speaker: str
    emotion: str
    seconds: float
    transcript: str

    @property
    def name(self) -> str:
        """The name of its audio or video file, without suffix."""
        return f"dia{self.dialogue}_utt{self.turn}"


def read_meld(root: Path, *, audio: Path | None = None) -> Corpus:
    """The utterances of the CSV files in `root`, by split, dialogue and turn.

    The files of development and test may be missing. Ids are `train_dia0_utt3`, dialogues
    `train_0`; the emotion is the only vote; speakers are names, of which the main ones are in
    every split. `audio` (default: `root`) is the folder of the WAV files, `train/dia0_utt3.wav`;
    those that lack are made there from the release's videos in `root`, by ffmpeg. Without either,
    `audio` is empty throughout. Seconds are those of the audio, else of the subtitles. Raises
    `CorpusError` or `LabelError` with file and line, `DependencyError` where ffmpeg is missing.
    """
    parts = [part for part in FILES if part == "train" or (root / FILES[part]).is_file()]
    lines = [line for part in parts for line in _sorted(root / FILES[part], part)]
    home = root if audio is None else audio.resolve()
    paths = find_audio(root, home, [(line.split, line.name) for line in lines])
    votes = np.zeros((len(lines), len(CLASSES) + 1), np.int64)
    votes[np.arange(len(lines)), [CLASSES.index(line.emotion) for line in lines]] = 1
    plain = {
        "id": [f"{line.split}_{line.name}" for line in lines],
        "audio": paths,
        "seconds": _seconds(home, paths, lines),
        "split": [_SPLITS[line.split] for line in lines],
        "speaker": _speakers(lines),
        "gender": [None] * len(lines),
        "consensus": [line.emotion for line in lines],
        "transcript": [line.transcript for line in lines],
        "dialogue": [f"{line.split}_{line.dialogue}" for line in lines],
        "turn": [line.turn for line in lines],
    }
    frame = assemble(plain, votes, np.zeros_like(votes), CLASSES)
    return Corpus(frame=frame, classes=CLASSES, root=home, name="meld")


def repaired(text: str) -> str:
    """`text` with the damage of a Windows-1252 file repaired: `Iâ€™m` and `I\\x92m` are `I’m`.

    Only where it is unambiguous: control characters that Windows-1252 uses for punctuation, and
    punctuation and accented letters in UTF-8 that were read as Windows-1252.
    """
    text = _MISREAD.sub(_reread, text)
    return _CONTROL.sub(lambda match: _punctuation(match[0]), text)


def _sorted(path: Path, split: str) -> list[_Line]:
    """The rows of a file by dialogue and turn. Raises `LabelError` for a repeated one."""
    places: dict[tuple[int, int], str] = {}
    lines = []
    for where, line in _read(path, split):
        first = places.setdefault((line.dialogue, line.turn), where)
        if first != where:
            raise LabelError(
                f"dialogue {line.dialogue} has utterance {line.turn} twice, first at {first}",
                where=where,
                hint="remove one of the two rows",
            )
        lines.append(line)
    if not lines:
        raise CorpusError("the file has no utterances", where=path)
    return sorted(lines, key=lambda line: (line.dialogue, line.turn))


def _read(path: Path, split: str) -> Iterator[tuple[str, _Line]]:
    for where, fields in read_records(path, _COLUMNS):
        emotion = fields["Emotion"].strip().lower()
        if emotion not in CLASSES:
            known = f"known: {', '.join(CLASSES)}"
            raise LabelError(f"unknown emotion {fields['Emotion']!r}", where=where, hint=known)
        numbers = [fields[name].strip() for name in ("Dialogue_ID", "Utterance_ID")]
        if not all(number.isascii() and number.isdecimal() for number in numbers):
            raise LabelError(
                f"dialogue and utterance are {numbers}, not whole numbers", where=where
            )
        speaker = " ".join(repaired(fields["Speaker"]).split())
        if not speaker:
            raise LabelError("the row has no speaker", where=where)
        start, end = (_time(fields[name], where) for name in ("StartTime", "EndTime"))
        yield (
            where,
            _Line(
                split=split,
                dialogue=int(numbers[0]),
                turn=int(numbers[1]),
                speaker=speaker,
                emotion=emotion,
                seconds=end - start if end > start else float("nan"),
                transcript=repaired(fields["Utterance"]).strip(),
            ),
        )


def _time(text: str, where: str) -> float:
    """Seconds of `00:16:21,731`. Raises `LabelError` for anything else."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise LabelError(
            f"{text!r} is not a time", where=where, hint="expected one such as 00:16:21,731"
        )
    hours, minutes, seconds, milliseconds = map(int, match.groups())
    return 3600 * hours + 60 * minutes + seconds + milliseconds / 1000


def _speakers(lines: list[_Line]) -> list[str]:
    """Names of the speakers; one that differs in case alone has the first spelling."""
    spelling: dict[str, str] = {}
    return [spelling.setdefault(line.speaker.casefold(), line.speaker) for line in lines]


def _seconds(home: Path, paths: list[str], lines: list[_Line]) -> np.ndarray:
    """Length of the audio `[b]` float64; where there is none, from the subtitles."""
    seconds = np.array([line.seconds for line in lines], np.float64)
    heard = [i for i, path in enumerate(paths) if path]
    measured = measure(home, [paths[i] for i in heard])
    known = ~np.isnan(measured)
    seconds[np.array(heard, np.int64)[known]] = measured[known]
    return seconds


def _punctuation(control: str) -> str:
    """The character of Windows-1252 with this code; a code that it lacks stays."""
    return bytes([ord(control)]).decode("cp1252", errors="ignore") or control


def _reread(match: re.Match[str]) -> str:
    """A sequence read as UTF-8; unchanged if it is not valid."""
    try:
        return bytes(_CODE[character] for character in match[0]).decode("utf-8")
    except UnicodeDecodeError:
        return match[0]


_CONTROL = re.compile("[\x80-\x9f]")
_CODE = {_punctuation(chr(code)): code for code in range(0x80, 0x100)}
_CODE |= {chr(code): code for code in range(0x80, 0x100)}  # read as Latin-1
_TAIL = "".join(character for character, code in _CODE.items() if code < 0xC0)
# Other pairs of an accented letter and punctuation occur in text: é…
_MISREAD = re.compile(f"[\xc2\xc3][{re.escape(_TAIL)}]|\xe2[€\x80][{re.escape(_TAIL)}]")
