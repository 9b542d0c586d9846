"""Generated conversations in the layout of MSP-Podcast, with turns and a visual stream.

Beside the files of that layout the folder has `ASR/<stem>.txt`, as the other generated corpus,
`Conversations.csv` (FileName, dialogue, turn) and `Visual/<stem>.npy`, action units `[t, 17]` ten
times a second. The model of moods and of the streams is `medusa_jax.synthetic.moods`.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.io import wavfile

from medusa_jax.audio.decode import RATE
from medusa_jax.corpus.labels import CLASSES
from medusa_jax.corpus.msp_layout import AUDIOS, write_msp_podcast_labels
from medusa_jax.corpus.turns import TURNS
from medusa_jax.errors import ConfigError
from medusa_jax.synthetic import phrases, raters
from medusa_jax.synthetic.face import Face, action_units
from medusa_jax.synthetic.folder import ASR, write_generated, write_plain
from medusa_jax.synthetic.moods import EMOTIONS, draw_dialogues
from medusa_jax.synthetic.prosody import AFFECT, Voice, affect_of, prosody
from medusa_jax.synthetic.voice import speak

VERSION = 1
"""Version of this generator: raised whenever equal arguments give other files than before."""
VISUAL = "Visual"
SMALLEST = 100
EXPRESSIVE = 2.4
"""Factor on the expressiveness of voices: a stream must carry more here than on podcasts."""
_AGREED = 0.35
"""Share of the mixture that raters perceive which context settles."""

_README = """This corpus is synthetic.

All voices, faces, words, raters and labels in this folder were generated (medusa-jax, generator of
conversations, version {version}, seed {seed}). The folder has the layout of MSP-Podcast and none of
its content. Numbers measured here show if a pipeline works; they show nothing about its performance
on real emotions and cannot be compared with published scores.

Audios/            16 kHz mono; {size} utterances
Labels/            consensus and single votes of simulated raters
Transcripts/       reference transcripts
ASR/               transcripts of a simulated speech recogniser
Visual/            intensities of 17 action units, ten frames a second
Conversations.csv  dialogue and turn of each utterance
"""


@dataclass(frozen=True)
class _Speaker:
    voice: Voice
    face: Face


def generate_conversations(root: Path, *, size: int = 2000, seed: int = 0) -> Path:
    """Write dialogues with `size` utterances in all to `root`; return `root`.

    Equal arguments give byte-identical files. `root` appears whole or not at all; an existing
    corpus of the same arguments is kept. Raises `CorpusError` if `root` contains anything else or
    cannot be written, `ConfigError` for a size too small for three splits.
    """
    root = Path(root)
    _check(size, seed)
    marker = {"conversations_version": VERSION, "seed": seed, "size": size, "classes": [*EMOTIONS]}

    def write(folder: Path) -> None:
        _write(folder, size, seed)
        readme = _README.format(version=VERSION, seed=seed, size=size)
        write_plain(folder / "README.txt", readme)

    return write_generated(root, marker, write)


def _check(size: int, seed: int) -> None:
    if size < SMALLEST:
        raise ConfigError(
            f"{size} utterances are too few for conversations in every split",
            hint=f"ask for at least {SMALLEST}",
        )
    if seed < 0:
        raise ConfigError(f"the seed {seed} is negative", hint="use 0 or more")


def _write(folder: Path, size: int, seed: int) -> None:
    table = draw_dialogues(size, seed)
    speakers = _speakers(int(table["speaker"].max()) + 1, seed)
    utterances, ratings = _labelled(table, speakers, seed)
    for part in (AUDIOS, ASR, VISUAL):
        (folder / part).mkdir(parents=True)
    for number, row in enumerate(table.to_dict("records")):
        rng = np.random.default_rng([seed, 3, number])
        _perform(folder, utterances.iloc[number], row, speakers[row["speaker"]], rng)
    write_msp_podcast_labels(folder, ratings, utterances)
    turns = utterances[["FileName", "dialogue", "turn"]]
    turns.to_csv(folder / TURNS, index=False, lineterminator="\n")


def _speakers(count: int, seed: int) -> list[_Speaker]:
    rng = np.random.default_rng([seed, 1])
    speakers = []
    for number in range(count):
        voice = Voice.draw("Female" if number % 2 == 0 else "Male", rng)
        louder = Voice(
            voice.gender,
            voice.pitch_hz,
            voice.tract,
            EXPRESSIVE * voice.expressiveness,
            voice.habits,
        )
        speakers.append(_Speaker(louder, Face.draw(rng)))
    return speakers


def _labelled(
    table: pd.DataFrame, speakers: list[_Speaker], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows for the label files, with recognised words, dialogue and turn; and ratings."""
    rng = np.random.default_rng([seed, 2])
    words = [_words(shown, rng) for shown in table["words"]]
    numbers = zip(table["dialogue"], table["turn"], strict=True)
    utterances = pd.DataFrame(
        {
            "FileName": [f"DIALOGUE_{d + 1:04d}_{turn + 1:02d}.wav" for d, turn in numbers],
            "SpkrID": [str(1000 + speaker) for speaker in table["speaker"]],
            "Gender": [speakers[speaker].voice.gender for speaker in table["speaker"]],
            "Split_Set": table["split"],
            "transcript": words,
            "asr": [phrases.recognised(text, rng) for text in words],
            "dialogue": [f"dialogue-{number + 1:04d}" for number in table["dialogue"]],
            "turn": table["turn"],
        }
    )
    heard_bc = _heard(table["emotion"].map(CLASSES.index).to_numpy(), rng)
    ratings = raters.rate(
        utterances["FileName"].tolist(),
        heard_bc,
        affect_of(heard_bc),
        raters.Pool.draw(rng),
        rng,
        EMOTIONS,
    )
    return utterances, ratings


