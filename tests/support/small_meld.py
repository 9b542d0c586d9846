"""A folder in MELD's layout: a few dialogues as CSV files, with or without audio."""

import csv
from pathlib import Path

import numpy as np
import soundfile

from medusa_jax.corpus.meld import FILES

EMOTIONS = ("neutral", "joy", "anger", "surprise", "sadness", "fear", "disgust")
SPEAKERS = ("Joey", "Rachel", "Ross", "The Waiter")
HEADER = [
    *("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"),
    *("Season", "Episode", "StartTime", "EndTime"),
]


def write_meld(root: Path, *, dialogues: int = 3, turns: int = 7, sound: bool = False) -> Path:
    """Write the three CSV files, each with `dialogues` of `turns`, and return `root`."""
    root.mkdir(parents=True, exist_ok=True)
    for split, file in FILES.items():
        rows = []
        for number in range(dialogues * turns):
            dialogue, turn = divmod(number, turns)
            emotion = EMOTIONS[(dialogue + turn) % len(EMOTIONS)]
            speaker = SPEAKERS[(dialogue + turn) % (2 + dialogue % 3)]
            start = f"00:16:{turn * 2:02d},059"
            words = f"{split}, I’d call it {emotion}"
            row = [number + 1, words, speaker, emotion, "-", dialogue, turn, 8, 21]
            rows.append([*row, start, f"00:16:{turn * 2 + 1:02d},559"])
            if sound:
                write_sound(root / split / f"dia{dialogue}_utt{turn}.wav")
        write_rows(root / file, rows)
    return root


def write_rows(path: Path, rows: list[list[object]]) -> None:
    """Write a CSV file with MELD's header."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])


def write_sound(path: Path, seconds: float = 0.3) -> None:
    """Write a WAV file of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 0.1, int(16_000 * seconds))
    soundfile.write(path, noise, 16_000)
