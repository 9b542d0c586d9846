"""What a corpus holds and what is wrong with it: errors that training would suffer from, warnings that a reader should know."""

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
_STALE_SECONDS = 0.05  # lengths in a table are measured from the same headers, so a difference means another file


@dataclass(frozen=True)
class CorpusCheck:
    """The result of `check`: prints itself as tables in a rich console."""

    title: str
    counts: pd.DataFrame
    """Utterances: rows (split, gender), columns the consensus classes that occur."""
    splits: pd.DataFrame
    """One row a split: utterances, hours, speakers, raters (mean, min and max votes an utterance over the rated ones), no class target."""
    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _table(self.title, self.splits)
        yield _table("utterances by consensus", self.counts)
        yield from (f"[red]error[/]    {_plain(line)}" for line in self.errors)
        yield from (f"[yellow]warning[/]  {_plain(line)}" for line in self.warnings)
        yield "[green]no errors[/]" if self.ok else f"[red]{len(self.errors)} error(s)[/]"


def check(corpus: Corpus, *, decode: bool = False) -> CorpusCheck:
    """Look at every row and every audio file of `corpus`.

    By default audio is judged by its header; `decode` reads every sample, which also finds damage behind the header, NaN and the same
    sound under two ids. Raises nothing: what is wrong is listed.
    """
    audio_errors, audio_warnings, seconds = _audio(corpus, decode)
    frame = corpus.frame.assign(seconds=seconds)
    label_errors, label_warnings = _labels(corpus)
    return CorpusCheck(
        title=f"{corpus.name}{' (synthetic speech)' if corpus.synthetic else ''}, {len(corpus)} utterances",
        counts=_counts(frame, corpus.classes),
        splits=_splits(frame, corpus),
        errors=(*audio_errors, *label_errors),
        warnings=(*audio_warnings, *label_warnings, *_strays(corpus)),
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
    with ThreadPoolExecutor(8) as pool:
        sounds = list(
            pool.map(lambda name: _listen(corpus.root / name, decode), corpus.frame["audio"])
        )
    ids = corpus.frame["id"].tolist()
    problems: dict[str, list[str]] = {}
    remarks: dict[str, list[str]] = {}
    for identity, sound in zip(ids, sounds, strict=True):
        if sound.problem:
            problems.setdefault(sound.problem.split(":")[0], []).append(identity)
        for name in sound.warnings:
            remarks.setdefault(name, []).append(identity)
    errors = [f"{problem}: {_some(bad)}" for problem, bad in problems.items()]
    seconds = np.array([sound.seconds for sound in sounds], np.float64)
    known = corpus.frame["seconds"].to_numpy(np.float64)
    stale = np.abs(seconds - known) > _STALE_SECONDS
    odd = [
        identity
        for identity, sound in zip(ids, sounds, strict=True)
        if not sound.problem and sound.rate != RATE
    ]
    twice = Counter(sound.digest for sound in sounds if sound.digest)
    same = [
        identity for identity, sound in zip(ids, sounds, strict=True) if twice[sound.digest] > 1
    ]
    warnings = [
        *_if(odd, f"audio not at {RATE} Hz (it is resampled when read)"),
        *(line for name in sorted(remarks) for line in _if(remarks[name], f"audio {name}")),
        *_if(same, "the same sound under several ids"),
        *_if(
            corpus.frame["id"][stale].tolist(),
            "audio of another length than the table says: build the table again",
        ),
    ]
    return errors, warnings, np.where(np.isnan(seconds), known, seconds)


def _labels(corpus: Corpus) -> tuple[list[str], list[str]]:
    frame = corpus.frame
    errors = []
    shared = shared_speakers(corpus, [(frame["split"] == split).to_numpy() for split in SPLITS])
    if shared:
        errors.append(f"speakers on both sides of a split: {_some(shared)}")
    repeated = frame["id"][frame["id"].duplicated()].tolist()
    errors += _if(repeated, "ids that stand twice")
    votes = frame[[f"votes_{name}" for name in (*corpus.classes, OTHER)]].to_numpy(np.int64)
    said, counted = frame["consensus"].astype(object), consensus(votes, corpus.classes)
    voted = votes.sum(axis=1) > 0
    differ = voted & said.notna().to_numpy() & (said.to_numpy() != counted)
    unvoted = ~voted & said.isin(corpus.classes).to_numpy()
    train = (frame["split"] == "train").to_numpy()
    unknown = train & frame["speaker"].isna().to_numpy()
    warnings = [
        *_if(frame["id"][differ].tolist(), "the consensus is not the plurality of the votes"),
        *_if(
            frame["id"][unvoted].tolist(),
            "a consensus but no votes (the soft label is that class, or the source's own)",
        ),
        *_if(
            frame["id"][unknown].tolist(),
            "unknown speaker in train: speaker-disjoint splits cannot be promised for them",
        ),
        *_if(frame["id"][train & said.isna().to_numpy()].tolist(), "no label in train"),
    ]
    return errors, warnings


def _strays(corpus: Corpus) -> list[str]:
    known = set(corpus.frame["audio"])
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
                "votes mean": round(float(rated.mean()), 2) if len(rated) else "-",
                "min": int(rated.min()) if len(rated) else "-",
                "max": int(rated.max()) if len(rated) else "-",
                "no class target": int(np.isnan(corpus.soft[part]).all(axis=1).sum()),
            }
        )
    return pd.DataFrame(rows)


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
