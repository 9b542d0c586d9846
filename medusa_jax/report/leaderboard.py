"""All runs of a folder side by side, best first, and the published scores beside those that were scored on the same utterances.

Runs compare within a group: the same part of the same corpus. A run that is unfinished or damaged is named, and stops nobody.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medusa_jax.config.run import RunConfig
from medusa_jax.config.yaml_file import load_config
from medusa_jax.ensemble.variants import SINGLE, SOUP
from medusa_jax.errors import EvaluationError, MedusaError
from medusa_jax.evaluation.scores_file import ScoresFile, SystemLine, read_scores_file
from medusa_jax.evaluation.tables import SYNTHETIC, Row, markdown_rows
from medusa_jax.runs.evaluate import FOLDS
from submission.challenges import CHALLENGES, Task
from submission.leaderboard import published_rows, source_of

PARTS = ("development", "test1", "test2", "test3", FOLDS)
"""Every part that is scored, the one that matters most last."""

COLUMNS = {
    "system": "system",
    "run": "run",
    "macro_f1": "Macro-F1",
    "accuracy": "accuracy",
    "ccc_mean": "mean CCC",
    "fit_on": "learned from",
    "table": "corpus table",
}
"""What a reader sees of a row, with the headers."""


@dataclass(frozen=True)
class Group:
    """What compares: rows on one part of one corpus, our own and, where they fit, published ones."""

    corpus: str
    part: str
    synthetic: bool
    rows: list[Row]

    @property
    def title(self) -> str:
        """`test3 of generated (synthetic), 160 utterances`."""
        name = f"{self.part} of {self.corpus}" if self.part else self.corpus
        return (
            name
            + (" (synthetic)" if self.synthetic else "")
            + (f", {self.rows[0]['utterances']:,} utterances" if self.part else "")
        )

    @property
    def columns(self) -> dict[str, str]:
        """The columns to show: the corpus table's digest only where the runs do not agree on it."""
        tables = {row["table"] for row in self.rows if row["table"]}
        return {
            name: header for name, header in COLUMNS.items() if name != "table" or len(tables) > 1
        }

    @property
    def notes(self) -> list[str]:
        """What a reader must know of it."""
        notes = [SYNTHETIC] if self.synthetic else []
        if "table" in self.columns:
            notes.append(
                "The runs read different tables of utterances (other labels, transcripts or recordings): only equal ones compare for certain."
            )
        if not self.part:
            notes.append(
                "Published, on other utterances than any run here: none of these numbers compares with those of the runs."
            )
        return notes


@dataclass(frozen=True)
class Leaderboard:
    """The groups, the runs that are not among them with the reason, and what to know of the published scores."""

    groups: list[Group]
    left_out: dict[str, str]
    published: str

    @property
    def rows(self) -> list[Row]:
        """All rows of all groups, flat, for CSV."""
        return [row for group in self.groups for row in group.rows]

    def markdown(self) -> str:
        """The tables with all notes."""
        text = ["# Leaderboard"]
        for group in self.groups:
            text += [
                f"## {group.title}",
                *(f"**{note}**" for note in group.notes),
                markdown_rows(group.rows, group.columns).rstrip(),
            ]
        text.append(f"In brackets: 95 % intervals, by bootstrap over speakers. {self.published}")
        if self.left_out:
            text += [
                "## Not in the tables",
                "\n".join(f"- {run}: {why}" for run, why in self.left_out.items()),
            ]
        return "\n\n".join(text) + "\n"


def leaderboard(
    out: Path, *, part: str | None = None, every: bool = False, published: bool = False
) -> Leaderboard:
    """All runs below `out`, or the one that it is: each with the system that it submits, or with `every` system.

    `part`: which one to show; by default each run's last one in the order of `PARTS`. `published`: show the published scores
    also where no run was scored on their utterances. Raises `EvaluationError` where there is no run, or none with that part.
    """
    folders = [folder for folder in _folders(out) if (folder / "config.yaml").is_file()]
    if not folders:
        raise EvaluationError(
            "there are no runs here",
            where=out,
            hint="name the folder that was --out of your runs, or make one: `medusa demo`",
        )
    rows, left_out = list[Row](), dict[str, str]()
    for folder in folders:
        try:
            rows += _rows(folder, part, every)
        except MedusaError as error:
            left_out[folder.name] = error.what.split("\n")[0] + (
                f" ({error.hint})" if error.hint else ""
            )
    if part is not None and not rows:
        scored = sorted(
            {
                path.parent.name
                for folder in folders
                for path in folder.glob("evaluation/*/scores.json")
            },
            key=_place,
        )
        hint = (
            f"choose among {', '.join(scored)}"
            if scored
            else "score a run first: `medusa evaluate`"
        )
        raise EvaluationError(
            f"no run here has scores on a part called {part!r}", where=out, hint=hint
        )
    groups, fits = _grouped(rows)
    return Leaderboard(
        groups + (_others() if published and not fits else []), left_out, _said(fits, published)
    )


