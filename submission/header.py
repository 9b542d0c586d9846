"""The first line of a submission: exactly the task's header, or a word about what it is instead."""

from dataclasses import dataclass

from submission.challenges import CHALLENGES, Task
from submission.problems import Problem, short

_INDEX_COLUMNS = ("", "index", "unnamed: 0")


@dataclass(frozen=True)
class Header:
    """What became of the first line: its problem, if any; whether rows can be read; whether it is a row itself."""

    problem: Problem | None
    readable: bool = False
    is_row: bool = False


def read_header(line: str, task: Task) -> Header:
    """Compare the first line with the task's header."""
    expected = ",".join(task.header)
    if line == expected:
        return Header(None, readable=True)
    columns = [column.strip().strip('"').strip() for column in line.split(",")]
    if columns[0].lower().endswith(".wav") or columns[0].startswith("MSP-PODCAST_"):
        return Header(
            Problem(
                1, "there is no header, the first line is a row", f"put the line {expected} first"
            ),
            readable=True,
            is_row=True,
        )
    folded, wanted = [c.casefold() for c in columns], [c.casefold() for c in task.header]
    if folded == wanted:
        return Header(
            Problem(
                1,
                f"the header is {short(line)}: {_difference(line, columns)}",
                f"write it exactly as {expected}",
            ),
            readable=True,
        )
    message, hint = _foreign(line, folded, task) or _columns(columns, folded, wanted, line)
    return Header(Problem(1, message, hint or f"write exactly the columns {expected}"))


def _difference(line: str, columns: list[str]) -> str:
    if '"' in line:
        return "it is quoted"
    return (
        "it has spaces around its names"
        if ",".join(columns) != line
        else "upper and lower case differ"
    )


def _foreign(line: str, folded: list[str], task: Task) -> tuple[str, str] | None:
    """A file that is something else altogether."""
    expected = ",".join(task.header)
    if not line.strip():
        return "the first line is blank", f"start the file with {expected}"
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if separator in line and "," not in line:
            return (
                f"the columns are separated by {called}",
                "separate them by commas, and write decimals with a point",
            )
    for other in CHALLENGES[task.challenge].tasks:
        if folded == [c.casefold() for c in other.header]:
            return (
                f"this is a file for {other.called}, given as {task.called}",
                f"upload or check it as the {other.kind} task",
            )
    if "prediction" in folded:
        return (
            "this is an evaluation file with a column of logits, not a submission",
            "convert it with `medusa submit convert`",
        )
    return None


def _columns(
    columns: list[str], folded: list[str], wanted: list[str], line: str
) -> tuple[str, str | None]:
    """Columns that are missing, too many or in another order."""
    if folded[0] in _INDEX_COLUMNS:
        return (
            f"there is an index column {short(columns[0])} before FileName",
            "write without an index (pandas: to_csv(..., index=False))",
        )
    if sorted(folded) == sorted(wanted):
        return f"the columns stand in another order: {short(line)}", None
    missing = [name for name in wanted if name not in folded]
    extra = [name for name, fold in zip(columns, folded, strict=True) if fold not in wanted]
    if missing:
        return f"the header {short(line)} lacks {len(missing)} column(s) of the task", None
    return f"there are columns too many: {short(', '.join(extra) or line)}", None
