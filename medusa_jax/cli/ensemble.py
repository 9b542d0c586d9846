"""`medusa ensemble --study`: the study of ensembles trained, scored and shown."""

from pathlib import Path

from medusa_jax.cli.opening import prepared_run
from medusa_jax.cli.studies import show, train_and_show
from medusa_jax.errors import ConfigError


def study_ensembles(
    config: Path,
    settings: list[str] | None,
    out: Path,
    seeds: int,
    top: str,
    plan: bool,
    speed: float | None,
) -> None:
    """Combine the members of `config` in every way, with several seeds after training them; write the tables and show the one that matters most."""
    tops = _numbers(top)
    with prepared_run(config, settings, out, features=False) as base:
        from medusa_jax.studies.combinations import planned
        from medusa_jax.studies.derived_run import check_scorable, opened_beside
        from medusa_jax.studies.ensembles import conduct

        wanted = planned(base, seeds, tops)
        check_scorable(base)
        if seeds == 1:
            if plan:
                hint = "add --seeds 3, or leave --plan out"
                raise ConfigError(
                    "a study of one seed trains nothing, so there is nothing to plan",
                    where="--plan",
                    hint=hint,
                )
            show(conduct(wanted, base), "ensembles")
            return
        with opened_beside(base, wanted.run) as prepared:
            train_and_show(
                prepared, "", lambda: conduct(wanted, prepared), "ensembles", plan, speed
            )


def _numbers(text: str) -> list[int]:
    """The numbers of a list with commas."""
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is not a list of numbers", where="--top", hint="such as --top 5,7"
        ) from error
