"""Content of a corpus, with errors that harm training and warnings that do not."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from medusa_jax.audio.decode import RATE, read_audio, seconds_of
from medusa_jax.corpus.labels import consensus
from medusa_jax.corpus.splits import shared_speakers
from medusa_jax.corpus.table import NO_AGREEMENT, OTHER, SPLITS, Corpus
from medusa_jax.errors import AudioError

UNLABELLED = "no label"
_STALE_SECONDS = 0.05
"""Difference in length that means another file: a table has its lengths from the same headers."""


@dataclass(frozen=True)
class CorpusCheck:
    """The result of `check`, printed as tables by a rich console."""

    title: str
    counts: pd.DataFrame
    """Utterances by split and gender (rows) and consensus class (columns that occur)."""
    splits: pd.DataFrame
    """One row a split: utterances, hours, speakers, votes and utterances without class target.

    Votes are the mean, minimum and maximum per rated utterance. A corpus of conversations has
    dialogues, and the median and maximum of their turns.
    """
    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True if there is no error."""
        return not self.errors

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _table(self.title, self.splits)
        yield _table("utterances by consensus", self.counts)
        yield from (f"[red]error[/]    {_plain(line)}" for line in self.errors)
        yield from (f"[yellow]warning[/]  {_plain(line)}" for line in self.warnings)
        yield "[green]no errors[/]" if self.ok else f"[red]{len(self.errors)} error(s)[/]"


def check(corpus: Corpus, *, decode: bool = False) -> CorpusCheck:
    """Check every row and every audio file of `corpus`; problems are listed, not raised.

    By default audio is checked by its header. `decode` reads every sample, which also finds
    damage behind the header, NaN, and equal audio under two ids. A corpus may have no audio at
    all; where only some utterances have none, a warning counts them.
    """
    audio_errors, audio_warnings, seconds = _audio(corpus, decode)
    frame = corpus.frame.assign(seconds=seconds)
    label_errors, label_warnings = _labels(corpus)
    kind = " (synthetic speech)" if corpus.synthetic else ""
    text_only = ", no audio" if (corpus.frame["audio"] == "").all() else ""
    return CorpusCheck(
        title=f"{corpus.name}{kind}, {len(corpus)} utterances{text_only}",
        counts=_counts(frame, corpus.classes),
        splits=_splits(frame, corpus),
        errors=(*audio_errors, *label_errors),
        warnings=(*audio_warnings, *label_warnings, *_dialogues(corpus), *_strays(corpus)),
    )


@dataclass(frozen=True)
class _Sound:
    seconds: float
    rate: int = RATE
    digest: str = ""
    problem: str = ""
    warnings: tuple[str, ...] = ()


def _listen(path: Path, decode: bool) -> _Sound:
    try:
        seconds, rate = seconds_of(path), soundfile.info(path).samplerate
        sound = read_audio(path) if decode else None
    except (AudioError, soundfile.LibsndfileError) as error:
        return _Sound(float("nan"), problem=getattr(error, "what", "not readable as audio"))
    if sound is None:
        return _Sound(seconds, rate)
    return _Sound(
        seconds, rate, hashlib.sha256(sound.wave_n.tobytes()).hexdigest(), warnings=sound.warnings
    )


def _audio(corpus: Corpus, decode: bool) -> tuple[list[str], list[str], np.ndarray]:
    """Errors, warnings, and the measured or else the known seconds of every utterance."""
    silent = _Sound(float("nan"))

    def listen(name: str) -> _Sound:
        return _listen(corpus.root / name, decode) if name else silent

    with ThreadPoolExecutor(8) as pool:
        sounds = list(pool.map(listen, corpus.frame["audio"]))
    problems: dict[str, list[str]] = {}
    remarks: dict[str, list[str]] = {}
    for identity, sound in zip(corpus.frame["id"], sounds, strict=True):
        if sound.problem:
            problems.setdefault(sound.problem.split(":")[0], []).append(identity)
        for name in sound.warnings:
            remarks.setdefault(name, []).append(identity)
    errors = [f"{problem}: {_some(bad)}" for problem, bad in problems.items()]
    seconds = np.array([sound.seconds for sound in sounds], np.float64)
    known = corpus.frame["seconds"].to_numpy(np.float64)
    warnings = _audio_warnings(corpus.frame["id"], sounds, remarks)
    without = (corpus.frame["audio"] == "").to_numpy()
    if not without.all():
        warnings += _if(corpus.frame["id"][without].tolist(), "utterances without audio")
    stale = corpus.frame["id"][np.abs(seconds - known) > _STALE_SECONDS].tolist()
    warnings += _if(stale, "audio length differs from the table: build the table again")
    return errors, warnings, np.where(np.isnan(seconds), known, seconds)


def _audio_warnings(
    ids: pd.Series, sounds: list[_Sound], remarks: dict[str, list[str]]
) -> list[str]:
    odd, same = [], []
    copies = Counter(sound.digest for sound in sounds if sound.digest)
    for identity, sound in zip(ids, sounds, strict=True):
        if not sound.problem and sound.rate != RATE:
            odd.append(identity)
        if copies[sound.digest] > 1:
            same.append(identity)
    warnings = _if(odd, f"audio not at {RATE} Hz (it is resampled when read)")
    for name in sorted(remarks):
        warnings += _if(remarks[name], f"audio {name}")
    return warnings + _if(same, "the same sound under several ids")


