"""A folder in the layout of IEMOCAP's release: generated sound, ratings and words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
CODES = ("neu", "ang", "exc", "hap", "sad", "fru", "xxx", "fea")
"""The emotions of the utterances, in turn."""
_WORDS = {
    "neu": "Neutral",
    "ang": "Anger",
    "exc": "Excited",
    "hap": "Happiness",
    "sad": "Sadness",
    "fru": "Frustration",
    "fea": "Fear",
}
_HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"


def write_iemocap(
    root: Path,
    *,
    sessions: Sequence[int] = (1, 2, 3, 4, 5),
    scenes: Sequence[str] = ("impro01", "script01_1"),
    turns: int = 8,
    sound: bool = True,
) -> Path:
    """Write `sessions` of two actors, each with `scenes` of `turns` utterances, and return `root`.

    The actors take turns; the emotions are `CODES` in another order in each dialogue.
    """
    for session in sessions:
        for number, scene in enumerate(scenes):
            lead = "FM"[number % 2]
            name = f"Ses{session:02d}{lead}_{scene}"
            _write_dialogue(root / f"Session{session}", name, session + number, turns, sound)
    return root


def _write_dialogue(session: Path, name: str, shift: int, turns: int, sound: bool) -> None:
    rng = np.random.default_rng([shift, turns])
    blocks, spoken, clock = [_HEADER, ""], [], 6.0
    for turn in range(turns):
        id = f"{name}_{'FM'[turn % 2]}{turn // 2:03d}"
        code = CODES[(turn + shift) % len(CODES)]
        start, clock = clock, clock + 0.3
        blocks += [_head(id, start, clock, code), *_ratings(code), ""]
        spoken.append(f"{id} [{start:08.4f}-{clock:08.4f}]: It is {_WORDS.get(code, 'odd')} today.")
        clock += 0.2
        if sound:
            path = session / "sentences" / "wav" / name / f"{id}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.normal(0, 0.1, int(0.3 * RATE)), RATE)
    spoken.insert(1, f"{'FM'[shift % 2]}: [LAUGHTER]")
    evaluation = session / "dialog" / "EmoEvaluation"
    _write(evaluation / f"{name}.txt", blocks)
    (evaluation / f"._{name}.txt").write_bytes(b"\0\5\x16\7\xff")
    _write(evaluation / "Categorical" / f"{name}_e1_cat.txt", [f"{name}_F000 :Neutral state; ()"])
    _write(session / "dialog" / "transcriptions" / f"{name}.txt", spoken)


def _head(id: str, start: float, end: float, code: str) -> str:
    return f"[{start:.4f} - {end:.4f}]\t{id}\t{code}\t[2.5000, 3.0000, 3.5000]"


def _ratings(code: str) -> list[str]:
    """Three evaluators and the actor; of no agreement, three other emotions."""
    word = _WORDS.get(code, "Surprise")
    second = word if code in _WORDS else "Sadness"
    return [
        f"C-E2:\t{word};\t()",
        f"C-E3:\t{second}; Neutral;\t(calm; almost (too) calm)",
        f"C-E4:\t{word if code in _WORDS else 'Other'};\t()",
        "C-F1:\tDisgust;\t(curious)",
        "A-E3:\tval 3; act 2; dom  4;\t()",
        "A-M1:\tval 2; act ; dom  3;\t(mildly aggravated)",
    ]


def _write(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
