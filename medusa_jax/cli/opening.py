"""A run opened from the command line: resolved, locked, prepared, and stopped cleanly."""

import difflib
import os
import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from medusa_jax.errors import ConfigError, Interrupted, RunFolderError

if TYPE_CHECKING:
    from medusa_jax.runs.prepare import Prepared
    from medusa_jax.runs.run import Run


@contextmanager
def together(distributed: bool) -> Iterator[None]:
    """Join the other processes of this run, if there are any.

    All but the first are silent; errors are raised in each.
    """
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
    """The run named by the arguments, prepared, with its folder locked by this process.

    Features are extracted unless the command needs none.
    """
    run = resolve(config, settings, out)
    from medusa_jax.runs.folder import opened
    from medusa_jax.runs.inputs import check_source
    from medusa_jax.runs.prepare import prepare

    if run.config.corpus.source != "generated" and not run.corpus_file.exists():
        check_source(run.config.corpus)  # a mistyped path leaves no run folder behind
    with stoppable(run), opened(run):
        say(f"[bold]{escape(run.config.name)}[/bold] in {escape(str(run.folder))}")
        prepared = prepare(run, features=features, verify=verify)
        warn_of_failures(prepared)
        yield prepared


@contextmanager
def stoppable(run: "Run") -> Iterator[None]:
    """End in `Interrupted` on SIGTERM and Ctrl-C, outside the training loop, which has its own."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # not an Exception: nothing below mistakes it for a bad file

    listening = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if listening else None
    try:
        yield
    except KeyboardInterrupt as error:
        hint = "run the same command again to resume: finished work is kept"
        raise Interrupted("stopped as asked", where=run.folder, hint=hint) from error
    finally:
        if listening:
            signal.signal(signal.SIGTERM, before)


def warn_of_failures(prepared: "Prepared") -> None:
    """Name each feature set that lacks utterances: other modalities alone predict those."""
    for name, store in prepared.stores.items():
        if store.failed:
            first = store.failed[0]
            count = f"{len(store.failed)} of {len(prepared.corpus)} utterance(s)"
            text = f"{count} have no {name} features; the first is {first.id}: {first.message}"
            say(f"[yellow]warning:[/yellow] {escape(text)}")
            say(f"  where: {escape(str(store.failures_file))}")


def reuse_members(prepared: "Prepared") -> None:
    """Copy the members that another run trained identically, and print their number."""
    from medusa_jax.runs import reuse

    if count := reuse.reuse_members(prepared):
        say(f"reused {count} training(s) of other runs, identical to this run's")


def resolve(config: Path, settings: list[str] | None, out: Path) -> "Run":
    """The run of a YAML file, a run's folder, or a shipped configuration, with `--set` applied.

    Raises `ConfigError` if it does not exist or is invalid, `RunFolderError` for a renamed folder.
    """
    from medusa_jax.config.yaml_file import load_config

    if (config / "config.yaml").is_file():
        return _of_folder(config, settings or [])
    path = config if config.is_file() else _shipped(config)
    loaded = load_config(path, settings or ())
    from medusa_jax.runs.run import Run

    return Run(loaded, out)


def _shipped(name: Path) -> Path:
    """The file of the shipped configuration `name`. Raises `ConfigError` if none has that name."""
    names = sorted(path.stem for path in shipped_configs().glob("*.yaml"))
    if str(name) in names:
        return shipped_configs() / f"{name}.yaml"
    near = difflib.get_close_matches(str(name), names, n=1)
    what = (
        "no config.yaml in this folder, so it is no run's"
        if name.is_dir()
        else ("no such configuration")
    )
    hint = f"give a YAML file, the folder of a run, or one of: {', '.join(names)}"
    raise ConfigError(
        what, where=name, hint=hint + (f" (did you mean {near[0]!r}?)" if near else "")
    )


def _of_folder(folder: Path, settings: list[str]) -> "Run":
    """The run in this folder; with settings, another run beside it."""
    from medusa_jax.config.yaml_file import load_config
    from medusa_jax.runs.run import Run

    run = Run(load_config(folder / "config.yaml", settings), folder.resolve().parent)
    if not settings and run.folder.name != folder.resolve().name:
        what = "this run folder was renamed: its name no longer has its configuration's digest"
        hint = f"call it {run.folder.name} again, or give its config.yaml and --out"
        raise RunFolderError(what, where=folder, hint=hint)
    return run


def unfinished_run(out: Path) -> Path:
    """The folder of the unfinished run below `out`. Raises `ConfigError` unless there is one."""
    from medusa_jax.runs.folder import unfinished

    found = unfinished(out)
    if not found:
        hint = "give the configuration of the run to train, or the --out of the one to resume"
        raise ConfigError("no unfinished run here", where=out, hint=hint)
    if len(found) > 1:
        folders = "".join(f"\n    {folder}" for folder in found)
        hint = f"medusa train {found[0]}"
        raise ConfigError(f"several unfinished runs, newest first:{folders}", where=out, hint=hint)
    return found[0]


def shipped_configs() -> Path:
    """The folder `configs/`: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


def left_to_make(missing: Collection[int], complete: str) -> str:
    """The number of `missing` shards in words, or `complete` if there are none."""
    return f"{len(missing)} shard(s) left for other shares" if missing else complete


def results() -> Console:
    """A console for results on stdout; 120 columns wide where it is no terminal."""
    console = Console()
    if not console.is_terminal:
        console.width = 120
    return console


def say(text: str) -> None:
    """Print a line on stderr, with Rich markup."""
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
