"""The check of a submission file; strict, since a refused upload costs a team one of very few.

Faults that a lenient server may accept (CRLF, another order of rows, a missing last line end) are
problems too: each takes seconds to fix, and a file without its last line end may be cut off.
"""

import codecs
from pathlib import Path

from submission.challenges import Challenge, Task
from submission.header import read_header
from submission.problems import Problem, RefusedSubmissionError
from submission.rows import check_rows

LARGEST = 16 * 2**20  # bytes; a full submission has under one megabyte

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip (or Excel)"),
    (b"PAR1", "Parquet"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_UTF8 = "save it as UTF-8 without a byte order mark"


def validate(path: Path, task: Task) -> list[Problem]:
    """Every problem of the file at `path`, by line, file-wide ones last; empty if it is valid."""
    data, problem = _read(Path(path))
    problem = problem or _encoding(data)
    if problem:
        return [problem]
    problems: list[Problem] = []
    if data.startswith(codecs.BOM_UTF8):
        what = "the file starts with a byte order mark (UTF-8 with BOM)"
        problems.append(Problem(1, what, _UTF8))
        data = data.removeprefix(codecs.BOM_UTF8)
    text = data.decode("utf-8")
    if "\r" in text:
        line = text[: text.index("\r")].count("\n") + 1
        hint = "end lines in LF only, for example with `sed -i 's/\\r$//' FILE`"
        problems.append(Problem(line, "lines end in CR or CRLF (Windows)", hint))
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    problems += _check_lines(text, task)
    return sorted(problems, key=lambda p: (p.line is None, p.line or 0))


def check(path: Path, task: Task, where: Path | None = None) -> None:
    """Raise `RefusedSubmissionError`, a `SubmissionError` with every problem, for an invalid file.

    `where` is the name to report if the file has a temporary one.
    """
    problems = validate(path, task)
    if problems:
        raise RefusedSubmissionError(problems, where or path, task.called)


def task_of(path: Path, challenge: Challenge) -> Task:
    """The task of a file by its first line: Task 2 if it names an attribute or has many commas."""
    data, _ = _read(Path(path))
    first = data.split(b"\n", 1)[0].decode("utf-8", "replace").casefold()
    named = any(column.casefold() in first for column in challenge.attributes.header[1:])
    if named or (".wav" in first and first.count(",") > 1):
        return challenge.attributes
    return challenge.categorical


def _check_lines(text: str, task: Task) -> list[Problem]:
    problems: list[Problem] = []
    lines = text.split("\n")
    if lines[-1]:
        what = "the last line has no line end; the file may have been cut off"
        hint = "make sure that the file is complete, then end its last line in LF"
        problems.append(Problem(len(lines), what, hint))
    else:
        lines.pop()
    header = read_header(lines[0], task)
    problems += [header.problem] if header.problem else []
    if header.readable:
        start = 0 if header.is_row else 1
        if len(lines) > 2 * task.count + 100:  # else millions of lines are millions of problems
            what = f"{len(lines) - start:,} lines instead of {task.count:,} rows"
            return [*problems, Problem(None, what, "check that this is the right file")]
        problems += check_rows(enumerate(lines[start:], start + 1), task)
    return problems


def _read(path: Path) -> tuple[bytes, Problem | None]:
    """The file's bytes, or the problem of a file that cannot be read."""
    if path.is_dir():
        return b"", Problem(None, "this is a folder", "name the CSV file in it")
    if not path.is_file():
        return b"", Problem(None, "there is no such file", "check the path")
    try:
        size = path.stat().st_size
        if size > LARGEST:
            what = f"the file has {size / 2**20:.0f} MiB, far more than a submission"
            return b"", Problem(None, what, "name the CSV file of the submission")
        return path.read_bytes(), None
    except OSError as error:
        what = f"the file cannot be read: {error.strerror}"
        return b"", Problem(None, what, "check its permissions")


def _encoding(data: bytes) -> Problem | None:
    """The problem of bytes that are not the text of a CSV file, or None."""
    if not data.strip():
        return Problem(None, "the file is empty", "write the header and one row a test file")
    for magic, called in _MAGIC:
        if data.startswith(magic):
            what = f"this is a {called} file, not plain text"
            return Problem(None, what, "upload the CSV file itself, not compressed or converted")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
        what = "the file is not UTF-8 (it holds NUL bytes, as UTF-16 and binary files do)"
        return Problem(None, what, _UTF8)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return Problem(line, f"the byte 0x{data[error.start]:02x} is not UTF-8 (Latin-1?)", _UTF8)
    return None
