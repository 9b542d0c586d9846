"""`medusa ensemble`: members combined as the run asks, or in every way and compared."""

from pathlib import Path
from typing import Annotated

import typer

from medusa_jax.cli.opening import prepared_run
from medusa_jax.cli.options import RUNS, Config, Out, Plan, Settings, Speed
from medusa_jax.cli.studies import show, train_and_show
from medusa_jax.errors import ConfigError

TOPS = "5,7"  # of the paper's Table 3
Study = Annotated[
    bool,
    typer.Option(
        "--study", help="Compare all ways to combine members (the paper's Table 3), and test them."
    ),
]
StudySeeds = Annotated[
    int,
    typer.Option(
        help="With --study: train each member with this many seeds first; 1: use the run's own.",
        min=1,
    ),
]
Tops = Annotated[
    str,
    typer.Option(
        help="With --study: sizes of the sets of best held-out members, separated by commas."
    ),
]


def ensemble(
    config: Config,
    settings: Settings = None,
    out: Out = RUNS,
    study: Study = False,
    seeds: StudySeeds = 1,
    top: Tops = TOPS,
    plan: Plan = False,
    speed: Speed = None,
) -> None:
    """Combine the trained members: votes, and meta-classifier and soup or a weighted vote.

    With --study, combine them in every way and compare.
    """
    if study:
        study_ensembles(config, settings, out, seeds, top, plan, speed)
    elif seeds != 1 or top != TOPS or plan:
        what, hint = "--seeds, --top and --plan need --study", "add --study, or remove them"
        raise ConfigError(what, where="medusa ensemble", hint=hint)
    else:
        combine_members(config, settings, out)


def combine_members(config: Path, settings: list[str] | None, out: Path) -> None:
    """Make the systems of the run's `ensemble.kind`."""
    with prepared_run(config, settings, out, features=False) as prepared:
        from medusa_jax.runs.combine import combine

        combine(prepared)
        systems = ", ".join(prepared.run.config.ensemble.systems)
        print(f"{systems} are in {prepared.run.folder}")


def study_ensembles(
    config: Path,
    settings: list[str] | None,
    out: Path,
    seeds: int,
    top: str,
    plan: bool,
    speed: float | None,
) -> None:
    """Combine the members in every way, over several `seeds` if asked, and show the tables."""
    tops = _numbers(top)
    with prepared_run(config, settings, out, features=False) as base:
        from medusa_jax.studies.combinations import planned
        from medusa_jax.studies.derived_run import check_scorable, opened_beside
        from medusa_jax.studies.ensembles import conduct

        wanted = planned(base, seeds, tops)
        check_scorable(base)
        if seeds == 1:
            _check_unplanned(plan)
            show(conduct(wanted, base), "ensembles")
            return
        with opened_beside(base, wanted.run) as prepared:
            train_and_show(
                prepared, "", lambda: conduct(wanted, prepared), "ensembles", plan, speed
            )


def _check_unplanned(plan: bool) -> None:
    """Raise `ConfigError` for the plan of a study that trains nothing."""
    if plan:
        what, hint = "a study of one seed trains nothing", "add --seeds 3, or remove --plan"
        raise ConfigError(what, where="--plan", hint=hint)


def _numbers(text: str) -> list[int]:
    """The numbers of a list separated by commas. Raises `ConfigError` for anything else."""
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        what, hint = f"{text!r} is not a list of numbers", "such as --top 5,7"
        raise ConfigError(what, where="--top", hint=hint) from error
