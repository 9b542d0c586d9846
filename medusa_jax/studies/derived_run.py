"""The run that trains for a study of another run, and the study's files in that run's folder."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medusa_jax.config.ablation import AblationConfig
from medusa_jax.config.training import MemberConfig
from medusa_jax.errors import ConfigError, EvaluationError, RunFolderError
from medusa_jax.evaluation.headline import headline_of
from medusa_jax.evaluation.intervals import clusters_of
from medusa_jax.runs.evaluate import Part, labelled_parts
from medusa_jax.runs.folder import opened
from medusa_jax.runs.prepare import Prepared, prepare
from medusa_jax.runs.provenance import provenance
from medusa_jax.runs.run import Run
from medusa_jax.studies.study import Study
from medusa_jax.studies.study_file import write_study


@dataclass(frozen=True)
class Conducted:
    """The study of each part, the most important part last, and the files that hold it."""

    studies: dict[str, Study]
    files: dict[str, list[Path]]


def replicate(member: MemberConfig, number: int, name: str) -> MemberConfig:
    """Replicate `number` (from 1) of a member, called `name`, with a seed of its own.

    The first keeps the member's seed. The run's own seed stays, and with it the order of the
    utterances and the held-out part, so the spread over replicates is that of training, not data.
    """
    seed = member.seed
    if number > 1:
        seed = int(np.random.SeedSequence((member.seed, number)).generate_state(1)[0])
    return member.model_copy(update={"id": name, "seed": seed})


def derived(
    base: Run, name: str, about: str, members: Sequence[MemberConfig], **changes: object
) -> Run:
    """The run `NAME-name` beside `base` that trains these members for a study of it.

    Without submission and ablation, on which no number of a member depends.
    """
    own = {
        "name": f"{base.config.name}-{name}",
        "about": about,
        "study_of": base.folder.name,
        "members": tuple(members),
        "submission": None,
        "ablation": AblationConfig(),
        **changes,
    }
    return Run(base.config.model_copy(update=own), base.out)


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
    """Raise `EvaluationError` if no part is labelled, or one has a single speaker (dialogue).

    To be called before hours of training.
    """
    found, where = labelled_parts(prepared), f"corpus {prepared.corpus.name!r}"
    if not found:
        raise EvaluationError(
            "no utterance outside the training part is labelled",
            where=where,
            hint="label a development or test part of the corpus, or set corpus.folds",
        )
    for part in found:
        cluster = headline_of(part.corpus).cluster
        if _clusters(part) < 2:
            raise EvaluationError(
                f"{part.name} has one {cluster}, and differences are tested over {cluster}s",
                where=where,
            )


def written(base: Run, kind: str, studies: Mapping[str, Study]) -> Conducted:
    """Write `studies/KIND-PART.csv`, `.json` and `.md` of each part into the base run's folder."""
    files = {
        part: write_study(base.studies_folder, f"{kind}-{part}", study)
        for part, study in studies.items()
    }
    return Conducted(dict(studies), files)


def made_by(base: Prepared, prepared: Prepared) -> dict[str, object]:
    """A study's provenance: its run, the run that trained for it, and every run's provenance."""
    names = {"run": base.run.folder.name, "trained in": prepared.run.folder.name}
    return names | provenance(prepared.run) | {"corpus": prepared.corpus.digest()}


def interval_note(part: Part) -> str:
    """The meaning of the intervals of a part's scores."""
    headline = headline_of(part.corpus)
    over = f"{_clusters(part):,} {headline.cluster}s{headline.unknown()}"
    return f"In brackets: 95 % intervals, bootstrap over {over}."


@contextmanager
def opened_beside(base: Prepared, run: Run, *, features: bool = True) -> Iterator[Prepared]:
    """A run derived from `base`, its folder locked, on the same table of utterances.

    Raises `RunFolderError` if its folder has another table.
    """
    with opened(run):
        if not run.corpus_file.exists():
            base.corpus.save(run.corpus_file)
        prepared = prepare(run, features=features)
        if prepared.corpus.digest() != base.corpus.digest():
            raise RunFolderError(
                "this study was begun on another corpus than the run has now",
                where=run.folder,
                hint="remove this folder, or choose another --out",
            )
        yield prepared


def _clusters(part: Part) -> int:
    """Speakers (dialogues) of the labelled utterances; each utterance of unknown speaker counts
    as one.
    """
    clusters = headline_of(part.corpus).clusters(part.corpus)
    return int(clusters_of(clusters[part.corpus.labels >= 0]).max()) + 1
