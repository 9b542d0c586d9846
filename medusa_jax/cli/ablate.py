"""`medusa ablate`: the ablation trained, scored and shown."""

from typing import Annotated

import typer
from rich.markup import escape

from medusa_jax.cli.opening import prepared_run, say
from medusa_jax.cli.options import RUNS, Config, Out, Plan, Settings, Speed
from medusa_jax.cli.studies import train_and_show

AblationSeeds = Annotated[
    int, typer.Option(help="Number of seeds to train each member of each row with.", min=1)
]
Members = Annotated[
    str | None, typer.Option(help="Ids of members, separated by commas; default: all.")
]
Rows = Annotated[str | None, typer.Option(help="Names of rows, separated by commas; default: all.")]


def ablate(
    config: Config,
    settings: Settings = None,
    out: Out = RUNS,
    seeds: AblationSeeds = 3,
    members: Members = None,
    rows: Rows = None,
    plan: Plan = False,
    speed: Speed = None,
) -> None:
    """Train every member without one thing at a time (the paper's Table 2) and test differences.

    Run it again after an interruption to resume.
    """
    with prepared_run(config, settings, out, features=False) as base:
        from medusa_jax.studies.ablation import opened_ablation, planned
        from medusa_jax.studies.ablation_study import conduct
        from medusa_jax.studies.derived_run import check_scorable

        ablation = planned(base, seeds, _names(members), _names(rows))
        check_scorable(base)
        for note in ablation.notes:
            say(f"[yellow]note:[/yellow] {escape(note)}")
        with opened_ablation(ablation) as prepared:
            count = f"{len(ablation.rows)} rows, "
            train_and_show(
                prepared, count, lambda: conduct(ablation, prepared), "ablation", plan, speed
            )


def _names(text: str | None) -> list[str] | None:
    """The names of a list separated by commas; None (all) if there are none."""
    names = [name.strip() for name in (text or "").split(",")]
    return [name for name in names if name] or None
