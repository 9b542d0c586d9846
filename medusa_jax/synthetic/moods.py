"""Moods and emotions of generated conversations, and what each stream shows of them.

The model, in order; all numbers are assumptions, set so that no stream suffices alone:

1. Speakers belong to circles of five, and only speakers of one circle meet. Circles, and with them
   speakers, are disjoint between splits.
2. A dialogue has two to four speakers and 6 to 16 turns. Speakers have a mood, one of `EMOTIONS`,
   drawn from `PRIOR`. At each turn the speaker's mood stays (`STAYS`), becomes the mood of the
   speaker before (`INFECTS`), or is drawn again: a Markov process.
3. The emotion of the utterance is the mood (`FOLLOWS`), or another one from `PRIOR`.
4. Words, voice and face each show the emotion with the clarity of that utterance and stream, drawn
   from `CLARITY`. Otherwise they show the class that the stream confuses it with (`CONFUSES`, in
   a third of the cases) or any. No two streams confuse the same pair.

Raters judge the emotion itself, as people do who followed the conversation.
"""

import numpy as np
import pandas as pd

EMOTIONS = ("angry", "sad", "happy", "surprise", "disgust", "neutral")
"""Classes of generated conversations, in the order of `medusa_jax.corpus.labels.CLASSES`."""
PRIOR = np.array([0.17, 0.15, 0.19, 0.12, 0.11, 0.26])
STAYS, INFECTS, FOLLOWS = 0.30, 0.66, 0.95
STREAMS = ("words", "voice", "face")
CONFUSES = {
    "words": (("angry", "disgust"), ("happy", "neutral"), ("sad", "surprise")),
    "voice": (("angry", "happy"), ("sad", "disgust"), ("surprise", "neutral")),
    "face": (("sad", "neutral"), ("angry", "surprise"), ("happy", "disgust")),
}
CLARITY = {"words": (2.6, 1.5), "voice": (3.6, 1.0), "face": (2.0, 1.7)}
"""Parameters of the beta distribution of each stream's clarity."""
CIRCLE = 5
_PARTNER = 0.35
_TURNS = (6, 16)
_SPLITS = {"Train": 0.55, "Development": 0.15, "Test1": 0.30}
_FEWEST_CIRCLES = {"Train": 3, "Development": 1, "Test1": 1}
_PER_CIRCLE = 8
"""Dialogues of a circle."""
_AGAIN = 0.15
"""Share of turns whose speaker goes on."""


def draw_dialogues(size: int, seed: int) -> pd.DataFrame:
    """`size` turns in the order of dialogues and turns, a function of the arguments.

    Columns: dialogue and turn from 0; split; speaker, a number unique in the corpus; mood and
    emotion, of `EMOTIONS`; and for each of `STREAMS` the class that it shows and its clarity
    (`words_clarity`, …), 0 to 1.
    """
    rng = np.random.default_rng([seed, 0])
    lengths = _lengths(size, rng)
    splits, circles = _circles(len(lengths))
    rows: list[tuple[object, ...]] = []
    for dialogue, (turns, split, circle) in enumerate(zip(lengths, splits, circles, strict=True)):
        spoken = _dialogue(int(turns), int(circle), rng)
        rows += [(dialogue, turn, split, *row) for turn, row in enumerate(spoken)]
    names = ["dialogue", "turn", "split", "speaker", "mood", "emotion"]
    table = pd.DataFrame(rows, columns=names)
    emotion_b = table["emotion"].map(EMOTIONS.index).to_numpy()
    for stream in STREAMS:
        shown_b, clarity_b = shown(emotion_b, stream, rng)
        table[stream] = np.array(EMOTIONS, dtype=object)[shown_b]
        table[f"{stream}_clarity"] = clarity_b
    return table


def shown(
    emotion_b: np.ndarray, stream: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The class that `stream` shows of each emotion (indices into `EMOTIONS`), and its clarity."""
    pairs = CONFUSES[stream]
    partner = {EMOTIONS.index(a): EMOTIONS.index(b) for a, b in (*pairs, *_turned(pairs))}
    count = len(emotion_b)
    clarity_b = rng.beta(*CLARITY[stream], count)
    any_b = rng.integers(len(EMOTIONS), size=count)
    partner_b = np.array([partner[int(emotion)] for emotion in emotion_b])
    wrong_b = np.where(rng.random(count) < _PARTNER, partner_b, any_b)
    return np.where(rng.random(count) < clarity_b, emotion_b, wrong_b), clarity_b


def _turned(pairs: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [(b, a) for a, b in pairs]


def _lengths(size: int, rng: np.random.Generator) -> np.ndarray:
    """Turns of each dialogue, which add up to `size`."""
    fewest, most = _TURNS
    count = round(size / ((fewest + most) / 2))
    lengths = rng.integers(fewest, most + 1, count)
    while lengths.sum() != size:
        step = 1 if lengths.sum() < size else -1
        free = np.flatnonzero((lengths + step >= fewest) & (lengths + step <= most))
        lengths[rng.choice(free)] += step
    return lengths


def _circles(dialogues: int) -> tuple[list[str], list[int]]:
    """Split and circle of each dialogue; circles are numbered through all splits."""
    counts = {split: round(share * dialogues) for split, share in _SPLITS.items()}
    counts["Train"] += dialogues - sum(counts.values())
    splits: list[str] = []
    circles: list[int] = []
    first = 0
    for split, count in counts.items():
        of_split = max(_FEWEST_CIRCLES[split], round(count / _PER_CIRCLE))
        splits += [split] * count
        circles += [first + i % of_split for i in range(count)]
        first += of_split
    return splits, circles


def _dialogue(turns: int, circle: int, rng: np.random.Generator) -> list[tuple[int, str, str]]:
    """Speaker, mood and emotion of each turn."""
    present = rng.permutation(CIRCLE)[: rng.integers(2, 5)] + CIRCLE * circle
    moods = {int(speaker): _drawn(rng) for speaker in present}
    spoken: list[tuple[int, str, str]] = []
    for turn in range(turns):
        before = spoken[-1] if turn else None
        speaker = _next_speaker(list(moods), before, turn, rng)
        moods[speaker] = _next_mood(moods[speaker], before, rng)
        emotion = moods[speaker] if rng.random() < FOLLOWS else _drawn(rng)
        spoken.append((speaker, moods[speaker], emotion))
    return spoken


def _drawn(rng: np.random.Generator) -> str:
    return EMOTIONS[rng.choice(len(EMOTIONS), p=PRIOR)]


def _next_speaker(
    present: list[int], before: tuple[int, str, str] | None, turn: int, rng: np.random.Generator
) -> int:
    # The first turns introduce everybody, so that a dialogue has the speakers it was drawn with.
    if turn < len(present):
        return present[turn]
    if before and rng.random() < _AGAIN:
        return before[0]
    others = [speaker for speaker in present if before is None or speaker != before[0]]
    return others[rng.integers(len(others))]


def _next_mood(mood: str, before: tuple[int, str, str] | None, rng: np.random.Generator) -> str:
    kind = rng.random()
    if before is None or kind < STAYS:
        return mood
    return before[1] if kind < STAYS + INFECTS else _drawn(rng)
