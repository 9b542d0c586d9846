"""`medusa predict` and `medusa export`: a trained system on recordings, and in a folder."""

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from medusa_jax.cli.opening import results, say
from medusa_jax.errors import AudioError, ConfigError, MedusaError

if TYPE_CHECKING:
    from medusa_jax.inference.recogniser import Recogniser
    from medusa_jax.inference.result import Result

SystemFolder = Annotated[
    Path, typer.Argument(metavar="SYSTEM", help="A run's folder, or one of `medusa export`.")
]
Fold = Annotated[
    int | None, typer.Option(help="Of a run with folds: the one whose members are used.", min=1)
]
STDIN = Path("-")


def predict(
    system: SystemFolder,
    files: Annotated[
        list[Path], typer.Argument(help="Audio files, folders of such, or - for standard input.")
    ],
    windows: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH/HOP", help="Cut long audio: 6/3 is six seconds, every three seconds."
        ),
    ] = None,
    use: Annotated[
        str | None,
        typer.Option(help="A system of the ensemble (soup, majority_vote, …) or a member's id."),
    ] = None,
    fold: Fold = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of objects.")] = False,
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print a JSON object a line, as they are made.")
    ] = False,
    transcript: Annotated[
        bool, typer.Option("--transcript", help="Show the words that were heard.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the probabilities of one recording to a .png or .svg file."),
    ] = None,
) -> None:
    """Predict the emotion of recordings with a trained system.

    A recording that cannot be read is a row with its reason; the others go on.
    """
    if as_csv + as_json + as_jsonl > 1:
        raise ConfigError("several formats at once", hint="choose one of --csv, --json, --jsonl")
    cut = None if windows is None else parsed(windows)
    from medusa_jax.inference.recogniser import load

    recordings = _recordings(files)
    if plot is not None:
        from medusa_jax.inference.plot import check_picture

        check_picture(plot)
        if len(recordings) > 1:
            raise ConfigError("--plot draws one recording", hint="give one file")
    recogniser = load(system, use=use, fold=fold)
    coming = _tracked(recogniser, recordings, cut)
    made = list(_printed(coming) if as_jsonl else coming)
    if not as_jsonl:
        _print(made, as_csv, as_json, transcript)
    if plot is not None:
        from medusa_jax.inference.plot import plot as draw

        draw(made, plot)
        say(f"drawn: {escape(str(plot))}")
    if made and all(one.error for one in made):
        raise AudioError(
            f"none of {len(recordings)} recording(s) could be predicted",
            where=made[0].file,
            hint=made[0].error,
        )


def export(
    system: SystemFolder,
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    with_backbones: Annotated[
        bool, typer.Option("--with-backbones", help="Copy the pretrained encoders into it.")
    ] = False,
    fold: Fold = None,
) -> None:
    """Copy a trained system to a folder that predicts on another machine.

    It needs neither the corpus nor the run nor its features.
    """
    from medusa_jax.inference.system import backbones_of, open_system
    from medusa_jax.inference.system import export as write

    found = open_system(system, fold)
    write(found, folder, with_backbones=with_backbones)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    say(f"exported {size / 1e6:,.1f} MB: {escape(str(folder))}")
    needed = backbones_of(found.config)
    if needed and not with_backbones:
        names = ", ".join(needed)
        say(f"it needs {escape(names)}: `medusa models fetch` there, or --with-backbones here")
    say(f"try it: medusa predict {escape(str(folder))} FILE.wav")


def parsed(windows: str) -> tuple[float, float]:
    """Length and hop in seconds from `LENGTH/HOP`, or of both from one number.

    Raises `ConfigError` for anything else.
    """
    parts = windows.split("/")
    try:
        numbers = [float(part) for part in parts]
        if len(parts) > 2 or not all(map(math.isfinite, numbers)):
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"not a length and a hop: {windows!r}",
            where="--windows",
            hint="give seconds: --windows 6/3",
        ) from None
    return numbers[0], numbers[-1]


