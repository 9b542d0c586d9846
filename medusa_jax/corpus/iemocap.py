"""IEMOCAP (Busso et al. 2008): two actors a session, in scripted and improvised dialogues."""

from pathlib import Path

import numpy as np

from medusa_jax.corpus.assembly import assemble, measure
from medusa_jax.corpus.iemocap_labels import Rated, read_evaluation, read_transcriptions
from medusa_jax.corpus.table import NO_AGREEMENT, OTHER, Corpus
from medusa_jax.errors import CorpusError

LABEL_SETS = {
    4: ("angry", "happy", "neutral", "sad"),
    5: ("angry", "frustrated", "happy", "neutral", "sad"),
    6: ("angry", "excited", "frustrated", "happy", "neutral", "sad"),
}
SESSIONS = {1: "train", 2: "train", 3: "train", 4: "development", 5: "test1"}
"""The split of each session, since the release has none: sessions share no speaker."""
EVALUATIONS = "dialog/EmoEvaluation"
TRANSCRIPTIONS = "dialog/transcriptions"
SENTENCES = "sentences/wav"

_GENDERS = {"F": "female", "M": "male"}


def read_iemocap(
    root: Path, *, label_set: int = 6, merge_excited: bool = False, soft_labels: str = "primary"
) -> Corpus:
    """The utterances of `Session1` to `Session5` in `root`, by dialogue and time.

    `label_set` is 4, 5 or 6 classes (`LABEL_SETS`); with `merge_excited`, excited counts as
    happy. The consensus is the file's. An utterance of another emotion stays as context with
    `other`, one without agreement with `no_agreement`. Each emotion that an evaluator chose is a
    vote, once for each class and evaluator; the actors' own ratings are none. Attributes from 1
    to 5 are mapped to 1 to 7. Without any WAV file `audio` is empty throughout. Raises
    `CorpusError` or `LabelError`, with file and line.
    """
    classes = _classes(label_set, merge_excited)
    parts = _evaluations(root)
    dialogues = [(session, path, read_evaluation(path)) for session, path in parts]
    rows = [one for _, _, rated in dialogues for one in rated]
    audio = _audio(root, dialogues)
    votes = _votes(rows, classes, merge_excited)
    plain = {
        "id": [one.id for one in rows],
        "audio": audio,
        "seconds": measure(root, audio) if any(audio) else [one.end - one.start for one in rows],
        "split": [SESSIONS[session] for session, _, rated in dialogues for _ in rated],
        "speaker": [one.id[:5] + one.sex for one in rows],
        "gender": [_GENDERS[one.sex] for one in rows],
        "consensus": [_consensus(one.emotion, classes, merge_excited) for one in rows],
        "arousal": _widened([one.activation for one in rows]),
        "valence": _widened([one.valence for one in rows]),
        "dominance": _widened([one.dominance for one in rows]),
        "transcript": _transcripts(dialogues),
        "dialogue": [path.stem for _, path, rated in dialogues for _ in rated],
        "turn": [turn for _, _, rated in dialogues for turn in range(len(rated))],
    }
    frame = assemble(plain, votes, np.zeros_like(votes), classes, soft_labels)
    return Corpus(frame=frame, classes=classes, root=root, name="iemocap", soft_labels=soft_labels)


_Dialogues = list[tuple[int, Path, list[Rated]]]


def _classes(label_set: int, merge_excited: bool) -> tuple[str, ...]:
    if label_set not in LABEL_SETS:
        raise CorpusError(f"IEMOCAP has no label set of {label_set}", hint="choose 4, 5 or 6")
    if merge_excited and label_set == 6:
        raise CorpusError(
            "label set 6 has a class excited, which cannot be merged with happy",
            hint="choose label set 4 or 5, or leave out merge_excited",
        )
    return LABEL_SETS[label_set]


def _evaluations(root: Path) -> list[tuple[int, Path]]:
    """Session and evaluation file of each dialogue. Raises `CorpusError` if there are none."""
    found = []
    for session in SESSIONS:
        folder = root / f"Session{session}" / EVALUATIONS
        paths = sorted(folder.glob("Ses*.txt"))  # the release has files named ._Ses…, too
        for path in paths:
            if not path.name.startswith(f"Ses{session:02d}"):
                raise CorpusError(f"a dialogue of another session than {session}", where=path)
            found.append((session, path))
    if not found:
        raise CorpusError(
            "no evaluation of a dialogue found",
            where=root,
            hint=f"expected Session1/{EVALUATIONS}/Ses01F_impro01.txt, as in the release",
        )
    return found


def _audio(root: Path, dialogues: _Dialogues) -> list[str]:
    """Path of each utterance's WAV file; all empty if there is none at all."""
    paths = []
    for session, path, rated in dialogues:
        folder = f"Session{session}/{SENTENCES}/{path.stem}"
        present = {wav.name for wav in (root / folder).glob("Ses*.wav")}
        for one in rated:
            name = f"{one.id}.wav"
            paths.append((f"{folder}/{name}", one.where, name in present))
    if not any(there for _, _, there in paths):
        return [""] * len(paths)
    missing = [(wav, where) for wav, where, there in paths if not there]
    if missing:
        wav, where = missing[0]
        raise CorpusError(
            f"{len(missing)} of {len(paths)} WAV files are missing, the first is {root / wav}",
            where=where,
            hint="copy them from the release, or remove the lines of these utterances",
        )
    return [wav for wav, _, _ in paths]


def _votes(rows: list[Rated], classes: tuple[str, ...], merge_excited: bool) -> np.ndarray:
    """Votes `[b, c+1]` int64 of the evaluators, `other` last."""
    column = {name: i for i, name in enumerate((*classes, OTHER))}
    votes = np.zeros((len(rows), len(column)), np.int64)
    for i, one in enumerate(rows):
        for words in one.votes:
            for name in {_class(word, classes, merge_excited) for word in words}:
                votes[i, column[name]] += 1
    return votes


def _consensus(emotion: str | None, classes: tuple[str, ...], merge_excited: bool) -> str:
    return NO_AGREEMENT if emotion is None else _class(emotion, classes, merge_excited)


def _class(emotion: str, classes: tuple[str, ...], merge_excited: bool) -> str:
    """The class of an emotion, or `other`."""
    if merge_excited and emotion == "excited":
        return "happy"
    return emotion if emotion in classes else OTHER


def _widened(means: list[float]) -> np.ndarray:
    """Attributes from 1 to 5 on the scale from 1 to 7."""
    return 1 + (np.clip(np.array(means, np.float64), 1, 5) - 1) * (6 / 4)


def _transcripts(dialogues: _Dialogues) -> list[str]:
    """The words of each utterance. Raises `CorpusError` for one without a transcription."""
    words = []
    for _, path, rated in dialogues:
        source = path.parents[2] / TRANSCRIPTIONS / path.name
        found = read_transcriptions(source)
        for one in rated:
            if one.id not in found:
                raise CorpusError(
                    f"{one.id} has no line in {source}",
                    where=one.where,
                    hint="copy the transcriptions of the release again",
                )
            words.append(found[one.id])
    return words
