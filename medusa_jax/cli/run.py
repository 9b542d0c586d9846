"""`medusa demo` and `medusa run`: all steps of a run, one after the other."""

from pathlib import Path
from typing import TYPE_CHECKING

from medusa_jax.cli.opening import prepared_run, results, reuse_members
from medusa_jax.cli.options import RUNS, Config, Out, Settings
from medusa_jax.cli.predict import shown
from medusa_jax.cli.report import show_scores
from medusa_jax.cli.submit import show_written

if TYPE_CHECKING:
    from medusa_jax.runs.prepare import Prepared


def demo(settings: Settings = None, out: Out = RUNS) -> None:
    """Train a small MEDUSA on generated speech and write a valid submission.

    The speech has MSP-Podcast's layout. It takes a few minutes and needs no data.
    """
    with prepared_run(Path("demo"), settings, out) as prepared:
        _run(prepared)
        _hear(prepared)
    print(
        "\nNext: the same on real speech. Get RAVDESS (Zenodo record 1188976, free for research):"
    )
    print("  pip install opensmile && medusa run ravdess --set corpus.path=FOLDER_OF_RAVDESS")


def run(config: Config, settings: Settings = None, out: Out = RUNS) -> None:
    """Run all steps: corpus, features, members, ensemble, submission, scores.

    Finished steps are not repeated.
    """
    with prepared_run(config, settings, out) as prepared:
        _run(prepared)


def _run(prepared: "Prepared") -> None:
    from medusa_jax.runs.chain import run_all

    reuse_members(prepared)
    finished = run_all(prepared)
    show_scores(prepared, finished.scored)
    if finished.written is not None:
        show_written(prepared, finished.written)


def _hear(prepared: "Prepared") -> None:
    """Predict one clip with the trained system, as `medusa predict` does."""
    from medusa_jax.inference.recogniser import load

    corpus, folder = prepared.corpus, prepared.run.folder
    row = int((corpus.frame["split"] == "development").to_numpy().argmax())
    result = load(folder)(corpus.audio_path(row), transcript=corpus.frame["transcript"][row])
    print("\nthe trained system hears one clip:")
    results().print(shown([result]))
    print(f"Try your own: medusa predict {folder} FILE.wav")
    print("(It learned from synthetic voices alone, so expect no sense in the answer.)")