def _recordings(files: list[Path]) -> list[Any]:
    """Files, those of folders, and the bytes of standard input."""
    from medusa_jax.inference.sounds import files_in

    found: list[Any] = []
    for path in files:
        if path == STDIN:
            found.append(sys.stdin.buffer.read())
        elif path.expanduser().is_dir():
            found += files_in(path.expanduser())
        else:
            found.append(path.expanduser())
    return found


def _tracked(
    recogniser: "Recogniser", recordings: list[Any], windows: tuple[float, float] | None
) -> "Iterator[Result]":
    """Results as they are made; progress counts recordings, or seconds of those in windows."""
    from medusa_jax.progress import track

    if windows is None and len(recordings) < 2:
        yield from recogniser.each(recordings)
        return
    seconds = _seconds(recordings) if windows is not None else []
    with track("predict, s" if seconds else "predict") as report:
        before, file, end = 0.0, None, 0.0
        for done, one in enumerate(recogniser.each(recordings, windows=windows), 1):
            if seconds:
                before += end if one.file != file else 0.0
                file, end = one.file, one.end
                report(min(round(before + end), round(sum(seconds))), round(sum(seconds)))
            else:
                report(done, len(recordings))
            yield one


def _seconds(recordings: list[Any]) -> list[float]:
    """The length of each file; none for what cannot be read."""
    from medusa_jax.audio.decode import seconds_of

    found = []
    for one in recordings:
        try:
            found.append(seconds_of(one) if isinstance(one, Path) else 0.0)
        except MedusaError:
            found.append(0.0)
    return found if sum(found) >= 1 else []


def _printed(made: "Iterable[Result]") -> "Iterator[Result]":
    for one in made:
        print(json.dumps(one.as_dict(), ensure_ascii=False), flush=True)
        yield one


def _print(made: "list[Result]", as_csv: bool, as_json: bool, transcript: bool) -> None:
    if as_json:
        print(json.dumps([one.as_dict() for one in made], ensure_ascii=False, indent=1))
    elif as_csv:
        _print_csv(made)
    else:
        results().print(shown(made, transcript))


def _print_csv(made: "list[Result]") -> None:
    from medusa_jax.inference.result import table_of

    table = table_of(made).reset_index()
    for name in ("start", "end"):
        table[name] = table[name].dt.total_seconds()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.itertuples(index=False):
        writer.writerow("" if value is None or value != value else value for value in row)


def shown(made: "Sequence[Result]", transcript: bool = False) -> Table:
    """A row a result: the three most probable classes, attributes, and notes; those of all rows
    stand below.
    """
    files = {one.file for one in made}
    notes = [_notes(one, transcript) for one in made]
    shared = [note for note in notes[0] if len(made) > 1 and all(note in own for own in notes)]
    notes = [[note for note in own if note not in shared] for own in notes]
    columns = {
        "file": [escape(Path(one.file).name) for one in made] if len(files) > 1 else [],
        "seconds": [f"{one.start:.1f}–{one.end:.1f}" for one in made],
        "emotion": [_ranked(one)[0] for one in made],
        "next": [", ".join(_ranked(one)[1:3]) for one in made],
        "A / V / D": [" / ".join(f"{x:.1f}" for x in one.attributes.values()) for one in made],
        "notes": [escape("; ".join(own)) for own in notes] if any(notes) else [],
    }
    title = escape(Path(made[0].file).name) if len(files) == 1 else None
    caption = escape("; ".join(shared)) or None
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    used = {name: cells for name, cells in columns.items() if any(cells)}
    for name in used:
        table.add_column(name, no_wrap=name not in ("notes", "file"))
    for row in zip(*used.values(), strict=True):
        table.add_row(*row)
    return table


def _ranked(one: "Result") -> list[str]:
    """Classes with their probabilities, the most probable first; a dash if there are none."""
    ranked = sorted(one.probabilities.items(), key=lambda pair: -pair[1])
    return [escape(f"{name} {share:.2f}") for name, share in ranked] or ["–"]


def _notes(one: "Result", transcript: bool) -> list[str]:
    words = [f"“{one.transcript}”"] if transcript and one.transcript else []
    return [*words, *one.warnings, *filter(None, (one.error,))]
