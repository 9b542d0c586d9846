"""`medusa submit …`: check, score and convert challenge files, and compare runs with the published scores."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from typer.core import TyperGroup

from medusa_jax.cli.opening import Config, Out, Settings, prepared_run

if TYPE_CHECKING:
    from medusa_jax.runs.submit import Written
    from submission.challenges import Challenge

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
    help="`medusa submit CONFIG` writes a run's challenge files; the commands below check, score, convert and compare.",
)


class ChallengeId(StrEnum):
    """The challenges of `submission.challenges`."""

    interspeech2025 = "interspeech2025"
    odyssey2024 = "odyssey2024"


class TaskKind(StrEnum):
    """Task 1 and Task 2."""

    categorical = "categorical"
    attributes = "attributes"


ChallengeOption = Annotated[ChallengeId, typer.Option(help="Whose rules apply.")]
TaskOption = Annotated[
    TaskKind | None,
    typer.Option(
        help="Task 1 (categorical) or Task 2 (attributes); by default, told from the file's header."
    ),
]
NamesOption = Annotated[
    Path | None,
    typer.Option(
        help="The test files, if not the challenge's own: a folder of .wav files, a CSV with a FileName column, or a list, one name a line."
    ),
]


@app.command()
def write(config: Config, settings: Settings = None, out: Out = Path("runs")) -> None:
    """Write the challenge files of both tasks from the trained ensemble of CONFIG."""
    from medusa_jax.runs.submit import submit as write_files

    with prepared_run(config, settings, out, features=False) as prepared:
        show_written(write_files(prepared))


def show_written(written: "Written") -> None:
    """Say where a run's files are and what they scored, in lines of 80 columns."""
    print(
        "challenge files"
        + (", scored against the corpus's hidden labels:" if written.scores else ":")
    )
    for number, (kind, path) in enumerate(written.files.items(), 1):
        metrics = written.scores.get(kind, {})
        named = ", ".join(
            f"{shown} {metrics[name]:.4f}" for name, shown in _SHOWN.items() if name in metrics
        )
        print(f"  Task {number}, valid: {named}" if named else f"  Task {number}, valid")
        print(f"    {path}")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The CSV file you are about to upload.")],
    challenge: ChallengeOption = ChallengeId.interspeech2025,
    task: TaskOption = None,
    names: NamesOption = None,
) -> None:
    """Say whether FILE would be accepted, and if not, what to fix on which line. Exit code 0: valid; 9: not."""
    from medusa_jax.errors import SubmissionError
    from submission.problems import grouped
    from submission.validator import task_of, validate

    rules = _challenge(challenge, names)
    chosen = rules.task(task.value) if task else task_of(file, rules)
    problems = validate(file, chosen)
    if not problems:
        unknown = (
            "" if chosen.names else " (only their pattern and number: give the names with --names)"
        )
        typer.echo(f"valid: {file} for {chosen.called}, {chosen.count:,} files{unknown}")
        return
    typer.echo(f"not valid: {file} for {chosen.called}, {len(problems):,} problem(s)")
    table = Table("line", Column("problem", overflow="fold"), "lines like it", "hint")
    for first, count in grouped(problems):
        table.add_row(
            "file" if first.line is None else f"{first.line:,}",
            escape(first.message),
            f"{count:,}",
            escape(first.hint),
        )
    Console().print(table)
    raise typer.Exit(SubmissionError.exit_code)


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="A submission.")],
    answers: Annotated[
        Path,
        typer.Argument(
            help="The true labels: labels_consensus.csv or a part of it (its Test3 rows count), or a file like the submission."
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
        table.add_row(
            f"{metric} (ranking)" if metric == scores.task.ranking_metric else metric,
            f"{value:.4f}",
        )
    Console().print(table)


@app.command()
def convert(
    file: Annotated[
        Path,
        typer.Argument(
            help="An evaluation file: Filename,Prediction with 8 logits, or MEDUSA's FileName,Prediction with 11 numbers."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The submission to write.")],
    order: Annotated[
        str | None,
        typer.Option(
            help="Class order of the logits: organisers (A,S,H,U,F,D,C,N), alphabetical, or eight letters."
        ),
    ] = None,
    check_against: Annotated[
        Path | None,
        typer.Option(
            help="Labels (FileName,EmoClass) by which the class order is found out or checked."
        ),
    ] = None,
    challenge: ChallengeOption = ChallengeId.interspeech2025,
    task: Annotated[
        TaskKind, typer.Option(help="Task 1 (the largest logit) or Task 2 (the attributes).")
    ] = TaskKind.categorical,
    names: NamesOption = None,
) -> None:
    """Turn an evaluation file with logits into a submission that passes the check, or write nothing."""
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
    """Show the scores of your runs beside the published ones, each row labelled as what it is."""
    from submission.challenges import challenge_of
    from submission.leaderboard import leaderboard as collect
    from submission.leaderboard import write_leaderboard

    rules = challenge_of(challenge.value)
    rows = collect(runs, rules)
    for each in rules.tasks:
        typer.echo(each.called)
        table = Table("system", each.ranking_metric, "source", "run")
        for ours in (True, False):
            for _, row in rows[
                (rows["task"] == each.kind) & ((rows["run"] != "") == ours)
            ].iterrows():
                table.add_row(
                    escape(row["system"]),
                    f"{row['score']:.4f}",
                    escape(row["source"]),
                    escape(row["run"]),
                )
            table.add_section()
        Console().print(table)
    typer.echo("Only numbers on the same test set compare.")
    for _, row in rows[rows["task"].isna()].iterrows():
        typer.echo(f"{row['run']}/{row['file']}: {row['source']}", err=True)
    if out:
        typer.echo(f"written: {write_leaderboard(rows, out)}")


def _challenge(challenge: ChallengeId, names: Path | None) -> "Challenge":
    from submission.challenges import challenge_of

    rules = challenge_of(challenge.value)
    if names is None:
        return rules
    from submission.answers import read_names

    return rules.with_names(read_names(names, rules))
