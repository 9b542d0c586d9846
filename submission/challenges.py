"""The challenges as data: names, headers, letters, ranges, ranking metrics, published scores.

Code that writes, checks or scores a submission takes one of these definitions, so a smaller set of
names (the generated corpus, a hold-out of your own) goes through the same code:
`challenge.with_names(names)`. Nothing here imports more than the standard library.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from medusa_jax.errors import SubmissionError

# The organisers' order, which is also MEDUSA's; `EmoClass` columns have the letters.
LETTER_OF: Mapping[str, str] = {
    "angry": "A",
    "sad": "S",
    "happy": "H",
    "surprise": "U",
    "fear": "F",
    "disgust": "D",
    "contempt": "C",
    "neutral": "N",
}
CLASS_OF: Mapping[str, str] = {letter: name for name, letter in LETTER_OF.items()}
CLASSES: tuple[str, ...] = tuple(LETTER_OF)
ORGANISERS: tuple[str, ...] = CLASSES
ALPHABETICAL: tuple[str, ...] = tuple(CLASS_OF[letter] for letter in sorted(CLASS_OF))
ORDERS: Mapping[str, tuple[str, ...]] = {"organisers": ORGANISERS, "alphabetical": ALPHABETICAL}

# Mind the order of the file: Act, Val, Dom.
COLUMN_OF: Mapping[str, str] = {"arousal": "EmoAct", "valence": "EmoVal", "dominance": "EmoDom"}
ATTRIBUTES: tuple[str, ...] = tuple(COLUMN_OF)

Kind = Literal["categorical", "attributes"]


@dataclass(frozen=True)
class Published:
    """Scores that others published on the challenge's own test set, with their `source`."""

    system: str
    metrics: Mapping[str, float]
    source: str


@dataclass(frozen=True)
class Task:
    """One task of one challenge, as its files are checked and scored.

    `names` is None where the names are unknown without the corpus; then `pattern` and `count` are
    checked instead.
    """

    challenge: str
    title: str
    kind: Kind
    pattern: str
    count: int
    names: tuple[str, ...] | None
    header: tuple[str, ...]
    ranking_metric: str
    other_metrics: tuple[str, ...]
    published: tuple[Published, ...]
    uploads: str
    low: float = 1.0
    high: float = 7.0

    @property
    def metrics(self) -> tuple[str, ...]:
        """The ranking metric, then the others."""
        return (self.ranking_metric, *self.other_metrics)

    @property
    def called(self) -> str:
        """`Interspeech 2025, Task 1 (categorical)`."""
        return f"{self.title}, Task {1 if self.kind == 'categorical' else 2} ({self.kind})"


@dataclass(frozen=True)
class Challenge:
    """Both tasks of a challenge over the same test files."""

    id: str
    title: str
    categorical: Task
    attributes: Task

    @property
    def tasks(self) -> tuple[Task, Task]:
        """Task 1, Task 2."""
        return self.categorical, self.attributes

    def task(self, kind: Kind) -> Task:
        """The task of that kind. Raises `SubmissionError` for an unknown kind."""
        for task in self.tasks:
            if task.kind == kind:
                return task
        raise SubmissionError(
            f"unknown task {kind!r}", hint="choose categorical (Task 1) or attributes (Task 2)"
        )

    def with_names(self, names: Iterable[str]) -> "Challenge":
        """The same challenge over other test files.

        Raises `SubmissionError` for no names, and for repeated or unusable ones.
        """
        kept = _checked(tuple(names))
        categorical, attributes = (
            replace(task, names=kept, count=len(kept)) for task in self.tasks
        )
        return replace(self, categorical=categorical, attributes=attributes)


