"""The embedded default corpus: generated speech in MSP-Podcast's exact layout, for trying the whole system without a licence.

Beside the layout's own files (spec/corpus_and_challenge.md) it writes `ASR/<stem>.txt`, a simulated recogniser's transcript of every
utterance (what the pipeline reads, in every split alike), `Answers/test3.csv`, the labels hidden from the challenge's side of
the corpus, and `synthetic.json`, by which readers know that no number measured on it is about people.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import wavfile

from medusa_jax.audio.decode import RATE
from medusa_jax.corpus.labels import LETTER_OF
from medusa_jax.corpus.msp_layout import AUDIOS, SYNTHETIC_NOTE, write_msp_podcast_labels
from medusa_jax.errors import ConfigError, CorpusError
from medusa_jax.files import sync_folder
from medusa_jax.synthetic.cast import Cast, cast
from medusa_jax.synthetic.prosody import prosody
from medusa_jax.synthetic.voice import speak

VERSION = 1
"""Of the generator: raised whenever equal arguments give other files than before."""
ANSWERS, ASR = "Answers/test3.csv", "ASR"
SMALLEST = 60

_README = """This corpus is synthetic.

A program made every voice, word, rater and label in this folder (medusa-jax, generator version {version}, seed {seed}).
It has the layout of MSP-Podcast and holds nothing of it. Numbers measured here say whether a pipeline works;
they say nothing about how well it hears emotion in people, and cannot be compared with published scores.

Audios/            16 kHz mono; {size} labelled utterances and test3, {per_class} utterances of each class
Labels/            consensus and single votes of simulated raters (Train, Development)
Transcripts/       what was said (Train, Development)
ASR/               what a simulated speech recogniser understood (all splits)
Answers/test3.csv  the labels of test3, for scoring only
"""


def generate(root: Path, *, size: int = 800, test_per_class: int = 20, seed: int = 0) -> Path:
    """Write a corpus of `size` labelled utterances (Train, Development) and 8 × `test_per_class` of test3 to `root`; return `root`.

    Equal arguments give byte-identical files. `root` appears whole or not at all; a corpus that these arguments made before is
    kept as it is. Raises `CorpusError` if `root` holds anything else or cannot be written, `ConfigError` for sizes that make no corpus.
    """
    root = Path(root)
    _check(size, test_per_class, seed)
    marker = {
        "generator_version": VERSION,
        "seed": seed,
        "size": size,
        "test_per_class": test_per_class,
    }
    if _reusable(root, marker):
        return root
    try:
        _write_whole(root, marker)
    except OSError as error:
        # Another process may have been faster: then its corpus is ours.
        if not _reusable(root, marker):
            what = f"cannot write the generated corpus: {error.strerror or error}"
            raise CorpusError(
                what, where=root, hint="free some space, or choose another folder"
            ) from error
    return root


def is_synthetic(root: Path) -> bool:
    """Whether the corpus in `root` says of itself that it was generated."""
    return (Path(root) / SYNTHETIC_NOTE).is_file()


def _check(size: int, test_per_class: int, seed: int) -> None:
    if size < SMALLEST:
        raise ConfigError(
            f"a generated corpus of {size} utterances cannot hold every class in every split",
            hint=f"ask for at least {SMALLEST}",
        )
    if test_per_class < 1:
        raise ConfigError(
            f"test3 cannot have {test_per_class} utterances of each class",
            hint="ask for at least 1",
        )
    if seed < 0:
        raise ConfigError(f"the seed {seed} is negative", hint="take 0 or more")


def _reusable(root: Path, marker: dict[str, int]) -> bool:
    """Whether `root` is the corpus that `marker` describes; False where nothing is. Raises `CorpusError` for anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / SYNTHETIC_NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != marker:
        raise CorpusError(
            "the folder holds something else than the corpus to generate"
            if found is None
            else f"the folder holds another generated corpus: {found}",
            where=root,
            hint="choose another folder, or remove this one yourself",
        )
    return True


def _write_whole(root: Path, marker: dict[str, int]) -> None:
    size, per_class, seed = marker["size"], marker["test_per_class"], marker["seed"]
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=root.parent, prefix=f".{root.name}.", suffix=".tmp"
    ) as temporary:
        folder = Path(temporary) / "corpus"
        _write(folder, cast(size, per_class, seed), seed)
        (folder / "README.txt").write_text(
            _README.format(version=VERSION, seed=seed, size=size, per_class=per_class),
            encoding="utf-8",
            newline="\n",
        )
        (folder / SYNTHETIC_NOTE).write_text(
            json.dumps(marker, indent=1) + "\n", encoding="utf-8", newline="\n"
        )
        folder.replace(root)
        sync_folder(root.parent)


def _write(folder: Path, plan: Cast, seed: int) -> None:
    utterances = plan.utterances
    hidden = utterances["Split_Set"] == "Test3"
    for part in (AUDIOS, ASR, str(Path(ANSWERS).parent)):
        (folder / part).mkdir(parents=True)
    for number, (name, text, asr) in enumerate(
        zip(
            *(map(str, utterances[column]) for column in ("FileName", "transcript", "asr")),
            strict=True,
        )
    ):
        rng = np.random.default_rng([seed, 1, number])
        voice = plan.voices[number]
        wave_n = speak(text, voice, prosody(plan.heard_bc[number], voice, rng), rng)
        wavfile.write(folder / AUDIOS / name, RATE, np.rint(wave_n * 32767).astype(np.int16))
        (folder / ASR / f"{Path(name).stem}.txt").write_text(
            asr + "\n", encoding="utf-8", newline="\n"
        )
    told = plan.ratings[~plan.ratings["FileName"].isin(utterances["FileName"][hidden])]
    write_msp_podcast_labels(
        folder, told, utterances.assign(transcript=utterances["transcript"].mask(hidden, None))
    )
    _answers(plan).to_csv(folder / ANSWERS, index=False, lineterminator="\n")


def _answers(plan: Cast) -> pd.DataFrame:
    """The hidden labels: FileName, EmoClass (one letter), EmoAct, EmoVal, EmoDom (means over raters), sorted by name."""
    tested = plan.utterances[plan.utterances["Split_Set"] == "Test3"]
    means = plan.ratings.groupby("FileName")[["EmoAct", "EmoVal", "EmoDom"]].mean()
    table = tested[["FileName"]].assign(EmoClass=tested["consensus"].map(LETTER_OF))
    return table.join(means, on="FileName").sort_values("FileName", ignore_index=True)
