"""Our runs beside the published scores, each row saying which it is, so that the two are never mistaken for each other.

A run's scores lie in `RUN/submission/score.json`: `{"scores": [entry, …]}`, an entry a task and system, with the keys of
`RunScore`.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError

from medusa_jax.errors import SubmissionError
from medusa_jax.files import write_text, write_whole
from submission.challenges import Challenge, Kind, Task, challenge_of
from submission.writer import disk_errors

SCORE_FILE = Path("submission") / "score.json"
_HINT = "score the run again, or move the file away"
COLUMNS = ("challenge", "task", "system", "metric", "score", "source")


class RunScore(BaseModel):
    """What one system of a run scored on one task: `metrics` by name, over `corpus`; `file` relative to the run folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    challenge: str
    task: Kind
    system: str
    metrics: dict[str, FiniteFloat]
    corpus: str
    synthetic: bool
    run: str
    file: str

    @property
    def source(self) -> str:
        """What the numbers are."""
        return source_of(self.corpus, self.synthetic)


def source_of(corpus: str, synthetic: bool) -> str:
    """What a number of ours is, in words that no published one has."""
    return (
        "this run (generated corpus, synthetic speech)"
        if synthetic
        else f"this run (corpus {corpus}, scored here)"
    )


def write_score(
    run_folder: Path,
    *,
    challenge: str,
    task: Kind,
    system: str,
    metrics: Mapping[str, float],
    corpus: str,
    synthetic: bool,
    file: str,
) -> Path:
    """Add an entry to the run's `submission/score.json`, or replace the one of that challenge, task and system. Returns the path.

    `metrics` must hold the task's ranking metric (`macro_f1`, `ccc_mean`). Raises `SubmissionError` otherwise.
    """
    run_folder = Path(run_folder)
    path = run_folder / SCORE_FILE
    entry = {
        "challenge": challenge,
        "task": task,
        "system": system,
        "metrics": dict(metrics),
        "corpus": corpus,
        "synthetic": synthetic,
    }
    added = _entries([{**entry, "run": run_folder.resolve().name, "file": str(file)}], path)
    key = (challenge, task, system)
    kept = (
        [s for s in read_scores(run_folder) if (s.challenge, s.task, s.system) != key]
        if path.exists()
        else []
    )
    with disk_errors(path):
        write_text(
            path, json.dumps({"scores": [s.model_dump() for s in (*kept, *added)]}, indent=2) + "\n"
        )
    return path


def read_scores(run_folder: Path) -> list[RunScore]:
    """The entries of a run's `score.json`. Raises `SubmissionError` naming a file that is damaged or not such a file."""
    path = Path(run_folder) / SCORE_FILE
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["scores"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SubmissionError(
            f"not a readable score file ({type(error).__name__}: {error})", where=path, hint=_HINT
        ) from error
    return _entries(entries, path)


def leaderboard(runs_folder: Path, challenge: Challenge) -> pd.DataFrame:
    """One row a system and task: `COLUMNS`, every metric of the challenge by name, then `corpus`, `run`, `file`.

    `runs_folder` holds run folders, or is one. Within a task our rows come first, then the published ones, each sorted by
    the ranking metric, best first. A score file that cannot be read is a row too, at the end, without a task: what is wrong
    stands in its `source`. Raises `SubmissionError` for a folder that is not there.
    """
    runs_folder = Path(runs_folder)
    if not runs_folder.is_dir():
        raise SubmissionError(
            "there is no such folder of runs", where=runs_folder, hint="check the path"
        )
    found = [
        folder
        for folder in (runs_folder, *sorted(runs_folder.iterdir()))
        if (folder / SCORE_FILE).is_file()
    ]
    ours: list[RunScore] = []
    unread: list[dict[str, object]] = []
    for folder in found:
        try:
            ours += [score for score in read_scores(folder) if score.challenge == challenge.id]
        except SubmissionError as error:
            unread.append(
                {"source": f"not read: {error.what}", "run": folder.name, "file": str(SCORE_FILE)}
            )
    rows = [
        row for task in challenge.tasks for row in (*_ours(task, ours), *published_rows(task))
    ] + unread
    metrics = dict.fromkeys(metric for task in challenge.tasks for metric in task.metrics)
    return pd.DataFrame(rows, columns=[*COLUMNS, *metrics, "corpus", "run", "file"])


def write_leaderboard(table: pd.DataFrame, path: Path) -> Path:
    """Write the table as CSV, whole or not at all. Returns `path`."""
    with disk_errors(Path(path)), write_whole(Path(path)) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return Path(path)


def _ours(task: Task, scores: list[RunScore]) -> list[dict[str, object]]:
    mine = sorted(
        (s for s in scores if s.task == task.kind), key=lambda s: -s.metrics[task.ranking_metric]
    )
    return [
        _row(task, s.system, s.metrics, s.source, corpus=s.corpus, run=s.run, file=s.file)
        for s in mine
    ]


def published_rows(task: Task) -> list[dict[str, object]]:
    """What others published on the task's test set, best first: `COLUMNS`, every metric by name, `corpus`; `run` and `file` empty."""
    theirs = sorted(task.published, key=lambda p: -p.metrics[task.ranking_metric])
    return [
        _row(task, p.system, p.metrics, p.source, corpus=f"{task.title} test set", run="", file="")
        for p in theirs
    ]


def _row(
    task: Task, system: str, metrics: Mapping[str, float], source: str, **rest: str
) -> dict[str, object]:
    head = (
        task.challenge,
        task.kind,
        system,
        task.ranking_metric,
        metrics[task.ranking_metric],
        source,
    )
    return {
        **dict(zip(COLUMNS, head, strict=True)),
        **{m: metrics.get(m) for m in task.metrics},
        **rest,
    }


def _entries(entries: object, path: Path) -> list[RunScore]:
    """Entries as the file has them, each complete and with its ranking metric, else `SubmissionError`."""
    try:
        scores = TypeAdapter(list[RunScore]).validate_python(entries)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SubmissionError(
            f"a score entry is not right: {where}: {first['msg']}", where=path, hint=_HINT
        ) from error
    for entry in scores:
        metric = challenge_of(entry.challenge).task(entry.task).ranking_metric
        if metric not in entry.metrics:
            raise SubmissionError(
                f"the score of {entry.system} lacks {metric}",
                where=path,
                hint=f"{entry.challenge} ranks by {metric}",
            )
    return scores
