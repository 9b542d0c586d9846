"""What every command on a run shares: its arguments, and the run they name, opened."""

import difflib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from medusa_jax.errors import ConfigError, Interrupted, RunFolderError

if TYPE_CHECKING:
    from medusa_jax.runs.prepare import Prepared
    from medusa_jax.runs.run import Run

Config = Annotated[
    Path,
    typer.Argument(
        help="A YAML file, the name of a shipped configuration (demo, ravdess, …), or the folder of a run."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one value: --set training.batch_size=32. May be repeated."),
]
Out = Annotated[Path, typer.Option(help="Folder for runs, features and generated corpora.")]


@contextmanager
def together(distributed: bool) -> Iterator[None]:
    """Joined with the other processes of this run, if there are any; all but the first keep silent, except about mistakes."""
    if not distributed:
        yield
        return
    from medusa_jax.machines.processes import joined, leads

    with joined(), open(os.devnull, "w") as nowhere, ExitStack() as silence:
        if not leads():
            silence.enter_context(redirect_stdout(nowhere))
            silence.enter_context(redirect_stderr(nowhere))
        yield


@contextmanager
def prepared_run(
    config: Path,
    settings: list[str] | None,
    out: Path,
    *,
    features: bool = True,
    verify: bool = False,
) -> "Iterator[Prepared]":
    """The run that the arguments name, its folder held by this process, corpus and (if the command needs them) features ready."""
    chosen = resolve(config, settings, out)
    from medusa_jax.runs.folder import opened
    from medusa_jax.runs.inputs import check_source
    from medusa_jax.runs.prepare import prepare

    if chosen.config.corpus.source != "generated" and not chosen.corpus_file.exists():
        check_source(chosen.config.corpus)  # a mistyped path leaves no run folder behind
    with stoppable(chosen), opened(chosen):
        say(f"[bold]{escape(chosen.config.name)}[/bold] in {escape(str(chosen.folder))}")
        prepared = prepare(chosen, features=features, verify=verify)
        tell_failures(prepared)
        yield prepared


@contextmanager
def stoppable(run: "Run") -> Iterator[None]:
    """SIGTERM and Ctrl-C outside the training loop, which has its own listener, end in `Interrupted` too."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # not an Exception: nothing below mistakes it for a bad file

    listening = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if listening else None
    try:
        yield
    except KeyboardInterrupt as error:
        hint = "run the same command again to go on: what is finished is kept"
        raise Interrupted("stopped as asked", where=run.folder, hint=hint) from error
    finally:
        if listening:
            signal.signal(signal.SIGTERM, before)


def tell_failures(prepared: "Prepared") -> None:
    """Say which feature sets lack utterances: they are predicted from the other modalities, and nobody should learn that late."""
    for name, store in prepared.stores.items():
        if store.failed:
            first = store.failed[0]
            count = f"{len(store.failed)} of {len(prepared.corpus)} utterance(s) have no {name} features"
            say(
                f"[yellow]warning:[/yellow] {escape(f'{count}; the first is {first.id}: {first.message}')}"
            )
            say(f"  where: {escape(str(store.failures_file))}")


def take_over(prepared: "Prepared") -> None:
    """Copy the members that another run has trained to the same bits, and say how many."""
    from medusa_jax.runs.reuse import adopt

    if taken := adopt(prepared):
        say(f"{taken} training(s) were done alike in another run, and are taken over")


def resolve(config: Path, settings: list[str] | None, out: Path) -> "Run":
    """A YAML file, a run's folder, or the name of a shipped configuration, with `--set` applied.

    Raises `ConfigError` if there is no such thing or it is not valid, `RunFolderError` for a run's folder that was renamed.
    """
    from medusa_jax.config.yaml_file import load_config

    if (config / "config.yaml").is_file():
        return _of_folder(config, settings or [])
    names = sorted(path.stem for path in shipped_configs().glob("*.yaml"))
    if not config.is_file():
        if str(config) not in names:
            near = difflib.get_close_matches(str(config), names, n=1)
            what = (
                "this folder is not a run's: it has no config.yaml"
                if config.is_dir()
                else "there is no such configuration"
            )
            hint = f"give a YAML file, the folder of a run, or one of: {', '.join(names)}" + (
                f" (did you mean {near[0]!r}?)" if near else ""
            )
            raise ConfigError(what, where=config, hint=hint)
        config = shipped_configs() / f"{config}.yaml"
    loaded = load_config(config, settings or ())
    from medusa_jax.runs.run import Run

    return Run(loaded, out)


def _of_folder(folder: Path, settings: list[str]) -> "Run":
    """The run whose folder this is; with settings, another run beside it."""
    from medusa_jax.config.yaml_file import load_config
    from medusa_jax.runs.run import Run

    run = Run(load_config(folder / "config.yaml", settings), folder.resolve().parent)
    if not settings and run.folder.name != folder.resolve().name:
        hint = f"call it {run.folder.name} again, or give its config.yaml and --out"
        raise RunFolderError(
            "a run folder carries its configuration's digest in its name, and this one was renamed",
            where=folder,
            hint=hint,
        )
    return run


def unfinished_run(out: Path) -> Path:
    """The folder of the run below `out` whose training was begun and is not finished; raises `ConfigError` unless there is exactly one."""
    from medusa_jax.runs.folder import unfinished

    found = unfinished(out)
    if not found:
        hint = "give the configuration of the run to train, or the --out of the one to go on with"
        raise ConfigError("no run here was begun and not finished", where=out, hint=hint)
    if len(found) > 1:
        several = "".join(f"\n    {folder}" for folder in found)
        raise ConfigError(
            f"several runs were begun and not finished, the newest first:{several}",
            where=out,
            hint=f"medusa train {found[0]}",
        )
    return found[0]


def shipped_configs() -> Path:
    """Where `configs/` lies: inside the installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


def results() -> Console:
    """Where tables of results go: stdout, and a log has no edge to wrap or cut a column at."""
    console = Console()
    if not console.is_terminal:
        console.width = 120
    return console


def say(text: str) -> None:
    """A line on stderr, with Rich markup."""
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
