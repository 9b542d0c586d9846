"""`medusa`: the steps of a run as commands. Each loads what it needs when it is called, so that --help answers at once."""

import errno
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from medusa_jax.cli import corpus, leaderboard, models, submit
from medusa_jax.cli import extract as features
from medusa_jax.cli.opening import (
    Config,
    Out,
    Settings,
    prepared_run,
    results,
    say,
    take_over,
    together,
    unfinished_run,
)
from medusa_jax.errors import ConfigError, Interrupted, MedusaError
from medusa_jax.files import FULL

if TYPE_CHECKING:
    from medusa_jax.evaluation.tables import SystemScores
    from medusa_jax.runs.prepare import Prepared

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Speech emotion recognition with MEDUSA, from raw audio to a challenge submission. New here? `medusa demo` shows everything in minutes.",
)
Speed = Annotated[
    float | None,
    typer.Option(
        help="With --plan: TFLOP/s of all devices to reckon with; none: some steps are measured.",
        min=1e-6,
    ),
]
_TOPS = "5,7"  # the paper's
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@app.command()
def demo(settings: Settings = None, out: Out = Path("runs")) -> None:
    """Train a small MEDUSA on generated speech in MSP-Podcast's layout and write a valid submission. Takes some minutes, needs nothing."""
    run(Path("demo"), settings, out)
    print(
        "\nNext: the same on real speech. Get RAVDESS (Zenodo record 1188976, free for research), then:"
    )
    print("  pip install opensmile && medusa run ravdess --set corpus.path=FOLDER_OF_RAVDESS")


@app.command()
def run(config: Config, settings: Settings = None, out: Out = Path("runs")) -> None:
    """The whole chain: corpus, features, members, ensemble, scores, submission. A finished step is not done again."""
    with prepared_run(config, settings, out) as prepared:
        from medusa_jax.runs.chain import run_all

        take_over(prepared)
        finished = run_all(prepared)
        _show_scores(prepared, finished.scored)
        if finished.written is not None:
            submit.show_written(finished.written)


@app.command()
def extract(
    config: Config,
    settings: Settings = None,
    out: Out = Path("runs"),
    shard: Annotated[
        str | None,
        typer.Option(
            help="Make one share i/n of the shards, i from 1; start one process for each i, anywhere."
        ),
    ] = None,
) -> None:
    """Read the corpus and extract every feature set of CONFIG; every byte of what is there is checked, and only what is damaged is redone."""
    if shard is not None:
        features.extract_share(config, settings, out, shard)
        return
    with prepared_run(config, settings, out, verify=True) as prepared:
        for name, store in prepared.stores.items():
            print(
                f"{name}: {len(store)} utterances, {store.width} features a frame, {len(store.failed)} failed, in {store.folder}"
            )


@app.command()
def transcribe(
    config: Config,
    settings: Settings = None,
    out: Out = Path("runs"),
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="transformers, faster-whisper, or corpus: the corpus's own transcripts as they are.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Make one share i/n of the shards, i from 1; start one process for each i, anywhere."
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the transcripts to this new folder too, as text files."),
    ] = None,
) -> None:
    """Read the corpus and let CONFIG's Whisper write down what is said, in every split alike. Run it again after an interruption to go on."""
    from medusa_jax.cli.transcribe import transcribe_all, transcribe_share

    chosen = [*(settings or []), *([f"transcription.backend={from_}"] if from_ else [])]
    if shard is not None:
        transcribe_share(config, chosen, out, shard)
    else:
        transcribe_all(config, chosen, out, export)


@app.command()
def train(
    config: Annotated[
        Path | None, typer.Argument(help="As for the other commands; not needed with --resume.")
    ] = None,
    settings: Settings = None,
    out: Out = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished run below --out.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what training will do and need, and train nothing.")
    ] = False,
    speed: Speed = None,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Write a trace of some steps of each group into the run's folder."
        ),
    ] = False,
    distributed: Annotated[
        bool,
        typer.Option(
            "--distributed", help="This is one of several processes, started by srun or mpirun."
        ),
    ] = False,
) -> None:
    """Train every member of CONFIG (Stages 1 and 2). Run it again after an interruption to go on."""
    if config is None and not resume:
        raise ConfigError(
            "nothing says which run to train",
            where="medusa train",
            hint="give a configuration or a run's folder, or --resume",
        )
    with (
        together(distributed),
        prepared_run(config or unfinished_run(out), settings, out) as prepared,
    ):
        take_over(prepared)
        if plan:
            from medusa_jax.cli.plan import plan_training

            plan_training(prepared, speed)
        else:
            _train(prepared, profile)


def _train(prepared: "Prepared", profile: bool) -> None:
    from functools import partial

    from medusa_jax.machines.profiler import traced, traces_in
    from medusa_jax.runs.train import train as train_members

    folder = prepared.run.folder / "profile"
    train_members(prepared, partial(traced, folder=folder) if profile else nullcontext)
    print(f"{len(prepared.run.config.members)} member(s) trained, in {prepared.run.folder}")
    if profile:
        traces = traces_in(folder)
        print(
            f"open it at https://ui.perfetto.dev:\n    {traces[-1]}"
            if traces
            else "there was nothing left to train, so there is no trace"
        )