def _checked(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, sorted. Raises `SubmissionError` for none, repeated or unusable ones."""
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r'[^,"/\\\s;]+\.wav', name):
            raise SubmissionError(
                f"{name!r} cannot be the name of a test file",
                hint="give bare file names that end in .wav",
            )
    kept, hint = tuple(sorted(names)), "give every test file exactly once"
    if not kept:
        raise SubmissionError("no test file is named", hint=hint)
    for name, following in pairwise(kept):
        if name == following:
            raise SubmissionError(f"{name!r} stands twice among the test files", hint=hint)
    return kept


def challenge_of(identifier: str) -> Challenge:
    """The challenge with that id. Raises `SubmissionError` for an unknown one."""
    if identifier not in CHALLENGES:
        raise SubmissionError(
            f"unknown challenge {identifier!r}", hint=f"choose one of {', '.join(CHALLENGES)}"
        )
    return CHALLENGES[identifier]


def _challenge(
    identifier: str,
    title: str,
    count: int,
    names: tuple[str, ...] | None,
    uploads: str,
    published: Mapping[Kind, tuple[Published, ...]],
) -> Challenge:
    shared = {
        "challenge": identifier,
        "title": title,
        "pattern": r"MSP-PODCAST_test3_\d{4}\.wav",
        "count": count,
        "names": names,
        "uploads": uploads,
    }
    categorical = Task(
        **shared,  # type: ignore[arg-type]
        kind="categorical",
        header=("FileName", "EmoClass"),
        ranking_metric="macro_f1",
        other_metrics=("micro_f1", "accuracy"),
        published=published["categorical"],
    )
    attributes = Task(
        **shared,  # type: ignore[arg-type]
        kind="attributes",
        header=("FileName", *COLUMN_OF.values()),
        ranking_metric="ccc_mean",
        other_metrics=tuple(f"ccc_{a}" for a in ATTRIBUTES),
        published=published["attributes"],
    )
    return Challenge(identifier, title, categorical, attributes)


def _rows(metric: str, source: str, scores: Mapping[str, float]) -> tuple[Published, ...]:
    return tuple(
        Published(system, {metric: value}, f"published ({source})")
        for system, value in scores.items()
    )


_INTERSPEECH = "Interspeech 2025 leaderboard, challenge test set"
_ODYSSEY = "Odyssey 2024 leaderboard, challenge test set"
_MEDUSA = Published(
    "MEDUSA",
    {"macro_f1": 0.4316, "micro_f1": 0.4319, "accuracy": 0.4319},
    f"published ({_INTERSPEECH}; Micro-F1 and accuracy from arXiv 2506.09556)",
)

INTERSPEECH2025 = _challenge(
    "interspeech2025",
    "Interspeech 2025",
    3200,
    tuple(f"MSP-PODCAST_test3_{i:04d}.wav" for i in range(1, 3201)),
    "one upload a week and task",
    {
        "categorical": (
            _MEDUSA,
            *_rows(
                "macro_f1",
                _INTERSPEECH,
                {"SAIL": 0.4281, "ABHINAYA": 0.4181, "MATER": 0.4101, "UNICAMP": 0.4094},
            ),
        ),
        "attributes": _rows(
            "ccc_mean",
            _INTERSPEECH,
            {"SAIL": 0.6076, "SRPOL": 0.6003, "SEU": 0.5955, "MATER": 0.5928},
        ),
    },
)

# The organisers published the number of files but not their names: take those from the corpus with
# `with_names`.
ODYSSEY2024 = _challenge(
    "odyssey2024",
    "Odyssey 2024",
    2347,
    None,
    "three uploads a task",
    {
        "categorical": _rows(
            "macro_f1",
            _ODYSSEY,
            {
                "first place": 0.3569,
                "second place": 0.3543,
                "third place": 0.3441,
                "organisers' baseline": 0.311,
            },
        ),
        "attributes": _rows(
            "ccc_mean", f"{_ODYSSEY}; not beaten", {"organisers' baseline": 0.5327}
        ),
    },
)

CHALLENGES: Mapping[str, Challenge] = {c.id: c for c in (INTERSPEECH2025, ODYSSEY2024)}
