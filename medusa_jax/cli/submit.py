"""`medusa submit`: challenge files written, checked, scored and converted, and runs compared."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from typer.core import TyperGroup

from medusa_jax.cli.opening import prepared_run, say
from medusa_jax.cli.options import RUNS, Config, Out, Settings
from medusa_jax.errors import SubmissionError

if TYPE_CHECKING:
    from medusa_jax.evaluation.tables import Row
    from medusa_jax.runs.prepare import Prepared
    from medusa_jax.runs.run import Run
    from medusa_jax.runs.submit import Written
    from submission.challenges import Challenge, Task

_SHOWN = {
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "accuracy": "accuracy",
    "ccc_mean": "mean CCC",
}


class _WriteByDefault(TyperGroup):
    """`medusa submit CONFIG` is `medusa submit write CONFIG`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["write", *args])


app = typer.Typer(
    cls=_WriteByDefault,
    no_args_is_help=True,
    help="`medusa submit CONFIG` writes a run's challenge files; "
    "the commands below check, score, convert and compare.",
)


class ChallengeId(StrEnum):
    """The challenges of `submission.challenges`."""

    interspeech2025 = "interspeech2025"
    odyssey2024 = "odyssey2024"


class TaskKind(StrEnum):
    """Task 1 and Task 2."""

    categorical = "categorical"
    attributes = "attributes"


ChallengeOption = Annotated[ChallengeId, typer.Option(help="The challenge whose rules apply.")]
TaskOption = Annotated[
    TaskKind | None,
    typer.Option(
        help="Task 1 (categorical) or Task 2 (attributes); default: read from the file's header."
    ),
]
NamesOption = Annotated[
    Path | None,
    typer.Option(
        help="The test files, if not the challenge's own: a folder of .wav files, a CSV with a "
        "FileName column, or a list, one name a line."
    ),
]
OrderOption = Annotated[
    str | None,
    typer.Option(
        help="Class order of the logits: organisers (A,S,H,U,F,D,C,N), alphabetical, "
        "or eight letters."
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(help="Labels (FileName,EmoClass) by which the class order is found or checked."),
]


@app.command()
def write(config: Config, settings: Settings = None, out: Out = RUNS) -> None:
    """Write the challenge files of both tasks from the trained ensemble of CONFIG."""
    with prepared_run(config, settings, out, features=False) as prepared:
        from medusa_jax.runs.submit import submit as write_files

        show_written(prepared, write_files(prepared))


def show_written(prepared: "Prepared", written: "Written") -> None:
    """Print the paths and scores of a run's files, and update the leaderboard beside the runs."""
    _write_board(prepared.run)
    scored = ", scored against the corpus's hidden labels" if written.scores else ""
    print(f"challenge files{scored}:")
    for number, (kind, path) in enumerate(written.files.items(), 1):
        metrics = written.scores.get(kind, {})
        shown = [f"{word} {metrics[name]:.4f}" for name, word in _SHOWN.items() if name in metrics]
        print(f"  Task {number}, valid" + (f": {', '.join(shown)}" if shown else ""))
        print(f"    {path}")
    _warn_of_attributes(prepared)


def _warn_of_attributes(prepared: "Prepared") -> None:
    """Name the members whose untrained attributes are in the file of Task 2."""
    from medusa_jax.runs.submit import untrained_attributes

    config = prepared.run.config
    system = None if config.submission is None else config.submission.system
    if names := untrained_attributes(config, system):
        text = f"the attributes of {', '.join(names)} were never trained, so those of Task 2 "
        text += "mean nothing (training.attribute_loss is 0): submit Task 1 alone, or train them"
        say(f"[yellow]warning:[/yellow] {escape(text)}")


def _write_board(run: "Run") -> None:
    """Write the leaderboard of the run's challenge beside the runs."""
    from medusa_jax.evaluation.tables import csv_text
    from medusa_jax.files import write_text
    from medusa_jax.report.leaderboard import challenge_rows
    from submission.challenges import challenge_of

    if run.config.submission is not None:
        challenge = challenge_of(run.config.submission.challenge)
        rows, _ = challenge_rows(run.out, challenge)
        write_text(run.leaderboard_file(challenge.id), csv_text(rows))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The CSV file to be uploaded.")],
    challenge: ChallengeOption = ChallengeId.interspeech2025,
    task: TaskOption = None,
    names: NamesOption = None,
) -> None:
    """Check whether the challenge accepts FILE, and list what to fix on which line.

    Exit code 0: valid; 9: not valid.
    """
    from submission.validator import task_of, validate

    rules = _challenge(challenge, names)
    chosen = rules.task(task.value) if task else task_of(file, rules)
    problems = validate(file, chosen)
    if not problems:
        partly = "" if chosen.names else " (names by pattern and number only: give --names)"
        typer.echo(f"valid: {file} for {chosen.called}, {chosen.count:,} files{partly}")
        return
    typer.echo(f"not valid: {file} for {chosen.called}, {len(problems):,} problem(s)")
    Console().print(_problems(problems))
    raise typer.Exit(SubmissionError.exit_code)


