"""The first line of a submission: the task's header, or the problem with it."""

from dataclasses import dataclass

from submission.challenges import CHALLENGES, Task
from submission.problems import Problem, short

_INDEX_COLUMNS = ("", "index", "unnamed: 0")


@dataclass(frozen=True)
class Header:
    """The problem of the first line, if any; `is_row` if it is a row itself.

    `readable` if the rows below can be read.
    """

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
        missing = "there is no header, the first line is a row"
        problem = Problem(1, missing, f"put the line {expected} first")
        return Header(problem, readable=True, is_row=True)
    folded, wanted = [c.casefold() for c in columns], [c.casefold() for c in task.header]
    if folded == wanted:
        other = f"the header is {short(line)}: {_difference(line, columns)}"
        return Header(Problem(1, other, f"write it exactly as {expected}"), readable=True)
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
    """The problem of a line that is the header of another kind of file, or None."""
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
    """The problem of columns that are missing, too many or in another order."""
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