def _words(shown: str, rng: np.random.Generator) -> str:
    return phrases.utterance_text(shown, float(AFFECT[CLASSES.index(shown), 1]), rng)


def _heard(emotion_b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mixtures `[b, c]` that raters perceive: confused as on CREMA-D, the emotion in front."""
    heard_bc = raters.heard(emotion_b, rng.beta(4.0, 1.0, len(emotion_b)), rng)
    heard_bc = heard_bc * np.isin(CLASSES, EMOTIONS)
    heard_bc /= heard_bc.sum(axis=1, keepdims=True)
    rows, largest_b = np.arange(len(emotion_b)), heard_bc.argmax(axis=1)
    most_b, own_b = heard_bc[rows, largest_b], heard_bc[rows, emotion_b]
    heard_bc[rows, largest_b], heard_bc[rows, emotion_b] = own_b, most_b
    return (1 - _AGREED) * heard_bc + _AGREED * np.eye(len(CLASSES))[emotion_b]


def _perform(
    folder: Path,
    utterance: pd.Series,
    row: Mapping[Hashable, Any],
    speaker: _Speaker,
    rng: np.random.Generator,
) -> None:
    """Write sound, face and recognised words of one utterance."""
    stem = Path(utterance["FileName"]).stem
    voiced_c = _mixed(str(row["voice"]), _strength(row["voice_clarity"]))
    wave_n = speak(
        utterance["transcript"], speaker.voice, prosody(voiced_c, speaker.voice, rng), rng
    )
    wavfile.write(folder / AUDIOS / f"{stem}.wav", RATE, np.rint(wave_n * 32767).astype(np.int16))
    seen_tu = action_units(
        str(row["face"]), _strength(row["face_clarity"]), speaker.face, wave_n, rng
    )
    np.save(folder / VISUAL / f"{stem}.npy", seen_tu, allow_pickle=False)
    write_plain(folder / ASR / f"{stem}.txt", utterance["asr"] + "\n")


def _strength(clarity: float) -> float:
    """Size of an expression: clear ones are large, so that a model can weigh the streams."""
    return 0.4 + 0.6 * clarity


def _mixed(emotion: str, strength: float) -> np.ndarray:
    """A mixture `[c]` of `emotion` and neutral."""
    mixture_c = np.zeros(len(CLASSES))
    mixture_c[CLASSES.index("neutral")] = 1 - strength
    mixture_c[CLASSES.index(emotion)] += strength
    return mixture_c
