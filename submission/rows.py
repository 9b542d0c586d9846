"""The rows of a submission: faults of names, letters and numbers, each with its line and hint."""

import math
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from submission.challenges import CLASSES, LETTER_OF, Task
from submission.problems import Problem, short

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LETTERS = ",".join(LETTER_OF.values())

Fault = tuple[str, str]


def check_rows(lines: Iterable[tuple[int, str]], task: Task) -> list[Problem]:
    """Every problem of the numbered lines after the header: of each row, then of all names."""
    problems: list[Problem] = []
    names: list[tuple[int, str]] = []
    rows = 0
    expected = None if task.names is None else frozenset(task.names)
    for number, line in lines:
        if not line.strip():
            problems.append(Problem(number, "a blank line", "remove blank lines"))
            continue
        fields = line.split(",")
        if fields[0].strip('" '):
            names.append(
                (number, fields[0] if expected and fields[0] in expected else repaired(fields[0]))
            )
        rows += 1
        problems += [Problem(number, *fault) for fault in _row_faults(line, fields, task, expected)]
    return problems + _name_problems(names, rows, task)


def _row_faults(
    line: str, fields: list[str], task: Task, expected: frozenset[str] | None
) -> list[Fault]:
    faults: list[Fault] = []
    if '"' in line:
        faults.append(
            (f"quotation marks in {short(line)}", "write names and values without quotation marks")
        )
        fields = [field.strip('"') for field in fields]
    name = name_fault(fields[0], task, expected)
    faults += [name] if name else []
    if len(fields) != len(task.header):
        return [*faults, _field_count(line, fields, task)]
    for column, value in zip(task.header[1:], fields[1:], strict=True):
        fault = letter_fault(value) if task.kind == "categorical" else number_fault(value, task)
        faults += [(f"{column} {fault[0]}", fault[1])] if fault else []
    return faults


def _field_count(line: str, fields: list[str], task: Task) -> Fault:
    wanted = len(task.header)
    if len(fields) == 2 * wanted - 1 and task.kind == "attributes":
        return (
            f"{len(fields)} fields instead of {wanted}, as if decimals had commas: {short(line)}",
            "write decimals with a point",
        )
    if ";" in line or "\t" in line:
        return (
            f"the fields are not separated by commas: {short(line)}",
            "separate the fields by commas",
        )
    return (
        f"{len(fields)} field(s) instead of {wanted}: {short(line)}",
        f"write one row a file: {','.join(task.header)}",
    )


def repaired(name: str) -> str:
    """The name that was probably meant, so that a slip is not reported again as a missing file."""
    bare = re.split(r"[/\\]", name.strip().strip('"').strip())[-1]
    stem = re.sub(r"\.(wav|npy|mp3|flac|txt)$", "", bare, flags=re.IGNORECASE)
    return re.sub(r"^msp-podcast_", "MSP-PODCAST_", stem, flags=re.IGNORECASE) + ".wav"


def name_fault(name: str, task: Task, expected: frozenset[str] | None) -> Fault | None:
    """The fault of a name that is not a test file, or None."""
    known = (
        bool(re.fullmatch(task.pattern, name, re.ASCII)) if expected is None else name in expected
    )
    if known:
        return None
    if not name.strip():
        return "the file name is empty", "name the file in every row"
    if name != name.strip():
        return f"spaces around the name {short(name)}", "remove spaces around names and values"
    if "/" in name or "\\" in name:
        return f"the name {short(name)} holds a folder", "write the bare file name"
    if not name.endswith(".wav"):
        return f"the name {short(name)} does not end in .wav", "keep .wav in the name"
    if expected is not None and repaired(name) in expected:
        return (
            f"upper and lower case differ in the name {short(name)}",
            "write names as the corpus writes them",
        )
    example = task.names[0] if task.names else "MSP-PODCAST_test3_0001.wav"
    return f"{short(name)} is not a test file", f"keep only the test files ({example}, …)"


def letter_fault(value: str) -> Fault | None:
    """The fault of a value that is not one of the eight letters, or None."""
    if value in LETTER_OF.values():
        return None
    bare = value.strip()
    if not bare:
        return "is empty", f"give every file one of {_LETTERS}"
    if bare != value:
        return f"{short(value)} has spaces around it", "remove spaces around names and values"
    if bare in ("O", "X"):
        called = "other" if bare == "O" else "no agreement"
        return (
            f"is {bare} ({called}), which is not a class of the challenge",
            f"choose the best of the eight classes {_LETTERS}",
        )
    if bare.upper() in LETTER_OF.values():
        return f"{short(value)} is in lower case", f"write upper-case letters {_LETTERS}"
    if bare.lower() in CLASSES:
        return (
            f"{short(value)} is a word",
            f"write the letter of the class: {', '.join(f'{v} {k}' for k, v in LETTER_OF.items())}",
        )
    if bare.isdigit():
        return (
            f"{short(value)} is a number",
            f"class orders differ between programs: write the letters {_LETTERS}",
        )
    return f"{short(value)} is not a class", f"write one of {_LETTERS}"


def number_fault(value: str, task: Task) -> Fault | None:
    """The fault of a value that is not a plain number in the task's range, or None."""
    if _NUMBER.fullmatch(value):
        number = float(value)
        if task.low <= number <= task.high:
            return None
        limit = f"below {task.low:g}" if number < task.low else f"above {task.high:g}"
        return (
            f"{short(value)} is {limit}",
            f"clip to {task.low:g}–{task.high:g} (from a 0–1 scale: 1 + 6·x, then clip)",
        )
    bare = value.strip()
    if not bare:
        return "is empty", "give every file a number for each attribute"
    if bare != value:
        return f"{short(value)} has spaces around it", "remove spaces around names and values"
    try:
        finite = math.isfinite(float(bare))
    except ValueError:
        return f"{short(value)} is not a number", "write plain decimal numbers such as 4.25"
    if not finite:
        return (
            f"is {bare}",
            "predict a finite number for every file; NaN or inf come from the model or a join",
        )
    return (
        f"{short(value)} is not a plain decimal number",
        "write plain decimal numbers such as 4.25",
    )


def _name_problems(names: list[tuple[int, str]], rows: int, task: Task) -> list[Problem]:
    """Duplicates, order, missing names and the count."""
    problems = [*_duplicates(names), *_disorder(names)]
    seen = {name for _, name in names}
    missing = [name for name in task.names or () if name not in seen]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        what = f"{len(missing)} test file(s) have no row: {', '.join(missing[:3])}{more}"
        problems.append(Problem(None, what, "predict every test file"))
    if rows != task.count:
        what, hint = f"{rows:,} rows instead of {task.count:,}", "rows after the header"
        problems.append(Problem(None, what, f"write exactly {task.count:,} {hint}"))
    return problems


def _duplicates(names: list[tuple[int, str]]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for line, name in names:
        if name in first:
            what = f"{name} stands twice, first on line {first[name]}"
            yield Problem(line, what, "give every file exactly one row")
        first.setdefault(name, line)


def _disorder(names: list[tuple[int, str]]) -> Iterator[Problem]:
    """The first pair of names that is not sorted."""
    for (_, before), (line, name) in pairwise(names):
        if name < before:
            what = "the rows are not sorted by FileName"
            what += f": {short(name)} comes after {short(before)}"
            yield Problem(line, what, "sort the rows by FileName")
            return
