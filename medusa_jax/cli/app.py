"""`medusa`: the steps of a run as commands.

Each command imports its step when it is called, so that `--help` answers at once.
"""

import errno
import os
import sys

import typer
from rich.markup import escape

from medusa_jax.cli import (
    ablate,
    corpus,
    ensemble,
    extract,
    gender,
    leaderboard,
    models,
    predict,
    report,
    run,
    submit,
    train,
    transcribe,
)
from medusa_jax.cli.opening import say
from medusa_jax.errors import Interrupted, MedusaError
from medusa_jax.files import FULL

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Speech emotion recognition with MEDUSA, from raw audio to a challenge submission. "
    "New here? `medusa demo` shows everything in minutes.",
)
for command in (
    run.demo,
    run.run,
    extract.extract,
    transcribe.transcribe,
    gender.gender,
    train.train,
    ensemble.ensemble,
    report.evaluate,
    predict.predict,
    predict.export,
    ablate.ablate,
    report.report,
    leaderboard.leaderboard,
):
    app.command()(command)
for name, group in (
    ("submit", submit.app),
    ("corpus", corpus.app),
    ("features", extract.app),
    ("models", models.app),
):
    app.add_typer(group, name=name)


def main() -> None:
    """Run `medusa`: a user's mistake is three lines on stderr and an exit code, no traceback."""
    try:
        app()
    except Interrupted as stop:
        say(f"[yellow]{escape(str(stop))}[/yellow]")
        sys.stdout.flush()
        # XLA's threads may still be running, and exiting the interpreter under them crashes.
        os._exit(stop.exit_code)
    except MedusaError as error:
        _fail(error)
    except OSError as error:
        _fail(_explained(error))


def _fail(error: MedusaError) -> None:
    """Print the error and exit with its code."""
    say(f"[bold red]error:[/bold red] {escape(str(error))}")
    sys.exit(error.exit_code)


def _explained(error: OSError) -> MedusaError:
    """The operating system's error with its path and a hint."""
    hint = None
    if error.errno in FULL:
        hint = "free some disk space and run the same command again: finished work is kept"
    elif error.errno in _FORBIDDEN:
        hint = "choose a folder you can write to (--out), or ask for permission"
    return MedusaError(error.strerror or str(error), where=error.filename, hint=hint)
