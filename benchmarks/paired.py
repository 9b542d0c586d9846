"""One system of a finished run against others of it, in pairs.

    python benchmarks/paired.py RUN_FOLDER SYSTEM OTHER [OTHER ...] [--part test1] [--out FILE]

Differences of the corpus's headline score (weighted F1 of conversations, otherwise Macro-F1), with
intervals and p-values by dialogue or speaker, corrected together (Holm).
"""

import argparse
import os
from pathlib import Path

import numpy as np
from results import machine, save
from rich.console import Console
from rich.table import Table

from medusa_jax.config.yaml_file import load_config
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import EvaluationError, MedusaError
from medusa_jax.evaluation.format import interval_text, p_text, signed_text
from medusa_jax.evaluation.headline import headline_of
from medusa_jax.evaluation.significance import compare, difference_columns
from medusa_jax.evaluation.tables import Row
from medusa_jax.runs.run import Run


def differences(folder: Path, one: str, others: list[str], part: str) -> tuple[str, list[Row]]:
    """The score's name, and a row for each other member.

    Raises `EvaluationError` if the run has no labelled utterances in the part.
    """
    run = Run(load_config(folder / "config.yaml"), folder.resolve().parent)
    corpus = Corpus.load(run.corpus_file)
    known_n = (corpus.frame["split"] == part).to_numpy() & (corpus.labels >= 0)
    if not known_n.any():
        raise EvaluationError(f"no labelled utterance in {part}", where=folder)
    rows, mine = np.flatnonzero(known_n), corpus.where(known_n)
    guesses = {}
    for name in (one, *others):
        logits_nc = run.predictions(corpus, 0, name).where(rows).logits
        guesses[name] = logits_nc.argmax(axis=1)[None]
    headline = headline_of(mine)
    found = compare(
        mine.labels,
        guesses,
        [(one, other) for other in others],
        mine.classes,
        mine.frame[headline.cluster],
        metric=headline.metric,
        cluster=headline.cluster,
    )
    return headline.title, [{"other": pair.other, **difference_columns(pair)} for pair in found]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a finished run's folder")
    parser.add_argument("one", help="the member that is compared")
    parser.add_argument("others", nargs="+", help="with these members")
    parser.add_argument("--part", default="test1")
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    try:
        title, rows = differences(given.run, given.one, given.others, given.part)
    except MedusaError as error:
        raise SystemExit(str(error)) from error
    table = Table(given.one, title, "95 %", "p, corrected", title=f"{given.part}, paired")
    for row in rows:
        bounds = interval_text(row, "difference", "+z.3f")
        difference, p = signed_text(row["difference"]), p_text(row["p_corrected"])
        table.add_row(f"less {row['other']}", difference, bounds, p)
    Console(width=None if os.isatty(1) else 100).print(table)
    save(given.out, machine("numpy", "medusa-jax"), rows=rows)


if __name__ == "__main__":
    main()