def _folders(out: Path) -> list[Path]:
    try:
        return [out, *sorted(path for path in out.iterdir() if path.is_dir())]
    except OSError as error:
        raise EvaluationError(
            f"this folder cannot be read: {error.strerror}",
            where=out,
            hint="name the folder that was --out of your runs",
        ) from error


def _rows(folder: Path, part: str | None, every: bool) -> Iterator[Row]:
    """One run's rows. Raises `MedusaError` that says why it has none."""
    config = load_config(folder / "config.yaml")
    scored = {path.parent.name: path for path in folder.glob("evaluation/*/scores.json")}
    if not scored and config.study_of is not None:
        raise EvaluationError(
            f"trains members for a study of {config.study_of}, in whose folder studies/ the table is"
        )
    if not scored:
        trained = len(list(folder.glob("members/*/outputs.parquet"))) + len(
            list(folder.glob("fold-*/members/*/outputs.parquet"))
        )
        wanted = len(config.members) * config.corpus.splits
        raise EvaluationError(
            f"not evaluated yet, {trained} of {wanted} members are trained",
            hint=f"medusa run {folder}",
        )
    chosen = part or max(scored, key=_place)
    if chosen not in scored:
        raise EvaluationError(
            f"no scores on {chosen}", hint=f"it has {', '.join(sorted(scored, key=_place))}"
        )
    file = read_scores_file(scored[chosen])
    if file.provenance.get("config") != config.digest():
        raise EvaluationError(
            "its scores are of another configuration than its config.yaml",
            hint=f"medusa evaluate {folder}",
        )
    wanted_system = config.submission.system if config.submission else SOUP
    lines = [line for line in file.systems if every or line.system == wanted_system]
    if not lines:
        raise EvaluationError(
            f"its scores.json has no system {wanted_system}", hint=f"medusa evaluate {folder}"
        )
    return (_row(folder, chosen, config, file, line) for line in lines)


def _row(folder: Path, part: str, config: RunConfig, file: ScoresFile, line: SystemLine) -> Row:
    learned = config.ensemble.fit_on if line.system in (SINGLE, SOUP) else None
    scores = line.model_dump(exclude={"system", "kind", "utterances"})
    place = {
        "corpus": file.corpus.name,
        "synthetic": file.corpus.synthetic,
        "part": part,
        "utterances": line.utterances,
    }
    who = {
        "source": source_of(file.corpus.name, file.corpus.synthetic),
        "run": folder.resolve().name,
        "system": line.system,
        "kind": line.kind,
    }
    return {
        **place,
        **who,
        **scores,
        "fit_on": learned,
        "table": str(file.provenance.get("corpus", ""))[:8] or None,
    }


def _grouped(rows: list[Row]) -> tuple[list[Group], bool]:
    """The rows by what they were scored on, best first, published ones among them where they fit; and whether any did."""
    keys = dict.fromkeys(
        (str(row["corpus"]), str(row["part"]), bool(row["synthetic"]), row["utterances"])
        for row in rows
    )
    groups, fits = list[Group](), False
    for corpus, part, synthetic, utterances in sorted(keys, key=str):
        own = [
            row
            for row in rows
            if (row["corpus"], row["part"], row["synthetic"], row["utterances"])
            == (corpus, part, synthetic, utterances)
        ]
        theirs = [
            row
            for challenge in CHALLENGES.values()
            for task in challenge.tasks
            if (corpus, part, synthetic, utterances) == ("msp-podcast", "test3", False, task.count)
            for row in _published(task)
        ]
        fits = fits or bool(theirs)
        groups.append(Group(corpus, part, synthetic, sorted([*own, *theirs], key=_rank)))
    return groups, fits


def _others() -> list[Group]:
    """The published scores, a group a challenge and task."""
    tasks = [task for challenge in CHALLENGES.values() for task in challenge.tasks]
    return [Group(task.called, "", False, sorted(_published(task), key=_rank)) for task in tasks]


def _published(task: Task) -> list[Row]:
    """A task's published scores as rows like ours."""
    empty = dict.fromkeys(
        ("utterances", "kind", "macro_f1_low", "macro_f1_high", "fit_on", "table")
    )
    return [
        {
            **empty,
            "corpus": str(row["corpus"]),
            "synthetic": False,
            "part": "test3",
            "utterances": task.count,
            "source": str(row["source"]),
            "run": "published",
            "system": str(row["system"]),
            **{name: row.get(name) for name in ("macro_f1", "accuracy", "ccc_mean")},  # type: ignore[misc]
        }
        for row in published_rows(task)
    ]


def _said(fits: bool, published: bool) -> str:
    if fits:
        return "Published scores are the organisers'; ours are scored here, on labels that participants did not have."
    here = "they stand apart" if published else "they are left out (--published shows them)"
    return (
        f"No run here was scored on a challenge's test set, so no published score compares: {here}."
    )


def _rank(row: Row) -> tuple[float, float]:
    """Best Macro-F1 first; without one, by mean CCC, at the end."""
    return -float(row["macro_f1"] if row["macro_f1"] is not None else -1), -float(
        row["ccc_mean"] if row["ccc_mean"] is not None else -1
    )


def _place(part: str) -> int:
    return PARTS.index(part) if part in PARTS else -1
