"""`medusa train`: Stages 1 and 2 of every member."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medusa_jax.cli.opening import prepared_run, reuse_members, together, unfinished_run
from medusa_jax.cli.options import RUNS, Out, Plan, Settings, Speed
from medusa_jax.cli.plan import plan_training
from medusa_jax.errors import ConfigError

if TYPE_CHECKING:
    from medusa_jax.runs.run import Run

OptionalConfig = Annotated[
    Path | None, typer.Argument(help="As for the other commands; not needed with --resume.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Resume the only unfinished run below --out.")
]
Profile = Annotated[
    bool,
    typer.Option("--profile", help="Trace some steps of each group into the run's folder."),
]
Distributed = Annotated[
    bool,
    typer.Option(
        "--distributed", help="This is one of several processes started by srun or mpirun."
    ),
]


def train(
    config: OptionalConfig = None,
    settings: Settings = None,
    out: Out = RUNS,
    resume: Resume = False,
    plan: Plan = False,
    speed: Speed = None,
    profile: Profile = False,
    distributed: Distributed = False,
) -> None:
    """Train every member of CONFIG (Stages 1 and 2).

    Run it again after an interruption to resume.
    """
    chosen = config or _resumed(resume, out)
    with together(distributed), prepared_run(chosen, settings, out) as prepared:
        reuse_members(prepared)
        if plan:
            plan_training(prepared, speed)
            return
        from medusa_jax.machines.profiler import traced
        from medusa_jax.runs.train import train as train_run

        folder = prepared.run.profile_folder
        train_run(prepared, partial(traced, folder=folder) if profile else nullcontext)
        _tell_where(prepared.run, profile)


def _resumed(resume: bool, out: Path) -> Path:
    """The folder of the run to resume. Raises `ConfigError` unless asked for one."""
    if not resume:
        hint = "give a configuration or a run's folder, or --resume"
        raise ConfigError("no run given to train", where="medusa train", hint=hint)
    return unfinished_run(out)


def _tell_where(run: "Run", profile: bool) -> None:
    """Print the place of the members, and of the trace."""
    from medusa_jax.machines.profiler import traces_in

    print(f"{len(run.config.members)} member(s) trained, in {run.folder}")
    if not profile:
        return
    traces = traces_in(run.profile_folder)
    if traces:
        print(f"open it at https://ui.perfetto.dev:\n    {traces[-1]}")
    else:
        print("every member was trained already, so there is no trace")
