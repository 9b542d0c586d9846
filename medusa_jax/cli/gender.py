"""`medusa gender`: genders that a corpus hides, predicted."""

from rich.markup import escape

from medusa_jax.cli.opening import prepared_run, say
from medusa_jax.cli.options import RUNS, Config, Out, Settings


def gender(config: Config, settings: Settings = None, out: Out = RUNS) -> None:
    """Predict the genders that the corpus hides, by a small classifier on CONFIG's encoder.

    The table it writes is for corpus.genders. Run it again after an interruption to resume.
    """
    with prepared_run(config, settings, out) as base:
        from medusa_jax.studies.gender import opened_predictor, predict_genders

        with opened_predictor(base) as prepared:
            found = predict_genders(prepared)
    shown = (
        "" if found.accuracy is None else f"; right on {found.accuracy:.1%} of the held-out part"
    )
    say(f"predicted {found.count:,} genders{shown}: {escape(str(found.file))}")
    say(f"use them: --set corpus.genders={escape(str(found.file))}")