def _labels(corpus: Corpus) -> tuple[list[str], list[str]]:
    """Errors and warnings of speakers, ids, votes and consensus."""
    frame = corpus.frame
    shared = shared_speakers(corpus, [(frame["split"] == split).to_numpy() for split in SPLITS])
    repeated = frame["id"][frame["id"].duplicated()].tolist()
    errors = _if(repeated, "duplicate ids")
    if not corpus.conversational:
        errors = _if(shared, "speakers on both sides of a split") + errors
    votes = frame[[f"votes_{name}" for name in (*corpus.classes, OTHER)]].to_numpy(np.int64)
    given, counted = frame["consensus"].astype(object), consensus(votes, corpus.classes)
    voted = votes.sum(axis=1) > 0
    train = (frame["split"] == "train").to_numpy()
    found = {
        "the consensus is not the plurality of the votes": voted
        & given.notna().to_numpy()
        & (given.to_numpy() != counted),
        "a consensus but no votes (the soft label is that class, or the source's own)": ~voted
        & given.isin(corpus.classes).to_numpy(),
        "unknown speaker in train: splits may not be speaker-disjoint": train
        & frame["speaker"].isna().to_numpy(),
        "no label in train": train & given.isna().to_numpy(),
    }
    warnings = []
    for what, rows in found.items():
        warnings += _if(frame["id"][rows].tolist(), what)
    return errors, warnings


def _dialogues(corpus: Corpus) -> list[str]:
    """Warnings of a corpus of conversations, whose main speakers may be in every split."""
    if not corpus.conversational:
        return []
    frame = corpus.frame
    shared = shared_speakers(corpus, [(frame["split"] == split).to_numpy() for split in SPLITS])
    warnings = _if(shared, "speakers in several splits (set corpus.speakers: shared in a run)")
    turns = frame.groupby("dialogue", sort=False)["turn"].agg(["size", "max"])
    sizes, lasts = turns["size"].to_numpy(), turns["max"].to_numpy()
    names = turns.index.to_numpy()
    warnings += _if(names[lasts + 1 > sizes].tolist(), "dialogues with turns left out")
    warnings += _if(names[sizes == 1].tolist(), "dialogues of one utterance")
    unknown = frame["dialogue"][frame["speaker"].isna()].unique().tolist()
    return warnings + _if(unknown, "dialogues with an unknown speaker")


def _strays(corpus: Corpus) -> list[str]:
    known = set(corpus.frame["audio"]) - {""}
    folders = {str(Path(audio).parent) for audio in known}
    found = {
        path.relative_to(corpus.root).as_posix()
        for folder in folders
        for path in _sounds(corpus.root / folder)
    }
    return _if(sorted(found - known), "audio files without a row")


def _sounds(folder: Path) -> Iterator[Path]:
    return (
        path
        for path in folder.glob("*")
        if path.suffix.lower() in (".wav", ".flac", ".ogg", ".opus", ".mp3")
    )


def _counts(frame: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    order = (*classes, OTHER, NO_AGREEMENT, UNLABELLED)
    keys = [_rank(frame["split"], SPLITS), _rank(frame["gender"], ("female", "male", "unknown"))]
    counts = pd.crosstab(keys, _rank(frame["consensus"], order), dropna=True)
    counts.columns = pd.Index([str(name) for name in counts.columns])
    return counts.assign(all=counts.sum(axis=1)).reset_index()


def _rank(values: pd.Series, order: tuple[str, ...]) -> pd.Series:
    # The last name of an order stands for what is unknown.
    return pd.Series(
        pd.Categorical(values.astype(object).where(values.notna(), order[-1]), categories=order),
        name=values.name,
    )


def _splits(frame: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    raters = frame[[f"votes_{name}" for name in (*corpus.classes, OTHER)]].sum(axis=1)
    rows = []
    for split in (name for name in SPLITS if (frame["split"] == name).any()):
        part = (frame["split"] == split).to_numpy()
        rated = raters[part & (raters > 0).to_numpy()]
        rows.append(
            {
                "split": split,
                "utterances": int(part.sum()),
                "hours": round(float(np.nansum(frame["seconds"][part])) / 3600, 2),
                "speakers": frame["speaker"][part].nunique(),
                **_turns(frame[part]),
                "votes mean": round(float(rated.mean()), 2) if len(rated) else "-",
                "min": int(rated.min()) if len(rated) else "-",
                "max": int(rated.max()) if len(rated) else "-",
                "no class target": int(np.isnan(corpus.soft[part]).all(axis=1).sum()),
            }
        )
    return pd.DataFrame(rows)


def _turns(part: pd.DataFrame) -> dict[str, int | float]:
    """Dialogues and turns of a split, if it has any."""
    if "dialogue" not in part.columns:
        return {}
    turns = part["dialogue"].value_counts()
    return {
        "dialogues": len(turns),
        "turns median": round(float(turns.median()), 1),
        "turns max": int(turns.max()),
    }


def _table(title: str, frame: pd.DataFrame) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in frame.columns:
        key = name in ("split", "gender")
        table.add_column(
            str(name).replace("_", " "),
            justify="left" if key else "right",
            no_wrap=key,
            overflow="fold",
        )
    for row in frame.itertuples(index=False):
        table.add_row(*map(str, row))
    return table


def _if(ids: list[str], what: str) -> list[str]:
    return [f"{what}: {_some(ids)}"] if ids else []


def _some(ids: list[str]) -> str:
    return f"{len(ids)}, for example {', '.join(map(str, ids[:3]))}"


def _plain(line: str) -> str:
    return line.replace("[", r"\[")
