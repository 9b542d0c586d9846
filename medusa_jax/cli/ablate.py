"""`medusa ablate`: the ablation trained, scored and shown."""

from pathlib import Path

from rich.markup import escape

from medusa_jax.cli.opening import prepared_run, say
from medusa_jax.cli.studies import train_and_show


def ablate(
    config: Path,
    settings: list[str] | None,
    out: Path,
    seeds: int,
    members: str | None,
    rows: str | None,
    plan: bool,
    speed: float | None,
) -> None:
    """Train what the ablation of `config` needs and is not there yet, write its tables and show the one that matters most; or only plan it."""
    with prepared_run(config, settings, out, features=False) as base:
        from medusa_jax.studies.ablation import opened_ablation, planned
        from medusa_jax.studies.ablation_study import conduct
        from medusa_jax.studies.derived_run import check_scorable

        ablation = planned(base, seeds, _names(members), _names(rows))
        check_scorable(base)
        for note in ablation.notes:
            say(f"[yellow]note:[/yellow] {escape(note)}")
        with opened_ablation(ablation) as prepared:
            train_and_show(
                prepared,
                f"{len(ablation.rows)} rows, ",
                lambda: conduct(ablation, prepared),
                "ablation",
                plan,
                speed,
            )


def _names(text: str | None) -> list[str] | None:
    """The names of a list with commas; none: all."""
    names = [name.strip() for name in text.split(",")] if text is not None else []
    return [name for name in names if name] or None
