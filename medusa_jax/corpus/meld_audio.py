"""The audio of MELD: WAV files, or made once from the videos of the release."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import soundfile

from medusa_jax.audio.decode import RATE
from medusa_jax.audio.video import require_ffmpeg, sound_of_video
from medusa_jax.errors import AudioError, CorpusError
from medusa_jax.files import disk_errors, write_text, write_whole
from medusa_jax.progress import track

logger = logging.getLogger(__name__)

FOLDERS = {
    "train": ("train", "train_splits", "train/train_splits"),
    "dev": ("dev", "dev_splits_complete", "dev/dev_splits_complete"),
    "test": ("test", "output_repeated_splits_test", "test/output_repeated_splits_test"),
}
"""By split, the folders that may hold its files: short names, and those of the release."""
BROKEN = ".broken"
"""Suffix of a note beside the WAV files on a video that ffmpeg could not read."""

Name = tuple[str, str]
"""A split of MELD and the name of a file without suffix, `dia0_utt3`."""


def find_audio(root: Path, home: Path, names: Sequence[Name]) -> list[str]:
    """The WAV file of each of `names`, relative to `home`; empty where there is none.

    WAV files are looked for in `home`. One that lacks is made from the video in `root`, if there
    is one, in `home/train`, `home/dev` or `home/test`, and is kept for later. A video that cannot
    be read is named in a warning. All are empty where `root` has no audio at all. Raises
    `DependencyError` if ffmpeg is needed and missing, `CorpusError` if it can read no video, or
    the disk is full.
    """
    present = _listed(home, ".wav", names)
    videos = {name: path for name, path in _listed(root, ".mp4", names).items()}
    wanted = {name: path for name, path in videos.items() if name not in present}
    if wanted:
        present |= _made(home, _untried(home, wanted), bool(present))
    lacking = ["/".join(name) for name in names if name not in present]
    if present and lacking:
        logger.warning(
            "%d utterance(s) have no audio, their file is missing or broken: %s",
            len(lacking),
            ", ".join(lacking[:5]) + (", …" if len(lacking) > 5 else ""),
        )
    paths = {name: path.relative_to(home).as_posix() for name, path in present.items()}
    return [paths.get(name, "") for name in names]


def _listed(folder: Path, suffix: str, names: Sequence[Name]) -> dict[Name, Path]:
    """The files of `names` with this suffix below `folder`."""
    found: dict[Name, Path] = {}
    for split, places in FOLDERS.items():
        for place in reversed(places):  # the first place wins
            for path in (folder / place).glob(f"*{suffix}"):
                found[split, path.stem] = path
    return {name: found[name] for name in names if name in found}


def _untried(home: Path, videos: dict[Name, Path]) -> dict[Name, Path]:
    """The videos without a note that they are broken, made since they last changed."""

    def broken(name: Name, video: Path) -> bool:
        note = home.joinpath(*name).with_suffix(BROKEN)
        return note.is_file() and note.stat().st_mtime >= video.stat().st_mtime

    return {name: video for name, video in videos.items() if not broken(name, video)}


def _made(home: Path, videos: dict[Name, Path], some_present: bool) -> dict[Name, Path]:
    """The WAV files made from the videos that can be read."""
    if not videos:
        return {}
    hint = (
        "put WAV files beside the videos (train/dia0_utt0.wav, dev/…, test/…); to use the text "
        "alone, keep the CSV files in a folder of their own"
    )
    require_ffmpeg(f"the audio of {len(videos)} utterance(s) is in videos alone", hint)
    made: dict[Name, Path] = {}
    problems: dict[Name, AudioError] = {}
    kept = "finished files are kept; `medusa corpus build meld … --audio` names another folder"
    with (
        disk_errors(CorpusError, "the audio of the videos", home, kept),
        ThreadPoolExecutor(8) as pool,
        track("audio of the videos") as report,
    ):
        results = pool.map(partial(_convert, home), videos, videos.values())
        for done, (name, result) in enumerate(zip(videos, results, strict=True), 1):
            if isinstance(result, AudioError):
                problems[name] = result
            else:
                made[name] = result
            report(done, len(videos))
        _refuse_all_broken(problems, some_present or bool(made))
        for name, problem in problems.items():
            write_text(home.joinpath(*name).with_suffix(BROKEN), f"{problem}\n")
    return made


def _convert(home: Path, name: Name, video: Path) -> Path | AudioError:
    """Write the audio of a video, whole or not at all."""
    try:
        wave_n = sound_of_video(video)
    except AudioError as error:
        return error
    path = home.joinpath(*name).with_suffix(".wav")
    with write_whole(path) as temporary:
        soundfile.write(temporary, wave_n, RATE, subtype="PCM_16", format="WAV")
    return path


def _refuse_all_broken(problems: dict[Name, AudioError], some: bool) -> None:
    if problems and not some:
        first = next(iter(problems.values()))
        raise CorpusError(
            f"none of {len(problems)} video(s) can be read, the first: {first.what}",
            where=first.where,
            hint="check that ffmpeg works and that the videos are complete",
        )
