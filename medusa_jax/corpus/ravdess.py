"""RAVDESS (Livingstone & Russo 2018), read from its file names.

`03-01-06-01-02-01-12.wav`: modality, vocal channel, emotion, intensity, statement, repetition,
actor.
"""

import re
from pathlib import Path

import numpy as np

from medusa_jax.corpus.assembly import assemble, measure
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError, LabelError

CLASSES = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")

_AUDIO_ONLY, _SPEECH = "03", "01"
_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")


def read_ravdess(root: Path) -> Corpus:
    """The speech clips below `root` (`.wav` or `.flac`, in `Actor_01/` or flat), sorted by id.

    The id is the file name without its suffix. The acted emotion is the only vote, and all clips
    are in `train` (folds: `medusa_jax.corpus.splits.speaker_folds`). Song and video files are
    skipped. Raises `LabelError` for an audio file with another kind of name, `CorpusError` if no
    clip is found or a clip is found twice.
    """
    clips = _clips(root)
    codes = [stem.split("-") for stem in clips]
    audio = [path.relative_to(root).as_posix() for path in clips.values()]
    emotion = np.array([int(code[2]) - 1 for code in codes])
    votes = np.zeros((len(clips), len(CLASSES) + 1), np.int64)
    votes[np.arange(len(clips)), emotion] = 1
    plain = {
        "id": list(clips),
        "audio": audio,
        "seconds": measure(root, audio),
        "split": ["train"] * len(clips),
        "speaker": [code[6] for code in codes],
        "gender": ["male" if int(code[6]) % 2 else "female" for code in codes],
        "consensus": [CLASSES[i] for i in emotion],
        "transcript": [STATEMENTS[int(code[4]) - 1] for code in codes],
    }
    return Corpus(
        frame=assemble(plain, votes, np.zeros_like(votes), CLASSES),
        classes=CLASSES,
        root=root,
        name="ravdess",
    )


def _clips(root: Path) -> dict[str, Path]:
    clips: dict[str, Path] = {}
    for path in sorted(
        (p for p in root.rglob("*") if p.suffix.lower() in (".wav", ".flac")),
        key=lambda p: (p.stem, str(p)),
    ):
        match = _NAME.fullmatch(path.stem)
        if match is None:
            raise LabelError(
                "not a RAVDESS file name",
                where=path,
                hint="expected seven numbers such as 03-01-06-01-02-01-12.wav; remove other audio",
            )
        if match[1] != _AUDIO_ONLY or match[2] != _SPEECH:
            continue
        if path.stem in clips:
            raise CorpusError(
                f"duplicate clip {path.stem}",
                where=path,
                hint=f"remove it or {clips[path.stem]}",
            )
        clips[path.stem] = path
    if not clips:
        raise CorpusError(
            "no RAVDESS speech clip found",
            where=root,
            hint="expected files such as Actor_01/03-01-01-01-01-01-01.wav",
        )
    return clips
