"""The label files and transcriptions of IEMOCAP's release.

`SessionN/dialog/EmoEvaluation/DIALOGUE.txt`, tab-separated, one block an utterance:

    [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
    C-E2:	Neutral; Anger;	()
    C-F1:	Neutral;	(curious)
    A-E3:	val 3; act 2; dom  2;	()

The first line has the emotion that most evaluators chose and the mean valence, activation and
dominance; `C-E2` are an evaluator's emotions, `C-F1` the actor's own, `A-…` single attributes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medusa_jax.corpus.label_file import read_lines
from medusa_jax.errors import LabelError

EMOTIONS = {
    "ang": "angry",
    "hap": "happy",
    "sad": "sad",
    "neu": "neutral",
    "fru": "frustrated",
    "exc": "excited",
    "fea": "fear",
    "sur": "surprise",
    "dis": "disgust",
    "oth": "other",
}
"""The file's codes of the emotion that most evaluators chose; `xxx` is no agreement."""
NO_MAJORITY = "xxx"
RATED = {
    "anger": "angry",
    "happiness": "happy",
    "sadness": "sad",
    "neutral": "neutral",
    "neutral state": "neutral",
    "frustration": "frustrated",
    "excited": "excited",
    "fear": "fear",
    "surprise": "surprise",
    "disgust": "disgust",
    "other": "other",
}
"""An evaluator's words."""

_HEAD = re.compile(
    r"\[(?P<start>[\d.]+)\s*-\s*(?P<end>[\d.]+)\]\s+(?P<id>\S+)\s+(?P<code>\w+)\s+"
    r"\[(?P<v>[\d.]+),\s*(?P<a>[\d.]+),\s*(?P<d>[\d.]+)\]"
)
_ID = re.compile(r"(?P<dialogue>Ses\d\d[FM]_\w+)_(?P<sex>[FM])\d+")
_RATER = re.compile(r"C-(?P<rater>[EFM])\d+:(?P<words>[^()]*)(\(.*)?")
_ATTRIBUTES = re.compile(r"A-[EFM]\d+:.*")
_SPOKEN = re.compile(r"(?P<id>Ses\S+)\s+\[[\d.]+\s*-\s*[\d.]+\]:(?P<words>.*)")
_RANGE = (0.0, 6.0)  # means slightly outside 1 to 5 occur in the release


@dataclass(frozen=True)
class Rated:
    """An utterance of an evaluation file; `where` is its place there.

    `emotion` is a value of `EMOTIONS`, or None without agreement; `votes` has the set of emotions
    of each evaluator, without the actors' own; attributes are on the file's scale from 1 to 5.
    """

    id: str
    start: float
    end: float
    sex: str
    emotion: str | None
    valence: float
    activation: float
    dominance: float
    where: str
    votes: list[frozenset[str]] = field(default_factory=list)


def read_evaluation(path: Path) -> list[Rated]:
    """The utterances of an evaluation file, in order of time.

    Raises `LabelError` with file and line for a line of no known form, an unknown emotion, an
    attribute off its scale, an utterance of another dialogue, or one that occurs twice.
    """
    found: dict[str, Rated] = {}
    current: Rated | None = None
    for where, line in _numbered(path):
        if line.startswith("["):
            current = _head(line, path.stem, where)
            first = found.setdefault(current.id, current)
            if first is not current:
                raise LabelError(
                    f"{current.id} is rated twice, first at {first.where}", where=where
                )
        elif line.startswith("C-"):
            _vote(line, _of(current, where), where)
        elif _ATTRIBUTES.fullmatch(line):
            _of(current, where)
        else:
            raise LabelError(
                f"not a line of an evaluation: {line[:80]!r}",
                where=where,
                hint="compare the file with the release, and copy it again",
            )
    return sorted(found.values(), key=lambda one: (one.start, one.end, one.id))


def read_transcriptions(path: Path) -> dict[str, str]:
    """The words of each utterance in a file of `dialog/transcriptions`.

    Lines of another form than `Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.` that name no
    utterance are remarks. Raises `LabelError` with file and line for one that does.
    """
    found: dict[str, str] = {}
    for where, line in _numbered(path):
        match = _SPOKEN.fullmatch(line)
        if match is not None:
            found[match["id"]] = match["words"].strip()
        elif line.startswith("Ses"):
            raise LabelError(
                f"not a transcription: {line[:80]!r}",
                where=where,
                hint="expected one such as Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.",
            )
    return found


def _numbered(path: Path) -> Iterator[tuple[str, str]]:
    """The place and the text of each line, without empty lines and the header."""
    for number, line in enumerate(read_lines(path), 1):
        if line.strip() and not line.startswith("%"):
            yield f"{path}, line {number}", line.strip()


def _of(current: Rated | None, where: str) -> Rated:
    if current is None:
        raise LabelError("a rating before the line of its utterance", where=where)
    return current


def _head(line: str, dialogue: str, where: str) -> Rated:
    match = _HEAD.fullmatch(line)
    if match is None:
        raise LabelError(
            f"not the first line of an utterance: {line[:80]!r}",
            where=where,
            hint="expected [START - END], name, emotion and [V, A, D], separated by tabs",
        )
    name = _ID.fullmatch(match["id"])
    if name is None or name["dialogue"] != dialogue:
        raise LabelError(f"{match['id']!r} is no utterance of {dialogue}", where=where)
    if match["code"] not in (*EMOTIONS, NO_MAJORITY):
        known = f"known: {', '.join((*EMOTIONS, NO_MAJORITY))}"
        raise LabelError(f"unknown emotion {match['code']!r}", where=where, hint=known)
    start, end = (_number(match[part], (0, float("inf")), where) for part in ("start", "end"))
    valence, activation, dominance = (_number(match[part], _RANGE, where) for part in "vad")
    return Rated(
        id=match["id"],
        start=start,
        end=end,
        sex=name["sex"],
        emotion=EMOTIONS.get(match["code"]),
        valence=valence,
        activation=activation,
        dominance=dominance,
        where=where,
    )


def _number(text: str, bounds: tuple[float, float], where: str) -> float:
    low, high = bounds
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise LabelError(f"{text!r} is not a number from {low:g} to {high:g}", where=where)
    return number


def _vote(line: str, rated: Rated, where: str) -> None:
    """Add an evaluator's emotions to the votes of an utterance."""
    match = _RATER.fullmatch(line)
    if match is None:
        raise LabelError(
            f"not a rating: {line[:80]!r}", where=where, hint="expected C-E1:, emotions and ()"
        )
    words = [word.strip().lower() for word in match["words"].split(";")]
    unknown = [word for word in words if word and word not in RATED]
    if unknown:
        known = f"known: {', '.join(RATED)}"
        raise LabelError(f"unknown emotion {unknown[0]!r}", where=where, hint=known)
    if match["rater"] == "E":
        rated.votes.append(frozenset(RATED[word] for word in words if word))
