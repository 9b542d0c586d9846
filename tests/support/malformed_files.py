"""Malformed submission files: encodings, headers and other kinds of file."""

import gzip
import io
import zipfile

import pandas as pd

from submission.challenges import INTERSPEECH2025
from submission.validator import LARGEST

NAMES = [f"MSP-PODCAST_test3_{i:04d}.wav" for i in range(1, 9)]
SMALL = INTERSPEECH2025.with_names(NAMES)
LETTERS = "ASHUFDCN"
TASK1 = "FileName,EmoClass\n" + "".join(
    f"{name},{letter}\n" for name, letter in zip(NAMES, LETTERS, strict=True)
)
TASK2 = "FileName,EmoAct,EmoVal,EmoDom\n" + "".join(
    f"{name},4.25,{1 + i / 2},7\n" for i, name in enumerate(NAMES)
)


def replaced(text: str, old: str, new: str) -> bytes:
    assert old in text
    return text.replace(old, new, 1).encode()


def without(text: str, *lines: int) -> bytes:
    return "".join(
        line for i, line in enumerate(text.splitlines(keepends=True), 1) if i not in lines
    ).encode()


def packed(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("submission.csv", text)
    return buffer.getvalue()


def parquet(text: str) -> bytes:
    return pd.read_csv(io.StringIO(text)).to_parquet()


FILES: dict[str, tuple[str, bytes, int | None, str]] = {
    # name: task, bytes, line (None: the file), a part of the message
    "byte order mark": ("categorical", b"\xef\xbb\xbf" + TASK1.encode(), 1, "byte order mark"),
    "utf-16": ("categorical", TASK1.encode("utf-16"), None, "not UTF-8"),
    "utf-16 without mark": ("categorical", TASK1.encode("utf-16-le"), None, "NUL bytes"),
    "latin-1": (
        "categorical",
        replaced(TASK1, "0003", "000é").decode().encode("latin-1"),
        4,
        "0xe9 is not UTF-8",
    ),
    "crlf": ("categorical", TASK1.replace("\n", "\r\n").encode(), 1, "CRLF"),
    "one crlf": ("categorical", replaced(TASK1, "0003.wav,H\n", "0003.wav,H\r\n"), 4, "CRLF"),
    "cr only": ("attributes", TASK2.replace("\n", "\r").encode(), 1, "CR or CRLF"),
    "gzip": ("categorical", gzip.compress(TASK1.encode()), None, "gzip"),
    "zip": ("categorical", packed(TASK1), None, "zip"),
    "parquet": ("categorical", parquet(TASK1), None, "Parquet"),
    "empty": ("categorical", b"", None, "empty"),
    "only blanks": ("categorical", b"\n \n", None, "empty"),
    "far too large": ("categorical", b"a" * (LARGEST + 1), None, "MiB"),
    "far too many lines": (
        "categorical",
        TASK1.encode() + b"\n" * 200,
        None,
        "208 lines instead of 8 rows",
    ),
    "header in lower case": (
        "categorical",
        replaced(TASK1, "FileName", "filename"),
        1,
        "upper and lower case",
    ),
    "header with spaces": (
        "categorical",
        replaced(TASK1, ",Emo", ", Emo"),
        1,
        "spaces around its names",
    ),
    "header quoted": (
        "categorical",
        replaced(TASK1, "FileName,EmoClass", '"FileName","EmoClass"'),
        1,
        "quoted",
    ),
    "header missing": ("categorical", without(TASK1, 1), 1, "no header"),
    "header in another order": (
        "attributes",
        replaced(TASK2, "EmoAct,EmoVal,EmoDom", "EmoAct,EmoDom,EmoVal"),
        1,
        "another order",
    ),
    "header of other words": (
        "categorical",
        replaced(TASK1, "EmoClass", "Emotion"),
        1,
        "lacks 1 column",
    ),
    "first line blank": ("categorical", b"\n" + TASK1.encode(), 1, "first line is blank"),
    "index column": (
        "categorical",
        pd.read_csv(io.StringIO(TASK1)).to_csv().encode(),
        1,
        "index column",
    ),
    "extra column": (
        "categorical",
        TASK1.replace("\n", ",0.9\n").replace("EmoClass,0.9", "EmoClass,Score").encode(),
        1,
        "columns too many",
    ),
    "repeated column": (
        "categorical",
        replaced(TASK1, "EmoClass", "EmoClass,EmoClass"),
        1,
        "columns too many",
    ),
    "semicolons": ("categorical", TASK1.replace(",", ";").encode(), 1, "semicolons"),
    "tabs": ("attributes", TASK2.replace(",", "\t").encode(), 1, "tabs"),
    "the other task's file": ("attributes", TASK1.encode(), 1, "Task 1 (categorical), given as"),
    "the other task's file, too": (
        "categorical",
        TASK2.encode(),
        1,
        "Task 2 (attributes), given as",
    ),
    "organisers' logits": (
        "categorical",
        b'Filename,Prediction\nMSP-PODCAST_test3_0001.wav,"0.1, 0.2"\n',
        1,
        "evaluation file",
    ),
    "json": ("categorical", b'{"MSP-PODCAST_test3_0001.wav": "A"}\n', 1, "lacks 2 column"),
}
