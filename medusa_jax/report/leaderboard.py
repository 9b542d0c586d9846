"""The leaderboard: the runs of a folder side by side, with published scores where they compare.

Runs compare within a group: the same part of the same corpus. A run that is unfinished, damaged or
changed since it was scored is left out by name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medusa_jax.config.ensemble import WEIGHTED
from medusa_jax.ensemble.variants import SINGLE, SOUP
from medusa_jax.errors import EvaluationError, MedusaError
from medusa_jax.evaluation.scores_file import SystemLine
from medusa_jax.evaluation.tables import SYNTHETIC, Row, markdown_rows
from medusa_jax.report.run_scores import RunScores, read_run, run_folders, scored_parts
from submission.challenges import CHALLENGES, Challenge, Published, Task

COLUMNS = {
    "system": "system",
    "run": "run",
    "weighted_f1": "weighted F1",
    "macro_f1": "Macro-F1",
    "accuracy": "accuracy",
    "ccc_mean": "mean CCC",
    "fit_on": "learned from",
    "table": "corpus table",
}
"""The columns that are shown, with their headers."""
_SCORES = ("macro_f1", "macro_f1_low", "macro_f1_high", "accuracy", "ccc_mean")
_SPOKEN = ("weighted_f1", "weighted_f1_low", "weighted_f1_high")
"""The scores of conversations alone."""
_BRACKETS = "In brackets: 95 % intervals, by bootstrap over speakers."
_DIALOGUES = (
    "In brackets: 95 % intervals, by bootstrap over speakers, of conversations over dialogues."
)
_TEST = "test3"


@dataclass(frozen=True)
class Group:
    """Rows that compare: one part of one corpus, our own and, where they fit, published ones."""

    corpus: str
    part: str
    synthetic: bool
    rows: list[Row]

    @property
    def title(self) -> str:
        """`test3 of generated (synthetic), 160 utterances`."""
        name = f"{self.part} of {self.corpus}" if self.part else self.corpus
        size = f", {self.rows[0]['utterances']:,} utterances" if self.part else ""
        return name + (" (synthetic)" if self.synthetic else "") + size

    @property
    def columns(self) -> dict[str, str]:
        """The columns to show: the corpus table's digest only where the runs' differ."""
        tables = {row["table"] for row in self.rows if row["table"]}
        hidden = () if len(tables) > 1 else ("table",)
        return {name: header for name, header in COLUMNS.items() if name not in hidden}

    @property
    def notes(self) -> list[str]:
        """Sentences that a reader of the rows must know."""
        notes = [SYNTHETIC] if self.synthetic else []
        if "table" in self.columns:
            notes.append(
                "The runs read different tables of utterances (other labels, transcripts or "
                "recordings): only equal ones compare for certain."
            )
        if not self.part:
            notes.append(
                "Published, on other utterances than any run here: none of these numbers compares "
                "with those of the runs."
            )
        return notes


@dataclass(frozen=True)
class Leaderboard:
    """The groups, the reason for each run that is left out, and a note on the published scores."""

    groups: list[Group]
    left_out: dict[str, str]
    published: str

    @property
    def rows(self) -> list[Row]:
        """All rows of all groups, flat, for CSV."""
        return [row for group in self.groups for row in group.rows]

    @property
    def note(self) -> str:
        """The note below all tables."""
        spoken = any("weighted_f1" in row for row in self.rows)
        return f"{_DIALOGUES if spoken else _BRACKETS} {self.published}"

    def markdown(self) -> str:
        """The tables with all notes."""
        text = ["# Leaderboard"]
        for group in self.groups:
            text += [f"## {group.title}", *(f"**{note}**" for note in group.notes)]
            text.append(markdown_rows(group.rows, group.columns).rstrip())
        text.append(self.note)
        if self.left_out:
            lines = [f"- {run}: {reason}" for run, reason in self.left_out.items()]
            text += ["## Not in the tables", "\n".join(lines)]
        return "\n\n".join(text) + "\n"


def leaderboard(
    out: Path, *, part: str | None = None, every: bool = False, published: bool = False
) -> Leaderboard:
    """All runs below `out`, each with the system that it submits, or with `every` system.

    `part` is the part to show, by default each run's most important one. `published` shows the
    published scores also where no run was scored on their utterances. Raises `EvaluationError` if
    there is no run, or none with that part.
    """
    folders = run_folders(out)
    rows, left_out = list[Row](), dict[str, str]()
    for folder in folders:
        try:
            run = read_run(folder, part)
            rows += [_row(run, line) for line in run.systems(every)]
        except MedusaError as error:
            left_out[folder.name] = _reason(error)
    if part is not None and not rows:
        scored = sorted({name for folder in folders for name in scored_parts(folder)})
        raise EvaluationError(
            f"no run here has scores on a part called {part!r}",
            where=out,
            hint=f"choose among {', '.join(scored)}"
            if scored
            else "score a run: `medusa evaluate`",
        )
    groups, fits = _grouped(rows)
    others = _others() if published and not fits else []
    return Leaderboard(groups + others, left_out, _note(fits, published))


def challenge_rows(out: Path, challenge: Challenge) -> tuple[list[Row], dict[str, str]]:
    """One row a task and system of `challenge`, and the reason for each run that is left out.

    A row has the ranking metric's name and value (`metric`, `score`), its `source`, every metric of
    the challenge, `corpus` and `run`. Our submitted systems that were scored on the test set come
    first, then the published ones, each best first. Raises `EvaluationError` if there is no run.
    """
    runs, left_out = list[RunScores](), dict[str, str]()
    for folder in run_folders(out):
        try:
            run = read_run(folder, _TEST) if _TEST in scored_parts(folder) else None
            if run and run.config.submission and run.config.submission.challenge == challenge.id:
                run.systems(every=False)
                runs.append(run)
        except MedusaError as error:
            left_out[folder.name] = _reason(error)
    rows: list[Row] = []
    for task in challenge.tasks:
        rows += sorted(_ours(task, runs), key=lambda row: -float(row["score"] or 0))
        rows += [_theirs(task, one) for one in _ranked(task)]
    return rows, left_out


def _ours(task: Task, runs: list[RunScores]) -> Iterator[Row]:
    for run in runs:
        for line in run.systems(every=False):
            metrics = line.model_dump()
            if metrics.get(task.ranking_metric) is not None:
                corpus, name = run.file.corpus.name, run.folder.resolve().name
                yield _task_row(task, line.system, metrics, _source(run), corpus, name)


def _theirs(task: Task, one: Published) -> Row:
    corpus = f"{task.title} test set"
    return _task_row(task, one.system, one.metrics, one.source, corpus, "")


def _task_row(
    task: Task, system: str, metrics: Mapping[str, float], source: str, corpus: str, run: str
) -> Row:
    every = [name for one in CHALLENGES[task.challenge].tasks for name in one.metrics]
    return {
        "challenge": task.challenge,
        "task": task.kind,
        "system": system,
        "metric": task.ranking_metric,
        "score": metrics[task.ranking_metric],
        "source": source,
        **{name: metrics.get(name) if name in task.metrics else None for name in every},
        "corpus": corpus,
        "run": run,
    }


def _ranked(task: Task) -> list[Published]:
    return sorted(task.published, key=lambda one: -one.metrics[task.ranking_metric])


def _source(run: RunScores) -> str:
    """The origin of our numbers, in words that no published score has."""
    if run.file.corpus.synthetic:
        return "this run (generated corpus, synthetic speech)"
    return f"this run (corpus {run.file.corpus.name}, scored here)"


def _reason(error: MedusaError) -> str:
    return error.what.split("\n")[0] + (f" ({error.hint})" if error.hint else "")


def _row(run: RunScores, line: SystemLine) -> Row:
    corpus, scores = run.file.corpus, line.model_dump()
    return {
        "corpus": corpus.name,
        "synthetic": corpus.synthetic,
        "part": run.part,
        "utterances": line.utterances,
        "source": _source(run),
        "run": run.folder.resolve().name,
        "system": line.system,
        "kind": line.kind,
        **({name: scores[name] for name in _SPOKEN} if line.weighted_f1 is not None else {}),
        **{name: scores[name] for name in _SCORES},
        "fit_on": run.config.ensemble.fit_on if line.system in (SINGLE, SOUP, WEIGHTED) else None,
        "table": str(run.file.provenance.get("corpus", ""))[:8] or None,
    }


def _grouped(rows: list[Row]) -> tuple[list[Group], bool]:
    """Groups of rows that compare, best first, and whether published rows are among them."""
    own: dict[tuple[str, str, bool, int], list[Row]] = {}
    for row in rows:
        key = (str(row["corpus"]), str(row["part"]), bool(row["synthetic"]))
        own.setdefault((*key, int(row["utterances"] or 0)), []).append(row)
    groups, fits = list[Group](), False
    tasks = [task for challenge in CHALLENGES.values() for task in challenge.tasks]
    for group in sorted(own, key=str):
        same = [task for task in tasks if group == ("msp-podcast", _TEST, False, task.count)]
        theirs = [row for task in same for row in _published(task)]
        fits = fits or bool(theirs)
        groups.append(Group(*group[:3], sorted([*own[group], *theirs], key=_rank)))
    return groups, fits


def _others() -> list[Group]:
    """The published scores, a group a challenge and task."""
    tasks = [task for challenge in CHALLENGES.values() for task in challenge.tasks]
    return [Group(task.called, "", False, sorted(_published(task), key=_rank)) for task in tasks]


def _published(task: Task) -> list[Row]:
    """A task's published scores as rows like ours."""
    return [
        {
            "corpus": f"{task.title} test set",
            "synthetic": False,
            "part": _TEST,
            "utterances": task.count,
            "source": one.source,
            "run": "published",
            "system": one.system,
            "kind": None,
            **{name: one.metrics.get(name) for name in _SCORES},
            "fit_on": None,
            "table": None,
        }
        for one in _ranked(task)
    ]


def _note(fits: bool, published: bool) -> str:
    if fits:
        return (
            "Published scores are the organisers'; ours are scored here, on labels that "
            "participants did not have."
        )
    here = "they stand apart" if published else "they are left out (--published shows them)"
    return (
        f"No run here was scored on a challenge's test set, so no published score compares: {here}."
    )


def _rank(row: Row) -> tuple[float, float]:
    """Best Macro-F1 (weighted F1) first; rows without one last, by mean CCC."""
    score, ccc = row.get("weighted_f1", row["macro_f1"]), row["ccc_mean"]
    return -float(-1 if score is None else score), -float(-1 if ccc is None else ccc)