@app.command()
def ensemble(
    config: Config,
    settings: Settings = None,
    out: Out = Path("runs"),
    study: Annotated[
        bool,
        typer.Option(
            "--study",
            help="Compare all ways to combine members (the paper's Table 3), and test them.",
        ),
    ] = False,
    seeds: Annotated[
        int,
        typer.Option(
            help="With --study: train every member with so many seeds first; 1: take the run's own members.",
            min=1,
        ),
    ] = 1,
    top: Annotated[
        str,
        typer.Option(
            help="With --study: sets of the best members on the held-out part, with commas."
        ),
    ] = _TOPS,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="With --study --seeds: say what training will do and need, and train nothing.",
        ),
    ] = False,
    speed: Speed = None,
) -> None:
    """Combine the trained members: votes, meta-classifier (Stage 3) and soup (Stage 4). Or, with --study, in every way, and compare."""
    if study:
        from medusa_jax.cli.ensemble import study_ensembles

        study_ensembles(config, settings, out, seeds, top, plan, speed)
        return
    if seeds != 1 or top != _TOPS or plan:
        hint = "add --study, or leave them out"
        raise ConfigError(
            "--seeds, --top and --plan belong to the study of ensembles",
            where="medusa ensemble",
            hint=hint,
        )
    with prepared_run(config, settings, out, features=False) as prepared:
        from medusa_jax.runs.combine import combine

        combine(prepared)
        print(f"votes, meta-classifier and soup are in {prepared.run.folder}")


@app.command()
def evaluate(config: Config, settings: Settings = None, out: Out = Path("runs")) -> None:
    """Score every member and ensemble on every labelled part that was not trained on, and write the report."""
    with prepared_run(config, settings, out, features=False) as prepared:
        from medusa_jax.runs.evaluate import evaluate as score_all

        _show_scores(prepared, score_all(prepared))


@app.command()
def ablate(
    config: Config,
    settings: Settings = None,
    out: Out = Path("runs"),
    seeds: Annotated[
        int,
        typer.Option(
            help="How often each member of each row is trained, from different seeds.", min=1
        ),
    ] = 3,
    members: Annotated[
        str | None, typer.Option(help="Ids of members, with commas; all if not given.")
    ] = None,
    rows: Annotated[
        str | None, typer.Option(help="Names of rows, with commas; all if not given.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what training will do and need, and train nothing.")
    ] = False,
    speed: Speed = None,
) -> None:
    """Train every member without one thing at a time (the paper's Table 2) and test the differences. Run it again to go on."""
    from medusa_jax.cli.ablate import ablate as run_ablation

    run_ablation(config, settings, out, seeds, members, rows, plan, speed)


@app.command()
def report(config: Config, settings: Settings = None, out: Out = Path("runs")) -> None:
    """Write a finished run's report.html (scores, tests, curves, studies, provenance), its model card, and the same numbers as JSON and CSV."""
    with prepared_run(config, settings, out, features=False) as prepared:
        from medusa_jax.report.report import report as write

        written = write(prepared)
        print(
            f"open it in a browser:\n    {written.page}\nthe model card, to publish beside the models:\n    {written.card}"
        )
        print(f"the same numbers:\n    {written.numbers}\n    {written.tables}/*.csv")


def _show_scores(prepared: "Prepared", scored: "dict[str, list[SystemScores]]") -> None:
    """Print the table of the part that matters most and say where the reports are."""
    from medusa_jax.evaluation.tables import rich_table

    corpus = prepared.corpus
    for part, systems in list(scored.items())[-1:]:
        results().print(
            rich_table(
                systems,
                f"{prepared.run.config.name}: {part} of {corpus.name}",
                synthetic=corpus.synthetic,
            )
        )
    for name in scored:
        print(f"report on {name}:\n    {prepared.run.folder / 'evaluation' / name / 'report.md'}")


app.command()(leaderboard.leaderboard)
app.add_typer(submit.app, name="submit")
app.add_typer(corpus.app, name="corpus")
app.add_typer(features.app, name="features")
app.add_typer(models.app, name="models")


def main() -> None:
    """The command `medusa`: a user's mistake is three lines on stderr and an exit code, never a traceback."""
    try:
        app()
    except Interrupted as stop:
        say(f"[yellow]{escape(str(stop))}[/yellow]")
        sys.stdout.flush()
        os._exit(
            stop.exit_code
        )  # XLA's threads may be at work still, and taking the interpreter down under them crashes
    except MedusaError as error:
        say(f"[bold red]error:[/bold red] {escape(str(error))}")
        sys.exit(error.exit_code)
    except OSError as error:
        say(f"[bold red]error:[/bold red] {escape(str(_explained(error)))}")
        sys.exit(1)


def _explained(error: OSError) -> MedusaError:
    """What the system refused, where, and what to do about it."""
    hint = None
    if error.errno in FULL:
        hint = "free some disk space and run the same command again: what is finished is kept"
    elif error.errno in _FORBIDDEN:
        hint = "choose a folder that you may write to (--out), or ask for permission"
    return MedusaError(error.strerror or str(error), where=error.filename, hint=hint)
