"""Generated speech in the layout of MSP-Podcast, to try the whole system without a licence.

Beside the files of that layout it writes `ASR/<stem>.txt`, a simulated recogniser's transcript of
every utterance (the pipeline reads these, in all splits alike), `Answers/test3.csv`, the labels
that the challenge hides, and `synthetic.json`, which marks the corpus as synthetic.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import wavfile

from medusa_jax.audio.decode import RATE
from medusa_jax.corpus.labels import LETTER_OF
from medusa_jax.corpus.msp_layout import AUDIOS, write_msp_podcast_labels
from medusa_jax.errors import ConfigError
from medusa_jax.synthetic.cast import Cast, cast
from medusa_jax.synthetic.folder import ASR, write_generated, write_plain
from medusa_jax.synthetic.prosody import prosody
from medusa_jax.synthetic.voice import speak

VERSION = 1
"""Version of the generator: raised whenever equal arguments give other files than before."""
ANSWERS = "Answers/test3.csv"
SMALLEST = 60

_README = """This corpus is synthetic.

All voices, words, raters and labels in this folder were generated (medusa-jax, generator version
{version}, seed {seed}). The folder has the layout of MSP-Podcast and none of its content. Numbers
measured here show if a pipeline works; they show nothing about its performance on real emotions
and cannot be compared with published scores.

Audios/            16 kHz mono; {size} labelled utterances, and {per_class} of each class in test3
Labels/            consensus and single votes of simulated raters (Train, Development)
Transcripts/       reference transcripts (Train, Development)
ASR/               transcripts of a simulated speech recogniser (all splits)
Answers/test3.csv  the labels of test3, for scoring only
"""


def generate(root: Path, *, size: int = 800, test_per_class: int = 20, seed: int = 0) -> Path:
    """Write `size` labelled utterances and 8 × `test_per_class` of test3 to `root`; return `root`.

    Equal arguments give byte-identical files. `root` appears whole or not at all; an existing
    corpus of the same arguments is kept. Raises `CorpusError` if `root` contains anything else or
    cannot be written, `ConfigError` for sizes too small for a corpus.
    """
    root = Path(root)
    _check(size, test_per_class, seed)
    marker = {
        "generator_version": VERSION,
        "seed": seed,
        "size": size,
        "test_per_class": test_per_class,
    }

    def write(folder: Path) -> None:
        _write(folder, cast(size, test_per_class, seed), seed)
        readme = _README.format(version=VERSION, seed=seed, size=size, per_class=test_per_class)
        write_plain(folder / "README.txt", readme)

    return write_generated(root, marker, write)


def _check(size: int, test_per_class: int, seed: int) -> None:
    if size < SMALLEST:
        raise ConfigError(
            f"{size} utterances are too few for every class in every split",
            hint=f"ask for at least {SMALLEST}",
        )
    if test_per_class < 1:
        raise ConfigError(
            f"test3 cannot have {test_per_class} utterances of each class",
            hint="ask for at least 1",
        )
    if seed < 0:
        raise ConfigError(f"the seed {seed} is negative", hint="use 0 or more")


def _write(folder: Path, plan: Cast, seed: int) -> None:
    utterances = plan.utterances
    hidden = utterances["Split_Set"] == "Test3"
    for part in (AUDIOS, ASR, str(Path(ANSWERS).parent)):
        (folder / part).mkdir(parents=True)
    rows = utterances[["FileName", "transcript", "asr"]].astype(str)
    for number, (name, words, asr) in enumerate(rows.itertuples(index=False)):
        rng = np.random.default_rng([seed, 1, number])
        voice = plan.voices[number]
        wave_n = speak(words, voice, prosody(plan.heard_bc[number], voice, rng), rng)
        wavfile.write(folder / AUDIOS / name, RATE, np.rint(wave_n * 32767).astype(np.int16))
        write_plain(folder / ASR / f"{Path(name).stem}.txt", asr + "\n")
    published = plan.ratings[~plan.ratings["FileName"].isin(utterances["FileName"][hidden])]
    transcripts = utterances["transcript"].mask(hidden, None)
    write_msp_podcast_labels(folder, published, utterances.assign(transcript=transcripts))
    _answers(plan).to_csv(folder / ANSWERS, index=False, lineterminator="\n")


def _answers(plan: Cast) -> pd.DataFrame:
    """The hidden labels, sorted by name: FileName, EmoClass, EmoAct, EmoVal, EmoDom.

    EmoClass is a letter, the attributes are means over raters.
    """
    tested = plan.utterances[plan.utterances["Split_Set"] == "Test3"]
    means = plan.ratings.groupby("FileName")[["EmoAct", "EmoVal", "EmoDom"]].mean()
    table = tested[["FileName"]].assign(EmoClass=tested["consensus"].map(LETTER_OF))
    return table.join(means, on="FileName").sort_values("FileName", ignore_index=True)
