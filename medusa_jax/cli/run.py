"""`medusa demo` and `medusa run`: all steps of a run, one after the other."""

from pathlib import Path

from medusa_jax.cli.opening import prepared_run, reuse_members
from medusa_jax.cli.options import RUNS, Config, Out, Settings
from medusa_jax.cli.report import show_scores
from medusa_jax.cli.submit import show_written


def demo(settings: Settings = None, out: Out = RUNS) -> None:
    """Train a small MEDUSA on generated speech and write a valid submission.

    The speech has MSP-Podcast's layout. It takes a few minutes and needs no data.
    """
    run(Path("demo"), settings, out)
    print(
        "\nNext: the same on real speech. Get RAVDESS (Zenodo record 1188976, free for research):"
    )
    print("  pip install opensmile && medusa run ravdess --set corpus.path=FOLDER_OF_RAVDESS")


def run(config: Config, settings: Settings = None, out: Out = RUNS) -> None:
    """Run all steps: corpus, features, members, ensemble, submission, scores.

    Finished steps are not repeated.
    """
    with prepared_run(config, settings, out) as prepared:
        from medusa_jax.runs.chain import run_all

        reuse_members(prepared)
        finished = run_all(prepared)
        show_scores(prepared, finished.scored)
        if finished.written is not None:
            show_written(prepared, finished.written)