def _problems(problems: list[Any]) -> Table:
    """One row for each kind of problem, with its first line."""
    from submission.problems import grouped

    table = Table("line", Column("problem", overflow="fold"), "lines like it", "hint")
    for first, count in grouped(problems):
        line = "file" if first.line is None else f"{first.line:,}"
        table.add_row(line, escape(first.message), f"{count:,}", escape(first.hint))
    return table


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="A submission.")],
    answers: Annotated[
        Path,
        typer.Argument(
            help="The true labels: labels_consensus.csv or a part of it (its Test3 rows count), "
            "or a file like the submission."
        ),
    ],
    challenge: ChallengeOption = ChallengeId.interspeech2025,
    task: TaskOption = None,
) -> None:
    """Check FILE against the files in ANSWERS and print the scores, the ranking metric first."""
    from submission.scoring import score as score_file
    from submission.validator import task_of

    rules = _challenge(challenge, None)
    scores = score_file(file, answers, rules, task.value if task else task_of(file, rules).kind)
    left_out = f", {scores.left_out:,} without an answer left out" if scores.left_out else ""
    typer.echo(f"{file}: {scores.task.called}, {scores.scored:,} files scored{left_out}")
    table = Table("metric", "score")
    for metric, value in scores.metrics.items():
        ranking = " (ranking)" if metric == scores.task.ranking_metric else ""
        table.add_row(f"{metric}{ranking}", f"{value:.4f}")
    Console().print(table)


@app.command()
def convert(
    file: Annotated[
        Path,
        typer.Argument(
            help="An evaluation file: Filename,Prediction with 8 logits, "
            "or MEDUSA's FileName,Prediction with 11 numbers."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The submission to write.")],
    order: OrderOption = None,
    check_against: LabelsOption = None,
    challenge: ChallengeOption = ChallengeId.interspeech2025,
    task: Annotated[
        TaskKind, typer.Option(help="Task 1 (the largest logit) or Task 2 (the attributes).")
    ] = TaskKind.categorical,
    names: NamesOption = None,
) -> None:
    """Turn an evaluation file with logits into a submission that is valid, or write none."""
    from submission.logit_files import read_predictions, to_submission

    predictions = read_predictions(file, order=order, check_against=check_against)
    to_submission(out, predictions, _challenge(challenge, names), task.value)
    typer.echo(f"written and checked: {out} ({task.value}, {len(predictions):,} files)")


@app.command()
def leaderboard(
    runs: Annotated[Path, typer.Argument(help="A folder of run folders, or one run folder.")],
    challenge: ChallengeOption = ChallengeId.interspeech2025,
    out: Annotated[
        Path | None, typer.Option(help="Also write the table as CSV to this file.")
    ] = None,
) -> None:
    """Show the scores of your runs beside the published ones, each row with its source."""
    from medusa_jax.evaluation.tables import csv_text
    from medusa_jax.files import write_text
    from medusa_jax.report.leaderboard import challenge_rows
    from submission.challenges import challenge_of

    rules = challenge_of(challenge.value)
    rows, left_out = challenge_rows(runs, rules)
    for each in rules.tasks:
        typer.echo(each.called)
        Console().print(_ranking(rows, each))
    typer.echo("Only numbers on the same test set compare.")
    for run, reason in left_out.items():
        typer.echo(f"left out: {run}: {reason}", err=True)
    if out:
        write_text(out, csv_text(rows))
        typer.echo(f"written: {out}")


def _ranking(rows: "list[Row]", task: "Task") -> Table:
    """The rows of one task, our own runs above the published ones."""
    table = Table("system", task.ranking_metric, "source", "run")
    for ours in (True, False):
        for row in rows:
            if row["task"] == task.kind and bool(row["run"]) == ours:
                words = [escape(str(row[name])) for name in ("system", "source", "run")]
                table.add_row(words[0], f"{row['score']:.4f}", *words[1:])
        table.add_section()
    return table


def _challenge(challenge: ChallengeId, names: Path | None) -> "Challenge":
    """The challenge's rules, for the test files in `names` if given."""
    from submission.challenges import challenge_of

    rules = challenge_of(challenge.value)
    if names is None:
        return rules
    from submission.answers import read_names

    return rules.with_names(read_names(names, rules))
