"""What studies of a run share: which utterances they score, the derived run that trains for them, and where their tables lie."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medusa_jax.errors import ConfigError, EvaluationError, RunFolderError
from medusa_jax.evaluation.intervals import clusters_of
from medusa_jax.runs.evaluate import Part, parts_to_score, with_answers
from medusa_jax.runs.folder import opened
from medusa_jax.runs.prepare import Prepared, prepare
from medusa_jax.runs.provenance import provenance
from medusa_jax.runs.run import Run
from medusa_jax.studies.tables import Study, write_study

STUDIES = "studies"
"""The folder of a run that holds what studies of it found."""


@dataclass(frozen=True)
class Conducted:
    """The table of each part, the part that matters most last, and the files that hold it."""

    studies: dict[str, Study]
    files: dict[str, list[Path]]


def labelled_parts(prepared: Prepared) -> Iterator[tuple[Part, list[np.ndarray]]]:
    """Each labelled part that nobody learned from, its utterances, and their rows fold by fold."""
    corpus = with_answers(prepared.corpus)
    for name, rows_of_folds in parts_to_score(prepared, corpus).items():
        frame = corpus.frame.iloc[np.concatenate(rows_of_folds)].reset_index(drop=True)
        yield Part(name, replace(corpus, frame=frame), ()), rows_of_folds


def check_own_run(prepared: Prepared) -> None:
    """Raise `ConfigError` for a run that only trains members for a study of another."""
    run = prepared.run
    if run.config.study_of is not None:
        raise ConfigError(
            "this run trains members for a study and has none of its own",
            where=run.folder,
            hint=f"name {run.config.study_of}",
        )


def check_scorable(prepared: Prepared) -> None:
    """Raise `EvaluationError` if no part is labelled, or one has a single speaker: known before hours of training."""
    found = list(labelled_parts(prepared))
    if not found:
        hint = "label a development or test part of the corpus, or set corpus.folds"
        raise EvaluationError(
            "no utterance outside the training part is labelled",
            where=f"corpus {prepared.corpus.name!r}",
            hint=hint,
        )
    for part, _ in found:
        if not clusters_of(part.corpus.frame["speaker"][part.corpus.labels >= 0]).any():
            raise EvaluationError(
                f"{part.name} has one speaker, and differences are tested over speakers",
                where=f"corpus {prepared.corpus.name!r}",
            )


def written(base: Run, kind: str, studies: Mapping[str, Study]) -> Conducted:
    """Write `studies/KIND-PART.csv`, `.json` and `.md` of each part below the base run's folder."""
    return Conducted(
        dict(studies),
        {
            part: write_study(base.folder / STUDIES, f"{kind}-{part}", study)
            for part, study in studies.items()
        },
    )


def made_by(base: Prepared, prepared: Prepared) -> dict[str, object]:
    """Where a study's numbers come from: the run that it is about, the one that trained for it, and what every run says."""
    names = {"run": base.run.folder.name, "trained in": prepared.run.folder.name}
    return names | provenance(prepared.run) | {"corpus": prepared.corpus.digest()}


def interval_note(part: Part) -> str:
    """What the intervals of a part's scores are."""
    clusters = clusters_of(part.corpus.frame["speaker"][part.corpus.labels >= 0]).max() + 1
    return f"In brackets: 95 % intervals, bootstrap over {clusters:,} speakers (each utterance of an unknown speaker counts as one)."


@contextmanager
def opened_beside(base: Prepared, run: Run, *, features: bool = True) -> Iterator[Prepared]:
    """A run derived from `base`, its folder held by this process, on the very table of utterances that the base run has."""
    with opened(run):
        if not run.corpus_file.exists():
            base.corpus.save(run.corpus_file)
        prepared = prepare(run, features=features)
        if prepared.corpus.digest() != base.corpus.digest():
            hint = "remove this folder, or choose another --out"
            raise RunFolderError(
                "this study was begun on another corpus than the run has now",
                where=run.folder,
                hint=hint,
            )
        yield prepared
